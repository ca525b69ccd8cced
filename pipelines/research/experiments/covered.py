"""The methods of the catalogue that can train a bundle, and why the others cannot."""

from __future__ import annotations

from ...methods import CATALOGUE
from .bundles import Bundle

ALL = "all"
# A row of a comparison; single modalities are asked for with `unimodal`.
NO_ROW = ("unimodal",)


def covered(bundle: Bundle, modalities: int) -> tuple[list[str], dict[str, str]]:
    """Sort the catalogue.

    Args:
        bundle: what is to be trained.
        modalities: how many a run has.

    Returns:
        Names of the methods that can, joint training first; and of the others with the reason.
    """
    reasons = {name: _refusal(name, bundle, modalities) for name in CATALOGUE}
    able = [name for name, reason in reasons.items() if reason is None and name not in NO_ROW]
    able.sort(key=lambda name: name != "joint")
    return able, {name: reason for name, reason in reasons.items() if reason is not None}


def _refusal(name: str, bundle: Bundle, modalities: int) -> str | None:
    method = CATALOGUE[name]
    fewest, most = method.modalities
    if name not in bundle.train["methods"]:
        return f"train.json of {bundle.name} has no settings for it"
    if bundle.task not in method.published | method.extended:
        return f"it is not for {bundle.task}"
    if modalities < fewest or (most is not None and modalities > most):
        return f"it is not for {modalities} modalities"
    return None
