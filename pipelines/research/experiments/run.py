"""One run of a grid: its identity and folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "run.json"


@dataclass(frozen=True, eq=False)
class Run:
    """One training and its test.

    Attributes:
        bundle: name of the bundle.
        data: what the user calls the data, the bundle's name unless said otherwise.
        method: as in ``--method``.
        label: the row of the table.
        seed: of the training.
        settings: of all runs on these data.
        own: further settings of this method.
        modalities: those it trains on; None for all.
        alone: modalities that are tested one by one instead of together.
        single: trained on one modality only.
    """

    bundle: str
    data: str
    method: str
    label: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    modalities: tuple[str, ...] | None = None
    alone: tuple[str, ...] = ()
    single: bool = False

    @property
    def name(self) -> str:
        """For progress and messages."""
        return f"{self.data}, {self.label}, seed {self.seed}"

    def folder(self, output: Path) -> Path:
        """Where everything of this run goes."""
        return output / slug(self.data) / slug(self.label) / f"seed-{self.seed}"

    def identity(self) -> dict[str, Any]:
        """What makes it this run and no other, as plain values of JSON."""
        return {
            "bundle": self.bundle,
            "data_label": self.data,
            "method": self.method,
            "label": self.label,
            "seed": self.seed,
            "settings": dict(self.settings),
            "method_settings": dict(self.own),
            "modalities": None if self.modalities is None else list(self.modalities),
            "alone": list(self.alone),
            "single": self.single,
        }


def slug(label: str) -> str:
    """A label as the name of a folder.

    >>> slug("CGGM, printed rule")
    'CGGM_printed_rule'
    """
    return re.sub(r"[^\w.+=-]+", "_", label).strip("_.")
