"""A card for every method, beside what the code does."""

import inspect
import re

import pytest

from cggm.pipelines.balancing.method import TASKS
from cggm.pipelines.methods import CATALOGUE

from .cards import CARDS, ROOT, line


def test_every_method_has_a_card_and_every_card_a_method() -> None:
    missing = sorted(CATALOGUE.keys() - CARDS.keys())
    assert not missing, f"docs/methods.md has no card of {missing}"
    assert list(CARDS) == sorted(CATALOGUE)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_settings_and_defaults_are_the_constructors(name: str) -> None:
    told = re.findall(r"`(\w+) = ([^`]*)`", line(name, "Settings"))
    parameters = inspect.signature(CATALOGUE[name]).parameters
    assert dict(told) == {key: repr(value.default) for key, value in parameters.items()}
    assert bool(told) != line(name, "Settings").startswith("none")


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_paper_changes_and_tasks_are_those_of_the_class(name: str) -> None:
    method = CATALOGUE[name]
    assert (method.paper or "none") in line(name, "Paper")
    assert line(name, "Changes").startswith(method.changes)
    published, _, extended = line(name, "Tasks").partition("extensions:")
    assert {task for task in TASKS if task in published} == method.published
    assert {task for task in TASKS if task in extended.split(".")[0]} == method.extended
    found = re.search(r"M ≤ (\d)", published)
    assert (int(found[1]) if found else None) == method.published_modalities


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_hooks_are_those_that_the_class_has(name: str) -> None:
    hooks = ("epoch_begins", "feature", "loss", "gradients", "stepped")
    told = {hook for hook in hooks if f"`{hook}`" in line(name, "Changes")}
    own = {h for c in CATALOGUE[name].__mro__[:-2] for h in hooks if h in vars(c)}
    assert told <= own
    assert own - told <= BESIDE.get(name, set())


# Hooks that only prepare, undo or protect what the others do.
BESIDE = {
    "mmpareto": {"epoch_begins"},
    "mrd": {"loss"},
    "mslr": {"epoch_begins"},
    "ogm_ge": {"loss"},
    "opm": {"loss"},
    "relearning": {"loss"},
}


def test_the_readme_links_the_cards() -> None:
    assert "(docs/methods.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_what_a_method_keeps_is_one_of_three(name: str) -> None:
    assert re.split(r"\W", line(name, "Keeps"))[0] in ("fusion", "all", "nothing")
