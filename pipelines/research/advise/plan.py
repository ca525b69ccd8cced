"""What is trained: variants, the search for their learning rates, and all divisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil

from ....data.errors import InputError, look_up
from ...methods import CATALOGUE, create
from ...segmentation.losses import DiceCELoss
from ..study.families import Part
from ..study.training import BATCH, EPOCHS, Outcome, train
from .methods import DROPOUT, METHODS
from .samples import Samples

RATES = (1e-3, 3e-3, 1e-2)  # of the search; the same for all
SEARCH = (0, 1)  # divisions of the search
# Of a training, or more: as the study's, and so many that one sequence alone is learned.
STEPS = {"classification": 160, "regression": 160, "segmentation": 600}
FACTORS = {"x 3": 3.0, "x 1/3": 1 / 3}  # of one encoder's learning rate
JOINT, ALONE, RATE, METHOD = "joint", "alone", "rate", "method"
DROPOUT_RATE = 0.3


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        name: in tables.
        kind: "joint", "alone" (one modality), "rate" (one encoder at another learning rate) or
            "method".
        method: of the catalogue.
        modality: of "alone" and "rate".
        factor: of "rate".
        dropout: probability that the fusion does not see a modality.
    """

    name: str
    kind: str
    method: str = JOINT
    modality: str = ""
    factor: float = 1.0
    dropout: float = 0.0


@dataclass(frozen=True)
class Job:
    """One training: a variant, a division and a learning rate."""

    variant: Variant
    division: int
    rate: float

    @property
    def key(self) -> tuple[str, int, float]:
        return self.variant.name, self.division, self.rate


@dataclass(frozen=True)
class Row:
    """A line of the file of results; figures as in the study's ``Outcome``."""

    variant: str
    division: int
    rate: float
    val: float
    test: float
    epoch: int
    seconds: float = 0.0
    classifiers: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int, float]:
        return self.variant, self.division, self.rate

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def variants_for(samples: Samples, methods: Sequence[str] = METHODS) -> list[Variant]:
    """Joint training, each modality alone, each encoder at other rates, and the methods.

    Raises:
        InputError: there is no such method, or it cannot train these data.
    """
    names = samples.modalities
    return [
        Variant(JOINT, JOINT),
        *(Variant(f"{name} alone", ALONE, modality=name) for name in names),
        *(_method(name, samples) for name in methods),
        *(
            Variant(f"{name} {words}", RATE, modality=name, factor=factor)
            for name in names
            for words, factor in FACTORS.items()
        ),
    ]


def _method(name: str, samples: Samples) -> Variant:
    if name == DROPOUT:
        return Variant(DROPOUT, METHOD, dropout=DROPOUT_RATE)
    method = look_up(name, CATALOGUE, "method")
    fewest, most = method.modalities
    fits = fewest <= len(samples.inputs) <= (most or len(samples.inputs))
    if samples.task not in method.published | method.extended or not fits:
        raise InputError(
            f"{name} cannot train a {samples.task} of {len(samples.inputs)} modalities; leave it "
            "out of --methods"
        )
    if method.teachers_by or name == JOINT:
        raise InputError(f"{name} is not compared here; leave it out of --methods")
    return Variant(name, METHOD, name)


def search_jobs(variants: Sequence[Variant]) -> list[Job]:
    """Each variant at each learning rate, on the divisions of the search."""
    return [
        Job(variant, division, rate)
        for division in SEARCH
        for variant in variants
        if variant.kind != RATE
        for rate in RATES
    ]


def all_jobs(variants: Sequence[Variant], rows: Sequence[Row], divisions: int) -> Iterator[Job]:
    """Each variant at its learning rate, division by division."""
    rates = chosen_rates(variants, rows)
    for division in range(divisions):
        for variant in variants:
            yield Job(variant, division, rates[variant.name])


def chosen_rates(variants: Sequence[Variant], rows: Sequence[Row]) -> dict[str, float]:
    """The learning rate of each variant that is best on validation; "rate" has that of joint."""
    found: dict[str, float] = {}
    for variant in variants:
        name = JOINT if variant.kind == RATE else variant.name
        vals = {rate: [] for rate in RATES}
        for row in rows:
            if row.variant == name and row.division in SEARCH:
                vals[row.rate].append(row.val)
        found[variant.name] = max(RATES, key=lambda rate: sum(vals[rate]) / len(SEARCH))
    return found


def trained(samples: Samples, job: Job, parts: Mapping[str, Part], epochs: int) -> Outcome:
    """Train as a job says, in the loop of the study.

    Args:
        samples: the data.
        job: what to train.
        parts: of the job's division.
        epochs: how many.
    """
    variant = job.variant
    if variant.kind == ALONE:
        parts = {name: part.of(variant.modality) for name, part in parts.items()}
    return train(
        parts,
        samples.task,
        create(variant.method),
        seed=job.division,
        lr=job.rate,
        dropout=variant.dropout,
        classes=samples.classes or 1,
        epochs=epochs,
        factors={variant.modality: variant.factor} if variant.kind == RATE else None,
        loss=DiceCELoss() if samples.task == "segmentation" else None,
    )


def epochs_for(samples: Samples) -> int:
    """Those of the study, and more where the samples make few batches."""
    batches = max(1, len(samples.labels) * 3 // 5 // BATCH[samples.task])
    return max(EPOCHS[samples.task], ceil(STEPS[samples.task] / batches))


Do = Callable[[Job], Row]


def row_of(job: Job, outcome: Outcome, seconds: float) -> Row:
    """What is kept of a training."""
    return Row(
        job.variant.name,
        job.division,
        job.rate,
        round(outcome.val, 4),
        round(outcome.test or 0.0, 4),
        outcome.epoch,
        round(seconds, 2),
        {name: round(value, 4) for name, value in outcome.classifiers.items()},
    )
