"""Properties of every method: in any order, among equals, and for what it does not touch."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import Tensor

from cggm.pipelines.methods import CATALOGUE, Joint

from ..toy import ToyRun
from .cards import CARDS, line
from .ready import epochs_of, ready

NAMES = sorted(CATALOGUE)
ORDER = ("audio", "text", "video")
OTHER = ("video", "audio", "text")

# Why the order of the modalities is part of a method, or a setting that makes it none.
BY_PLACE = {
    "mrd": "each place has its own draws",
    "opm": "each place has its own draws",
    "reconboost": "modalities take turns in their order",
}
WITHOUT_DRAWS: dict[str, dict[str, Any]] = {"ogm_ge": {"ge": False}}

# What has the gradients of joint training in the first step: "fusion", "all" or "nothing".
KEEPS = {name: re.split(r"\W", line(name, "Keeps"))[0] for name in CARDS}
TOUCHING: dict[str, dict[str, Any]] = {"cggm": {"lam": 0.0}}  # else the fusion learns of it


def rows_of(run: ToyRun) -> dict[str, dict[str, float]]:
    assert run.modulation is not None
    return run.modulation.record


def ordered(run: ToyRun, source: ToyRun, modalities: tuple[str, ...]) -> ToyRun:
    """Make a run the same as another one, but for the order of its modalities."""
    for mine, other in zip(run.data, source.data, strict=True):
        mine["image"] = other["image"][[ORDER.index(name) for name in modalities]]
    state = {key: value.clone() for key, value in source.network.state_dict().items()}
    if "fusion.0.weight" in state:
        blocks = state["fusion.0.weight"].split(5, dim=1)
        state["fusion.0.weight"] = torch.cat([blocks[ORDER.index(n)] for n in modalities], dim=1)
    run.network.load_state_dict(state)
    if run.classifiers is not None and source.classifiers is not None:
        run.classifiers.load_state_dict(source.classifiers.state_dict())
    return run


@pytest.mark.parametrize("name", [n for n in NAMES if n not in BY_PLACE])
def test_the_order_of_the_modalities_does_not_matter(name: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dtype": torch.float64, "samples": 16, "epochs": 2}
    method = [ready(name, tmp_path, ORDER, **WITHOUT_DRAWS.get(name, {})) for _ in range(2)]
    one = ToyRun(method[0], modalities=ORDER, **settings)
    two = ordered(ToyRun(method[1], modalities=OTHER, **settings), one, OTHER)
    one.run()
    two.run()
    for quantity, values in rows_of(one).items():
        assert rows_of(two)[quantity] == pytest.approx(values, rel=1e-4, abs=1e-6), quantity
    ends = two.network.state_dict()
    for key, value in one.network.state_dict().items():
        if key != "fusion.0.weight":
            torch.testing.assert_close(ends[key], value, rtol=1e-5, atol=1e-7, msg=key)


def alike(run: ToyRun) -> ToyRun:
    """Make the modalities equal: data, encoders, classifiers and their part of the fusion."""
    for sample in run.data:
        sample["image"][:] = sample["image"][0].clone()
    members = getattr(run.network, "members", None)
    for parts in (run.network.encoders if members is None else members, run.classifiers or {}):
        first: Any = None
        for name, part in parts.items():
            first = first or {k.replace(name, ""): v.clone() for k, v in part.state_dict().items()}
            part.load_state_dict({k: first[k.replace(name, "")] for k in part.state_dict()})
    if members is None:
        with torch.no_grad():
            weight: Any = run.network.fusion[0].weight
            weight.copy_(weight[:, :5].repeat(1, weight.shape[1] // 5))
    return run


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in BY_PLACE])
def test_equal_modalities_are_treated_alike(name: str, count: int, tmp_path: Path) -> None:
    modalities = ORDER[:count]
    more = WITHOUT_DRAWS.get(name, {}) | ({"alpha": 0.01} if name == "greedy" else {})
    run = ToyRun(
        ready(name, tmp_path, modalities, **more),
        modalities=modalities,
        dtype=torch.float64,
        samples=16,
        epochs=2,
    )
    if CATALOGUE[name].teachers_by is not None:
        run = equal_teachers(run)
    alike(run).run()
    for quantity, values in rows_of(run).items():
        first, *others = [values[modality] for modality in modalities]
        assert others == pytest.approx([first] * len(others), rel=1e-5, abs=1e-7), quantity
    first, *rest = [list(encoder.parameters()) for encoder in run.network.encoders.values()]
    for encoder in rest:
        for one, two in zip(first, encoder, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)


def equal_teachers(run: ToyRun) -> ToyRun:
    """Let all teachers be the first one."""
    method: Any = run.modulation and run.modulation.method
    state = torch.load(method.teachers, weights_only=True)
    first = run.network.modalities[0]
    for key in list(state):
        state[key] = state[key.replace(key.split(".")[1], first)]
    torch.save(state, method.teachers)
    return run


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", [n for n in NAMES if KEEPS.get(n) != "nothing"])
def test_what_a_method_does_not_change_is_joint_training(
    name: str, optimizer: Any, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"dtype": torch.float64, "optimizer": optimizer}
    method = ready(name, tmp_path, ORDER, **TOUCHING.get(name, {}))
    found = ToyRun(method, **settings).first_step_gradients()
    run = ToyRun(Joint(), **settings)
    touched = set()
    for key, gradient in run.first_step_gradients().items():
        if key.startswith("classifiers."):
            continue
        if KEEPS[name] == "all" or run.part(key) == "fusion":
            torch.testing.assert_close(found[key], gradient, rtol=1e-9, atol=1e-12, msg=key)
        elif not torch.allclose(found[key], gradient, rtol=1e-6):
            touched.add(run.part(key))
    assert bool(touched) == (KEEPS[name] == "fusion")


@pytest.mark.parametrize("name", NAMES)
def test_a_validation_changes_nothing(name: str, tmp_path: Path) -> None:
    """What others do with the network between two epochs is none of a method's business."""
    ends: list[dict[str, Tensor]] = []
    for look in (False, True):
        epochs = epochs_of(name, ORDER)
        run = ToyRun(ready(name, tmp_path, ORDER), epochs=epochs, samples=16)
        if look:

            def validate(_: Any, run: ToyRun = run) -> None:
                with torch.no_grad():
                    run.network(torch.stack([sample["image"] for sample in run.data[:3]]))

            run.trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
        ends.append(run.run().network.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
