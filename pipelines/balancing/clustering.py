"""K-means clustering in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def kmeans(points: Tensor, count: int, *, starts: int = 10, steps: int = 300) -> Tensor:
    """Cluster points around `count` centers (Lloyd's algorithm from k-means++ centers).

    The draws have a generator of their own, so the same points give the same clusters.

    Args:
        points: shape (N, D).
        count: of clusters, at most the number of different points.
        starts: how often it is tried; the tightest clustering counts.
        steps: most moves of the centers in one try.

    Returns:
        Cluster of each point, whole numbers below `count`, shape (N,).
    """
    points = points.double()  # sums hardly depend on the number of threads
    draw = torch.Generator().manual_seed(0)
    best, least = torch.zeros(len(points), dtype=torch.long), torch.inf
    for _ in range(starts):
        centers = _spread(points, count, draw)
        clusters = torch.cdist(points, centers).argmin(1)
        for _ in range(steps):
            centers = _means(points, clusters, centers)
            moved = torch.cdist(points, centers).argmin(1)
            if torch.equal(moved, clusters):
                break
            clusters = moved
        spread = float((points - centers[clusters]).square().sum())
        if spread < least:
            best, least = clusters, spread
    return best


def _spread(points: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """Centers of k-means++: each new one is drawn by its squared distance to those before."""
    first = int(torch.randint(len(points), (1,), generator=draw))
    chosen = points[first][None]
    for _ in range(count - 1):
        distances = torch.cdist(points, chosen).amin(1).square()
        index = int(torch.multinomial(distances, 1, generator=draw))
        chosen = torch.cat([chosen, points[index][None]])
    return chosen


def _means(points: Tensor, clusters: Tensor, centers: Tensor) -> Tensor:
    """Mean of each cluster; a cluster without points keeps its center."""
    sums = torch.zeros_like(centers).index_add_(0, clusters, points)
    counts = torch.bincount(clusters, minlength=len(centers))[:, None]
    return torch.where(counts > 0, sums / counts.clamp(min=1), centers)
