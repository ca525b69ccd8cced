"""Figure 4: do the classifiers' gradients lie where those of single modalities lie?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from sklearn.manifold import TSNE

from .drawing import name_panels, panels, style_of
from .pieces import FigurePiece

KINDS = {"classifier": "o", "unimodal": "^"}
MOST = 300  # steps shown of a training: t-SNE of more only fills the picture
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
    """Read the file; directions only, as eq. 12 compares them."""
    with np.load(path) as file:
        names = [str(name) for name in file["modalities"]]
        kinds = {kind: file[kind] for kind in KINDS}
    count = len(kinds["classifier"])
    chosen = np.unique(np.linspace(0, count - 1, min(MOST, count)).astype(int))
    return Gradients(names, *(_unit(kinds[kind][chosen]) for kind in KINDS))


def embedded(gradients: Gradients, seed: int = 0) -> np.ndarray:
    """t-SNE of all gradients together, shape (2 kinds, N, M, 2)."""
    both = np.stack([gradients.classifier, gradients.unimodal])
    vectors = both.reshape(-1, both.shape[-1])
    perplexity = min(PERPLEXITY, max(1.0, (len(vectors) - 1) / 3))
    # Two outputs and few weights may have fewer than the two directions that PCA asks for.
    start = "pca" if min(vectors.shape) > 2 else "random"
    tsne = TSNE(2, perplexity=perplexity, init=start, random_state=seed)
    return tsne.fit_transform(vectors).reshape(*both.shape[:-1], 2)


def gradient_figure(name: str, found: Mapping[str, Gradients], row: str) -> FigurePiece:
    """A panel per data set.

    Args:
        name: of the files.
        found: data set to gradients.
        row: the method that was trained.
    """
    title = "Gradients of the classifiers and of single modalities (t-SNE)"
    figure, grid = panels(len(found), columns=2)
    figure.suptitle(title, fontsize=11)
    numbers: list[dict[str, Any]] = []
    for axes, (data, gradients) in zip(grid, found.items(), strict=True):
        _draw(axes, gradients)
        numbers += [{"data": data, **line} for line in gradients.agreement()]
    name_panels(grid, list(found))
    return FigurePiece(
        name,
        title,
        [
            "Last-layer gradients of one batch each, scaled to unit length, t-SNE with perplexity "
            f"{PERPLEXITY} (less with few points), of a training with {row}. Circles: of the "
            "modality's classifier. Triangles: of the network when this modality alone enters the "
            "fusion.",
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
            axes.scatter(
                *points[k, :, i].T,
                s=16,
                marker=marker,
                facecolors=color if kind == "classifier" else "none",
                edgecolors=color,
                linewidths=0.8,
                alpha=0.75,
                label=f"{modality}, {kind}",
            )
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes.grid(False)
    # Each data set has modalities of its own, so each panel has its legend.
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _agreement(found: Mapping[str, Gradients]) -> str:
    parts = []
    for data, gradients in found.items():
        lines = gradients.agreement()
        own = [x["mean_cosine"] for x in lines if x["classifier"] == x["unimodal"]]
        others = [x["mean_cosine"] for x in lines if x["classifier"] != x["unimodal"]]
        parts.append(f"{data} {np.mean(own):.2f} and {np.mean(others):.2f}")
    return "; ".join(parts)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
