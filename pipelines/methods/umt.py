"""UMT: encoders learn from frozen encoders of single modalities (Du et al., ICML 2023)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..balancing.features import is_sequence, real_steps
from ..balancing.method import Method, Run, Step
from ..balancing.settings import check_number, check_switch
from ..balancing.weights import description_beside, read

# What no weight tells: attributes of the networks, and entries of a file's description.
UNSEEN = {"heads": "a number of attention heads of", "rates": "dilations of"}


def distance(student: Any, teacher: Any, *, normalize: bool = True) -> Tensor:
    """Mean squared difference between two features of a modality, a scalar.

    Of sequences only the real steps count; the parts of a tuple of maps are averaged.

    Args:
        student: with its graph.
        teacher: of the same shape, a constant.
        normalize: divide by the mean of both features' mean squares, the student's a constant:
            the relative error close to the teacher, whatever the scale of the features, never
            above 4, also beside a teacher that gives next to nothing. Two features of zeros are at
            distance 0.

    >>> distance(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]), normalize=False)
    tensor(2.)
    >>> distance(torch.zeros(1, 2), torch.tensor([[1.0, 4.0]]))
    tensor(2.)
    """
    if is_sequence(student):
        (values, _), (other, _) = student, teacher
        real = real_steps(student)[..., 0]
        return _mean_square(values[real], other[real], normalize)
    if isinstance(student, list | tuple):
        parts = [distance(s, t, normalize=normalize) for s, t in zip(student, teacher, strict=True)]
        return torch.stack(parts).mean()
    return _mean_square(student, teacher, normalize)


def _mean_square(student: Tensor, teacher: Tensor, normalize: bool) -> Tensor:
    student, teacher = student.float(), teacher.detach().float()
    total = (student - teacher).square().sum()
    if not normalize:
        return total / max(student.numel(), 1)
    size = (student.detach().square().sum() + teacher.square().sum()) / 2
    return torch.where(size > 0, total / size.clamp(min=1e-12), torch.zeros_like(total))


class UMT(Method):
    """Train jointly, and pull each encoder's features to those of a teacher of its modality alone.

    Teachers are the encoders of networks that were trained on one modality each. They are frozen
    and see the same inputs as the encoders, after augmentation. Trained is
    L + lam sum_i 2 |h_i - t_i|^2 / (|h_i|^2 + |t_i|^2), with |h_i|^2 as a constant; padded steps of
    a sequence and absent modalities count for nothing. The teachers are not part of the
    checkpoints.

    Paper and released code: no authors' code could be found. The published weight of 50 is for a
    plain mean of squares and one kind of network; divided by the size of the features one weight
    serves all networks, and ``normalize=False`` gives the plain mean. Of segmentation both high-
    and low-level features count. The teachers are those of the epoch in which their average was
    best on validation data.

    Extensions of ours: regression, by the same rule; more than two modalities.

    Args:
        teachers: path of the weights that ``--method unimodal`` (or ume) wrote, such as
            output/unimodal/models/model.pt.
        lam: weight of the distances, 0 or larger.
        normalize: whether a distance is divided by the size of the features.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Du et al.: On Uni-Modal Feature Learning in Supervised Multi-Modal Learning. ICML 2023"
    changes = "loss, distance to teachers' features"
    published = frozenset({"classification", "segmentation"})
    extended = frozenset({"regression"})
    published_modalities = 2
    teachers_by = "unimodal"

    def __init__(
        self, teachers: str | None = None, *, lam: float = 1.0, normalize: bool = True
    ) -> None:
        if teachers is not None and (not isinstance(teachers, str | Path) or not str(teachers)):
            raise ValueError(f"teachers is {teachers!r}; it is the path of a model.pt")
        check_number("lam", lam)
        check_switch("normalize", normalize)
        self.teachers = None if teachers is None else str(teachers)
        self.lam, self.normalize = lam, normalize
        self._teachers: dict[str, nn.Module] = {}
        self._distances = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        """Read the teachers."""
        super().prepare(run)
        if self.teachers is None:
            raise ValueError(
                "UMT learns from encoders of single modalities and knows none: train a LateFusion "
                "with Unimodal(), save its state_dict() and pass the file, UMT(path); of a bundle "
                "train --method unimodal --output_dir output/unimodal, then pass "
                "--methods#umt#teachers output/unimodal/models/model.pt"
            )
        self._teachers = load_teachers(self.teachers, run)

    def loss(self, step: Step) -> Tensor:
        """The task loss plus lam times the distances to the teachers' features."""
        distances = []
        for name in step.modalities:
            if name not in step.features:
                distances.append(step.task_loss.new_zeros(()).float())  # absent in this batch
                continue
            with torch.no_grad():
                target = self._teachers[name](*step.inputs[name])
            distances.append(distance(step.features[name], target, normalize=self.normalize))
        total = torch.stack(distances)
        self._distances = total.detach().as_subclass(Tensor)
        return step.task_loss + self.lam * total.sum()

    def record(self) -> dict[str, Tensor]:
        """Distance of each encoder to its teacher in the last step."""
        return {"distance": self._distances}


def load_teachers(path: str, run: Run) -> dict[str, nn.Module]:
    """Copies of the encoders with the weights of networks of single modalities, frozen.

    Args:
        path: a model.pt (or last.pt) of ``--method unimodal`` or ``--method ume``.
        run: the training of the student.

    Raises:
        ValueError: the file cannot be read, or was trained by another method or for other encoders.
    """
    content = read(path)
    state = content.get("network", content)
    trained = content.get("description") or description_beside(Path(path)) or {}
    remedy = (
        "train the teachers with Unimodal() (--method unimodal) and otherwise the settings of this "
        "run, and pass the file of its weights (models/model.pt of its --output_dir)"
    )
    method = trained.get("method")
    if method not in (None, "unimodal", "ume"):
        raise ValueError(f"the teachers in {path} were trained by the method {method}: {remedy}")
    for name, words in UNSEEN.items():
        here = getattr(run.network, name, None)
        there = trained.get(name, here)
        if here is not None and _plain(there) != _plain(here):
            raise ValueError(
                f"the teachers in {path} have {words} {_plain(there)}, these encoders "
                f"{_plain(here)}: {remedy}"
            )
    teachers = {}
    for name, encoder in run.encoders.items():
        prefix = f"members.{name}.encoders.{name}."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not own:
            raise ValueError(f"{path} has no encoder of {name!r} alone: {remedy}")
        teacher = copy.deepcopy(encoder)
        differing = _differing(own, teacher.state_dict())
        if differing:
            raise ValueError(
                f"the teacher of {name!r} in {path} is another encoder: {len(differing)} of its "
                f"entries differ, such as {differing[0]}; {remedy}"
            )
        teacher.load_state_dict(own)
        teachers[name] = teacher.to(run.device).eval().requires_grad_(False)
    return teachers


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _differing(state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    names = sorted(state.keys() | own.keys())
    shapes = [(n, *(tuple(d[n].shape) if n in d else None for d in (state, own))) for n in names]
    return [f"{n} ({was} in the file, {now} here)" for n, was, now in shapes if was != now]
