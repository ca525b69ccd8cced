"""How much each modality of a feature set carries: linear models on the mean over the steps.

    python benchmarks/probe.py output/stand_ins/foods [MORE FOLDERS] [--seeds 5]

Trained on the training samples, with the penalty chosen on the validation samples, tested on the
test samples of the split in the folder. With ``--seeds``, the samples are also divided anew, groups
whole, to show how much of a difference is chance. These are no trained networks and say nothing
about any method; they say whether there is something to balance.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, mean_absolute_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cggm.data.features.feature_set import FeatureSet, open_feature_set

PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)
PARTS = ("train", "val", "test")


def main() -> None:
    """Print a line per modality, and one for all of them together."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", help="feature sets")
    parser.add_argument("--seeds", type=int, default=0, help="how many other splits to draw")
    given = parser.parse_args()
    for folder in given.folders:
        report(open_feature_set(folder), given.seeds)


def report(data: FeatureSet, seeds: int) -> None:
    """Print what is known of one feature set."""
    labels = np.array([data.labels[name] for name in data.ids], dtype=float)
    own = [data.splits[name] for name in data.ids]
    splits = [own, *(drawn_split(data, seed) for seed in range(seeds))]
    features = {modality: means(data, modality) for modality in data.modalities}
    metric = "MAE / r" if data.classes is None else "accuracy"
    print(f"\n{data.name}: {data.describe()}; {metric} on the test samples")
    rows = {"(none)": [baseline(data, labels, split) for split in splits]}
    for name, chosen in [*((m, [m]) for m in features), ("all", list(features))]:
        together = np.concatenate([features[each] for each in chosen], axis=1)
        rows[name] = [score(data, together, labels, split) for split in splits]
    for name, scores in rows.items():
        others = np.array(scores[1:])
        spread = ""
        if seeds:
            pairs = zip(others.mean(axis=0), others.std(axis=0), strict=True)
            figures = " / ".join(f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in pairs)
            spread = f"   {seeds} other splits: {figures}"
        print(f"  {name:14s} {' / '.join(f'{value:.3f}' for value in scores[0])}{spread}")


def means(data: FeatureSet, modality: str) -> np.ndarray:
    """The mean over the steps of every sample, shape (N, D); of vectors, themselves.

    For sequences of a few raw numbers, as of a sensor, the deviation and the quartiles over the
    steps are added: their mean alone says little.
    """
    sequences = [data.files[modality].read(name) for name in data.ids]
    if data.widths[modality] > 16 or max(map(len, sequences)) == 1:
        return np.stack([values.mean(axis=0) for values in sequences])
    return np.stack(
        [
            np.concatenate(
                [values.mean(0), values.std(0), *np.quantile(values, (0, 0.25, 0.75, 1), axis=0)]
            )
            for values in sequences
        ]
    )


def drawn_split(data: FeatureSet, seed: int) -> list[str]:
    """Another split of the same samples: about 60, 20 and 20 %, groups whole."""
    counts = Counter(data.groups[name] for name in data.ids)
    order = np.random.default_rng(seed).permutation(sorted(counts)).tolist()
    sizes = np.array([counts[name] for name in order])
    # Where the middle of a group lies when all stand in a row says which part it is of.
    middles = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    part_of = {
        name: PARTS[np.searchsorted((0.6, 0.8), at)]
        for name, at in zip(order, middles, strict=True)
    }
    return [part_of[data.groups[name]] for name in data.ids]


def baseline(data: FeatureSet, labels: np.ndarray, split: Sequence[str]) -> list[float]:
    """What the most frequent class, or the median, of the training samples scores."""
    train, _, test = parts(split)
    if data.classes is None:
        guess = np.full(test.sum(), np.median(labels[train]))
        return [float(mean_absolute_error(labels[test], guess)), 0.0]
    values, counts = np.unique(labels[train], return_counts=True)
    return [float((labels[test] == values[counts.argmax()]).mean())]


def score(
    data: FeatureSet, features: np.ndarray, labels: np.ndarray, split: Sequence[str]
) -> list[float]:
    """Fit with the penalty that is best on the validation samples, and test."""
    train, val, test = parts(split)
    models = [
        make_pipeline(
            StandardScaler(),
            Ridge(alpha=penalty)
            if data.classes is None
            else LogisticRegression(C=1 / penalty, max_iter=2000),
        ).fit(features[train], labels[train])
        for penalty in PENALTIES
    ]
    if data.classes is None:
        best = min(models, key=lambda m: mean_absolute_error(labels[val], m.predict(features[val])))
        found = best.predict(features[test])
        correlation = float(np.corrcoef(labels[test], found)[0, 1])
        return [float(mean_absolute_error(labels[test], found)), correlation]
    best = max(models, key=lambda m: accuracy_score(labels[val], m.predict(features[val])))
    return [float(accuracy_score(labels[test], best.predict(features[test])))]


def parts(split: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks of the training, validation and test samples."""
    names = np.array(split)
    return names == "train", names == "val", names == "test"


if __name__ == "__main__":
    main()
