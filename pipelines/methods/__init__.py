"""One file per way to balance modalities, and the catalogue that ``--method NAME`` reads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ..balancing.method import Method, Run, Step
from .agm import AGM
from .cggm import CGGM
from .dgl import DGL
from .gblending import GBlending
from .greedy import Greedy
from .joint import Joint
from .mmpareto import MMPareto
from .mrd import MRD
from .mslr import MSLR
from .ogm_ge import OGMGE
from .opm import OPM
from .passion import PASSION
from .pdmp import PDMP
from .pmr import PMR
from .progress_rates import ProgressRates
from .qmf import QMF
from .reconboost import ReconBoost
from .relearning import Relearning
from .ume import UME
from .umt import UMT
from .unimodal import Unimodal

CATALOGUE: dict[str, type[Method]] = {
    "agm": AGM,
    "cggm": CGGM,
    "dgl": DGL,
    "gblending": GBlending,
    "greedy": Greedy,
    "joint": Joint,
    "mmpareto": MMPareto,
    "mrd": MRD,
    "mslr": MSLR,
    "ogm_ge": OGMGE,
    "opm": OPM,
    "passion": PASSION,
    "pdmp": PDMP,
    "pmr": PMR,
    "progress_rates": ProgressRates,
    "qmf": QMF,
    "reconboost": ReconBoost,
    "relearning": Relearning,
    "ume": UME,
    "umt": UMT,
    "unimodal": Unimodal,
}


def create(name: str, settings: Mapping[str, Mapping[str, Any]] | None = None) -> Method:
    """Build a method by its name in the catalogue.

    Args:
        name: a key of :data:`CATALOGUE`.
        settings: method name to its constructor's arguments; those of other methods are not read.

    Raises:
        ValueError: there is no such method, or it has no such setting.
    """
    if name not in CATALOGUE:
        near = get_close_matches(str(name), CATALOGUE, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"no method is called {name!r}{hint} there are\n{describe()}")
    method = CATALOGUE[name]
    own = dict((settings or {}).get(name, {}))
    parameters = list(inspect.signature(method).parameters)
    wrong = [key for key in own if key not in parameters]
    if wrong:
        users = [n for n in CATALOGUE if wrong[0] in inspect.signature(CATALOGUE[n]).parameters]
        hint = f" ({' and '.join(users)} {'has' if len(users) == 1 else 'have'})" if users else ""
        has = parameters or "none"
        raise ValueError(f"{name} has no setting {wrong[0]!r}{hint}; it has {has}")
    return method(**own)


def describe() -> str:
    """All methods, a line each: name, what it does, paper; for ``--method help``."""
    width = max(map(len, CATALOGUE))
    lines = [f"  {name:<{width}}  {summary_of(method)}" for name, method in CATALOGUE.items()]
    return "\n".join(lines)


def summary_of(method: type[Method]) -> str:
    """What a method does, and where it was published, in a line."""
    summary = (inspect.getdoc(method) or "").splitlines()[0].rstrip(".")
    return f"{summary} ({method.paper})" if method.paper else summary


def settings_of(name: str, method: Method) -> dict[str, dict[str, Any]]:
    """The settings a method runs with, below its name, for experiment trackers."""
    return {name: method.settings()}


__all__ = [
    "CATALOGUE",
    "AGM",
    "CGGM",
    "DGL",
    "GBlending",
    "Greedy",
    "Joint",
    "MMPareto",
    "MRD",
    "MSLR",
    "Method",
    "OGMGE",
    "OPM",
    "PASSION",
    "PDMP",
    "PMR",
    "ProgressRates",
    "QMF",
    "ReconBoost",
    "Relearning",
    "Run",
    "Step",
    "UME",
    "UMT",
    "Unimodal",
    "create",
    "describe",
    "settings_of",
    "summary_of",
]
