"""Figure 4: gradients of the classifiers beside those of single modalities, by t-SNE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from matplotlib.axes import Axes
from sklearn.manifold import TSNE

from ....data.errors import InputError
from .drawing import name_panels, panels, style_of
from .pieces import FigurePiece

KINDS = {"classifier": "o", "unimodal": "^"}
MOST = 150  # steps shown of a training: t-SNE of more only fills the picture
PERPLEXITY = 30


@dataclass(frozen=True)
class Gradients:
    """What ``gradients.npz`` holds, at most :data:`MOST` steps of it, evenly spaced.

    Attributes:
        modalities: names.
        classifier: (N, M, D), unit vectors.
        unimodal: (N, M, D), unit vectors.
    """

    modalities: list[str]
    classifier: np.ndarray
    unimodal: np.ndarray

    def agreement(self) -> list[dict[str, Any]]:
        """Mean cosine of each modality's classifier with the unimodal gradients, by modality."""
        return [
            {
                "classifier": mine,
                "unimodal": other,
                "mean_cosine": float((self.classifier[:, i] * self.unimodal[:, j]).sum(1).mean()),
            }
            for i, mine in enumerate(self.modalities)
            for j, other in enumerate(self.modalities)
        ]


def read_gradients(path: Path) -> Gradients:
    """Read the file; directions only, as eq. 12 compares them. Steps that diverged are left out.

    Raises:
        InputError: it is damaged, or no step has finite gradients.
    """
    try:
        with np.load(path) as file:
            names = [str(name) for name in file["modalities"]]
            both = np.stack([file[kind] for kind in KINDS])
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove the folder of this run to have it done again"
        ) from error
    both = both[:, np.isfinite(both).all((0, 2, 3))]
    count = both.shape[1]
    if count == 0:
        raise InputError(
            f"{path} has no step with finite gradients; remove the folder of this run, and have it "
            "done again with a lower learning rate"
        )
    chosen = np.unique(np.linspace(0, count - 1, min(MOST, count)).astype(int))
    return Gradients(names, *_unit(both[:, chosen]))


def embedded(gradients: Gradients, seed: int = 0) -> np.ndarray:
    """t-SNE of all gradients together, shape (2 kinds, N, M, 2)."""
    both = np.stack([gradients.classifier, gradients.unimodal])
    vectors = both.reshape(-1, both.shape[-1])
    perplexity = min(PERPLEXITY, max(1.0, (len(vectors) - 1) / 3))
    # Two outputs and few weights may have fewer than the two directions that PCA asks for.
    start = "pca" if min(vectors.shape) > 2 else "random"
    tsne = TSNE(2, perplexity=perplexity, init=start, random_state=seed)
    return tsne.fit_transform(vectors).reshape(*both.shape[:-1], 2)


def gradient_figure(name: str, found: Mapping[str, tuple[str, Gradients]], row: str) -> FigurePiece:
    """A panel per data set.

    Args:
        name: of the files.
        found: short name of the data to their own name and the gradients.
        row: the method that was trained.
    """
    title = "Gradients of the classifiers and of single modalities (t-SNE)"
    figure, grid = panels(len(found), columns=2)
    figure.suptitle(title, fontsize=11)
    numbers: list[dict[str, Any]] = []
    for axes, (short, (data, gradients)) in zip(grid, found.items(), strict=True):
        _draw(axes, gradients)
        numbers += [{"data": data, "panel": short, **line} for line in gradients.agreement()]
    name_panels(grid, list(found))
    names = "; ".join(f"{short}: {data}" for short, (data, _) in found.items())
    return FigurePiece(
        name,
        title,
        [
            f"Last-layer gradients, one batch each, during training with {row}, scaled to unit "
            f"length; t-SNE with perplexity {PERPLEXITY} (less with few points). Dots: of the "
            "modality's classifier. Triangles: of the network when this modality alone enters the "
            f"fusion. Data: {names}.",
            "t-SNE shows neighborhoods and no distances. Mean cosine of a classifier with the "
            f"gradients of its own modality, and with those of the others: {_agreement(found)}.",
        ],
        figure,
        numbers,
    )


def _draw(axes: Axes, gradients: Gradients) -> None:
    points = embedded(gradients)
    for k, (kind, marker) in enumerate(KINDS.items()):
        for i, modality in enumerate(gradients.modalities):
            color = style_of(modality, gradients.modalities)["color"]
            fill = {"facecolors": color if kind == "classifier" else "none", "edgecolors": color}
            label = f"{modality}, {kind}"
            axes.scatter(*points[k, :, i].T, s=16, marker=marker, **fill, alpha=0.75, label=label)
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes.grid(False)
    # Each data set has modalities of its own, so each panel has its legend.
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.08)}
    axes.legend(fontsize=8, frameon=False, ncols=2, handletextpad=0.2, **place)


def _agreement(found: Mapping[str, tuple[str, Gradients]]) -> str:
    parts = []
    for short, (_, gradients) in found.items():
        lines = gradients.agreement()
        own = [x["mean_cosine"] for x in lines if x["classifier"] == x["unimodal"]]
        others = [x["mean_cosine"] for x in lines if x["classifier"] != x["unimodal"]]
        parts.append(f"{short} {np.mean(own):.2f} and {np.mean(others):.2f}")
    return "; ".join(parts)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
