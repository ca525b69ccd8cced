"""Diagnosing and re-learning (Wei et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..balancing.batches import batches_of
from ..balancing.clustering import kmeans
from ..balancing.distributed import broadcast
from ..balancing.held_out import held_out_ids, labeled_vectors, sample_ids
from ..balancing.method import Method, Run, Step
from ..balancing.randomness import undisturbed
from ..balancing.settings import check_number, check_whole


def purity(classes: Tensor, clusters: Tensor) -> float:
    """Share of samples whose class is the most frequent one of their cluster.

    >>> purity(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
    0.75
    """
    table = torch.zeros(int(clusters.max()) + 1, int(classes.max()) + 1)
    table.index_put_((clusters, classes), torch.ones(len(classes)), accumulate=True)
    return float(table.max(1).values.sum() / len(classes))


def separability(vectors: Tensor, classes: Tensor) -> float:
    """Purity of a K-means clustering with as many clusters as classes (Wei et al., section 3.2).

    Each column is scaled to [-1, 1] before, as in the released code.

    Args:
        vectors: (N, D).
        classes: (N,).
    """
    low, high = vectors.amin(0), vectors.amax(0)
    scaled = (vectors - low) / (high - low).clamp(min=1e-12) * 2 - 1
    count = min(len(classes.unique()), len(scaled.unique(dim=0)))
    return purity(classes, kmeans(scaled, count))


def diagnoses(epochs: int, every: int, times: int) -> int:
    """How many diagnoses a training has: one when ``every`` epochs are over, if another follows.

    >>> diagnoses(50, 20, 3), diagnoses(20, 20, 3), diagnoses(100, 20, 3)
    (2, 0, 3)
    """
    return min(times, max(epochs - 1, 0) // every)


def strength(gap: Tensor, lam: float = 3.0) -> Tensor:
    """alpha = tanh(lam g): how far an encoder is moved back to its start (section 3.3).

    >>> strength(torch.tensor([0.0, 0.25]))
    tensor([0.0000, 0.6351])
    """
    return torch.tanh(lam * gap)


@torch.no_grad()
def move_back(parameters: Sequence[Tensor], initial: Sequence[Tensor], alpha: float) -> None:
    """theta <- alpha theta_0 + (1 - alpha) theta, in place (section 3.3)."""
    for parameter, start in zip(parameters, initial, strict=True):
        parameter.lerp_(start.to(parameter), alpha)


class Relearning(Method):
    """Move encoders that overfit part of the way back to where they started, a few times.

    Every ``every`` epochs the features of each modality are clustered, for training samples and
    for held-out ones; alpha = tanh(lam g) of the gap g between the two purities says how far the
    encoder's parameters go back to their initial values (Wei et al., section 3). Fusion, head and
    running statistics stay, and so does the optimizer's memory, as in the released code.

    The authors diagnose on a validation set besides the one that chooses the model. Here a share
    of the training samples is held out instead (by id; slices by case): the loss leaves them out
    until the last diagnosis that the training has room for, and from then on all samples are
    trained on. A training of ``every`` epochs or fewer has no diagnosis and is joint training.
    Fusion and batch normalization still see their inputs. As many training samples as held-out
    ones are clustered, there all of them, because purity depends on their number. An epoch's number
    counts from 1: the released code counts from 0 and so diagnoses one epoch later.

    Extensions of ours: any number of modalities; a regression has a class for each whole number
    of the label; a segmentation has a vector for each class in each image.

    Args:
        every: epochs between diagnoses; 20 in the released code, whose trainings have 50.
        times: most diagnoses; 3 in the released code, of which its 50 epochs have room for two.
        lam: how strongly a gap counts; 3 in the released code.
        held_out: share of the samples that are held out, in (0, 0.5].
        seed: of the choice of samples.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Wei et al.: Diagnosing and Re-learning for Balanced Multimodal Learning. ECCV 2024"
    changes = "encoders' weights, a few times"
    modalities = (2, None)
    needs_batches = True
    published_modalities = 2

    def __init__(
        self,
        every: int = 20,
        times: int = 3,
        *,
        lam: float = 3.0,
        held_out: float = 0.1,
        seed: int = 0,
    ) -> None:
        check_whole("every", every, 1)
        check_whole("times", times, 1)
        check_number("lam", lam)
        check_number("held_out", held_out, 0.5, above=0)
        check_whole("seed", seed, 0)
        self.every, self.times, self.lam = every, times, lam
        self.held_out, self.seed = held_out, seed
        self._initial: dict[str, list[Tensor]] = {}
        self._judges: list[str] = []  # ids of the samples that are held out
        self._done = 0
        self._gaps = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        self._initial = self._initial or {
            name: [p.detach().cpu().clone() for p in encoder.parameters()]
            for name, encoder in run.encoders.items()
        }

    def epoch_begins(self, run: Run) -> None:
        """Hold out samples in the beginning, diagnose when it is time to."""
        if not self._judges:
            ids = sample_ids(run)
            if not all(ids) or len(set(ids)) < 2:
                raise ValueError(
                    f"Relearning holds out samples by their ids, and found {len(set(ids))} of "
                    "them: batches need an entry 'id' or 'case' with one text per sample"
                )
            self._judges = sorted(held_out_ids(ids, self.held_out, self.seed))
        due = run.epoch > 1 and (run.epoch - 1) % self.every == 0
        if due and self._done < self.times:
            self._gaps = self._diagnose(run).cpu()
            for (name, encoder), alpha in zip(
                run.encoders.items(), strength(self._gaps, self.lam).tolist(), strict=True
            ):
                move_back(list(encoder.parameters()), self._initial[name], alpha)
            self._done += 1

    def _diagnose(self, run: Run) -> Tensor:
        judges, seed = set(self._judges), self.seed + 1009 * run.epoch
        gaps = torch.zeros(len(run.modalities))
        with undisturbed(run, seed):
            rows = labeled_vectors(run, batches_of(run))
            for index, name in enumerate(run.modalities):
                if name not in rows:
                    continue
                vectors, marks, ids = rows[name]
                classes = run.task.classes_of(marks)
                is_judge = torch.tensor([i in judges for i in ids], dtype=torch.bool)
                ours, theirs = (torch.nonzero(x)[:, 0] for x in (~is_judge, is_judge))
                count = min(len(ours), len(theirs))
                # The same draw for every modality.
                draw = torch.Generator().manual_seed(seed)
                parts = [x[torch.randperm(len(x), generator=draw)[:count]] for x in (ours, theirs)]
                if count:
                    a, b = (separability(vectors[part], classes[part]) for part in parts)
                    gaps[index] = abs(a - b)
        gaps = gaps.to(run.device)
        broadcast(gaps)
        return gaps

    def loss(self, step: Step) -> Tensor:
        """The task loss of the samples that are not held out."""
        if self._done >= diagnoses(step.run.epochs, self.every, self.times):
            return step.task_loss
        judges = set(self._judges)
        kept = [i for i, name in enumerate(step.ids or []) if name not in judges]
        if len(kept) == len(step.label):
            return step.task_loss
        if not kept:
            return 0 * step.task_loss  # a part of the graph still
        return step.task.loss(step.prediction[kept], step.label[kept]).mean()

    def record(self) -> dict[str, Tensor]:
        """Purity gap of the last diagnosis, and how far the encoders were moved back."""
        if not len(self._gaps):
            return {}
        return {"purity_gap": self._gaps, "strength": strength(self._gaps, self.lam)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "initial": {name: list(values) for name, values in self._initial.items()},
            "judges": list(self._judges),
            "done": self._done,
            "gaps": self._gaps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._initial = {name: list(values) for name, values in state["initial"].items()}
        self._judges, self._done = list(state["judges"]), state["done"]
        self._gaps = state["gaps"]
