"""Properties of every method in the catalogue, and complete lists of them."""

import importlib
import inspect
import json
import math
import pkgutil
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cggm.bundles import path
from cggm.pipelines import methods
from cggm.pipelines.balancing import Task
from cggm.pipelines.balancing.method import TASKS
from cggm.pipelines.methods import CATALOGUE, Method, create, describe

from ..toy import ToyRun
from .ready import epochs_of, ready

NAMES = sorted(CATALOGUE)
MODALITIES = ("audio", "text", "touch", "video")
ROOT = Path(__file__).parents[2]


def counts(name: str) -> list[int]:
    """Numbers of modalities from 1 to 4 that a method trains."""
    fewest, most = CATALOGUE[name].modalities
    return [count for count in range(1, 5) if fewest <= count <= (most or 4)]


def covered(name: str) -> list[str]:
    method = CATALOGUE[name]
    return sorted((method.published | method.extended) - {"segmentation"})


def weights(run: ToyRun) -> dict[str, torch.Tensor]:
    return run.network.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_what_it_is(name: str) -> None:
    method = CATALOGUE[name]
    assert method.changes and (method.paper or name == "joint")
    assert method.published | method.extended <= set(TASKS)
    assert not method.published & method.extended
    assert (inspect.getdoc(method) or "").splitlines()[0].endswith(".")
    assert f"  {name} " in describe()


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_the_constructors_arguments(name: str) -> None:
    method = create(name)
    assert set(method.settings()) == set(inspect.signature(CATALOGUE[name]).parameters)
    json.dumps(method.settings())
    again = create(name, {name: method.settings()})
    assert again.settings() == method.settings()


def test_every_method_that_is_written_is_in_the_catalogue() -> None:
    for module in pkgutil.iter_modules(methods.__path__, f"{methods.__name__}."):
        for name, found in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(found) and issubclass(found, Method) and found is not Method:
                listed = found in CATALOGUE.values()
                assert listed, f"{module.name} has {name}, pipelines/methods/__init__.py has not"


@pytest.mark.parametrize("bundle", ["brats", "food101", "iemocap", "mosi"])
def test_every_bundle_offers_every_method(bundle: str) -> None:
    offered = json.loads((Path(path(bundle)) / "train.json").read_text())["methods"]
    missing = sorted(CATALOGUE.keys() - offered.keys())
    assert not missing, f'"methods" in bundles/{bundle}/train.json has no settings of {missing}'
    assert sorted(offered) == NAMES
    for name, settings in offered.items():
        assert set(settings) <= set(inspect.signature(CATALOGUE[name]).parameters), name


def test_the_readme_has_the_table_of_methods() -> None:
    table = runpy.run_path(str(ROOT / "benchmarks/methods_table.py"))["table"]()
    current = table in (ROOT / "docs/methods.md").read_text()
    assert current, "docs/methods.md has another table: run python benchmarks/methods_table.py"


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", NAMES)
def test_trains_any_number_of_modalities_and_task_it_covers(
    name: str, optimizer: Any, tmp_path: Path
) -> None:
    for task in covered(name):
        for count in counts(name):
            modalities = MODALITIES[:count]
            run = ToyRun(
                ready(name, tmp_path, modalities, task),
                task=task,
                modalities=modalities,
                optimizer=optimizer,
                lr=0.01,
                epochs=epochs_of(name, modalities),
                samples=16,
            )
            start = {key: value.clone() for key, value in weights(run).items()}
            run.run()
            assert all(bool(value.isfinite().all()) for value in weights(run).values())
            moved = {run.part(k) for k, v in weights(run).items() if not torch.equal(v, start[k])}
            # A loss that the blend weighs with 0 moves nothing.
            assert moved if name == "gblending" else moved >= set(modalities), (task, count)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_stay_finite(name: str, tmp_path: Path) -> None:
    modalities = MODALITIES[:2]
    run = ToyRun(ready(name, tmp_path, modalities), modalities=modalities, epochs=2)
    for sample in run.data:
        sample["image"].zero_()
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.zero_()
    run.run()
    assert all(bool(value.isfinite().all()) for value in weights(run).values())
    assert run.modulation is not None
    record = [x for row in run.modulation.record.values() for x in row.values()]
    assert all(math.isfinite(value) for value in record)


SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW


def with_momentum(groups: Any, lr: float) -> torch.optim.Optimizer:
    return SGD(groups, lr=lr, momentum=0.9, weight_decay=0.01)


Settings = dict[str, Any]
# Method, the epoch it is stopped after, how many there are, its settings, those of the run.
RESUMED: list[tuple[str, int, int, Settings, Settings]] = [
    *((name, 1, 3, {}, {"modalities": MODALITIES[:2], "samples": 32}) for name in NAMES),
    *((name, 1, 3, {}, {"modalities": MODALITIES[:2], "accumulation_steps": 2}) for name in NAMES),
    *((name, 1, 3, {}, {"optimizer": SGD}) for name in ("agm", "mrd", "ogm_ge")),
    *((name, 1, 3, {}, {"task": "regression"}) for name in ("agm", "ogm_ge")),
    *(
        (name, 1, 3, {}, {"optimizer": optimizer, "accumulation_steps": 2})
        for name in ("mmpareto", "qmf", "umt")
        for optimizer in (SGD, ADAMW)
    ),
    *(("cggm", 1, 2, {"direction": d}, {}) for d in ("gradient", "weight")),
    *(("gblending", 2, 4, {"mode": m, "trial_epochs": 2}, {}) for m in ("offline", "online")),
    ("greedy", 2, 6, {"alpha": 0.0, "unlock": 1, "window": 3}, {"samples": 8}),
    *(("mslr", stop, stop + 2, {"window": 3}, {}) for stop in (1, 3, 4)),
    *(("pmr", 2, 4, {"share": 0.5}, {"task": task}) for task in ("classification", "regression")),
    *(
        ("reconboost", stop, 8, {"n1": 2, "n2": 1}, {"optimizer": optimizer})
        for stop in (1, 2, 3)
        for optimizer in (SGD, with_momentum, ADAMW)
    ),
    ("relearning", 4, 6, {"every": 2, "held_out": 0.25}, {}),
]


@pytest.mark.parametrize(("name", "stop", "epochs", "method", "run"), RESUMED)
def test_what_is_remembered_is_plain_and_brings_a_method_back(
    name: str, stop: int, epochs: int, method: Settings, run: Settings, tmp_path: Path
) -> None:
    """A run that stopped after an epoch goes on as if it had not."""
    settings = {"modalities": MODALITIES[:3], "samples": 20, "optimizer": ADAMW, "lr": 0.01} | run
    task = run.get("task", "classification")

    def toy() -> ToyRun:
        again = ready(name, tmp_path, settings["modalities"], task, **method)
        return ToyRun(again, epochs=epochs, **settings)

    whole, first, second = toy(), toy(), toy()
    state = torch.get_rng_state()
    whole.run()
    torch.set_rng_state(state)
    second.resumed(first.stopped(stop))
    for key, value in weights(whole).items():
        assert torch.equal(weights(second)[key], value), key
    assert whole.modulation is not None and second.modulation is not None
    assert str(second.modulation.state_dict()) == str(whole.modulation.state_dict())
    assert second.modulation.record == whole.modulation.record


@pytest.mark.parametrize("name", NAMES)
def test_what_it_does_not_cover_is_refused(name: str) -> None:
    method = CATALOGUE[name]
    fewest = method.modalities[0]
    if fewest > 1 and method.teachers_by is None:
        with pytest.raises(ValueError, match=f"balances {fewest}"):
            ToyRun(create(name), modalities=MODALITIES[: fewest - 1]).run()
    for task in {"classification", "regression"} - method.published - method.extended:
        with pytest.raises(ValueError, match=f"this task is a {task}"):
            ToyRun(create(name), task=task, modalities=MODALITIES[:2]).run()


def test_a_task_of_ones_own_is_enough_for_what_reads_scores_and_gradients_only() -> None:
    for name in ("joint", "cggm"):
        run = ToyRun(create(name))
        assert run.modulation is not None
        run.modulation.task = Task(nn.CrossEntropyLoss(), run.task.scores)
        run.run()


def test_a_setting_that_does_not_exist_is_refused() -> None:
    for name in NAMES:
        with pytest.raises(ValueError, match=f"{name} has no setting 'nothing'"):
            create(name, {name: {"nothing": 1}})


def test_the_base_class_changes_nothing() -> None:
    plain, without = ToyRun(Method()).run(), ToyRun(None).run()
    assert all(torch.equal(value, weights(without)[n]) for n, value in weights(plain).items())
