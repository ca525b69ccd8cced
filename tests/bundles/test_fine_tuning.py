"""Fine-tuning: a trained network goes on with other cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from cggm.data.brats.cases import SEQUENCES, Case
from cggm.data.brats.embedded import open_split
from cggm.data.errors import InputError
from cggm.data.identity import owner_digests
from cggm.data.patients import patient_of
from cggm.data.phantom import generate
from cggm.data.splits import split_cases
from cggm.pipelines.segmentation import FineTuning

from .conftest import Bundle

NAMES = [f"P{number:02}" for number in range(10)]


def described(output: Path) -> dict[str, Any]:
    return json.loads((output / "models" / "model.json").read_text())


@pytest.fixture(scope="module")
def corrected(shared: Path) -> str:
    """Other patients than those of the training, by name too, and one of them."""
    folder = shared / "corrected"
    with FileLock(shared / "corrected.lock"):
        if not folder.exists():
            generate(shared / "others", cases=12, spacing=4.0, seed=1, workers=2)
            folder.mkdir()
            for number in (0, 7, 8, 9, 10, 11):
                case = f"Phantom_{number:05}"
                (folder / case).symlink_to(shared / "others" / case)
    return str(folder)


@pytest.fixture(scope="module")
def tuned(brats: Bundle, trained: Path, corrected: str, shared: Path) -> Path:
    output = shared / "tuned"
    with FileLock(shared / "tuned.lock"):
        if not (output / "done").exists():
            brats.run("train.json", output, init=str(trained), dataset_dir=corrected, lr=1e-7)
            (output / "done").touch()
    return output


def test_training_goes_on_from_the_weights(tuned: Path, trained: Path) -> None:
    """At almost no rate the weights stay those of the first training."""
    first, second = (
        torch.load(folder / "models" / "last.pt", weights_only=True)["network"]
        for folder in (trained, tuned)
    )
    names = [name for name in first if name.endswith("weight") and first[name].dim() > 1]
    assert len(names) > 10
    for name in names:
        assert torch.allclose(first[name], second[name], atol=1e-3), name


def test_description_tells_what_was_fine_tuned_and_all_patients(tuned: Path, trained: Path) -> None:
    before, after = described(trained), described(tuned)
    split = json.loads((tuned / "split.json").read_text())
    assert after["trained_on"] == owner_digests(split["train"], patient_of, before["trained_on"])
    assert len(after["init"]) == 64 and "init" not in before
    assert after["modality_dropout"] == before["modality_dropout"]


def test_other_settings_of_the_network_are_refused(
    brats: Bundle, trained: Path, corrected: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:  # of MONAI, around ours
        brats.run("train.json", tmp_path, init=str(trained), dataset_dir=corrected, channels=32)
    assert isinstance(caught.value.__cause__, InputError)
    assert "was trained with channels 16; this run builds 32" in str(caught.value.__cause__)


def test_rate_is_a_tenth(brats: Bundle, trained: Path, tmp_path: Path) -> None:
    plain = brats.workflow("train.json", tmp_path)
    tuning = brats.workflow("train.json", tmp_path, init=str(trained))
    assert tuning.parser.get_parsed_content("lr") == plain.parser.get_parsed_content("lr") / 10


def test_dropout_is_the_networks(tmp_path: Path) -> None:
    def tuning(**rates: float) -> FineTuning:
        about = {"sequences": [*rates], "encoder": "e", "channels": 1, "rates": [1]}
        (tmp_path / "model.json").write_text(json.dumps(about | {"modality_dropout": rates}))
        torch.save({}, tmp_path / "model.pt")
        return FineTuning(tmp_path / "model.pt", [*rates])

    even, uneven, none = tuning(t1=0.3, t2=0.3), tuning(t1=0.1, t2=0.4), tuning(t1=0.0, t2=0.0)
    assert (even.dropout, even.missing) == (0.3, None)
    assert (uneven.dropout, uneven.missing) == (0.4, {"t1": 0.1})
    assert (none.dropout, none.missing) == (0.0, None)
    assert FineTuning(None, SEQUENCES).dropout == 0.5
    assert FineTuning(None, ["t1"]).dropout == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_patients_of_the_training_are_never_held_out(seed: int) -> None:
    seen = set(NAMES[3:9])
    split = split_cases(NAMES, seed=seed, seen=seen)
    assert seen <= set(split["train"])
    assert {part: len(names) for part, names in split.items()} == {"train": 7, "val": 1, "test": 2}
    with pytest.raises(InputError, match="2 are left, and validation and test need 3"):
        split_cases(NAMES, seed=seed, seen=NAMES[:8])
    assert split_cases(NAMES, seed=seed, seen={"Q1"}) == split_cases(NAMES, seed=seed)


def test_a_kept_split_that_holds_them_out_is_refused(tmp_path: Path) -> None:
    cases = [Case(name, {}, None, None, "brats2018") for name in NAMES]
    split = open_split(cases, tmp_path)
    digests = owner_digests([*split["train"], split["test"][0]], patient_of)
    with pytest.raises(InputError, match=rf"trained on 1 of the 3 cases .*{split['test'][0]}"):
        open_split(cases, tmp_path, trained_on=digests)
    assert (
        open_split(cases, tmp_path, trained_on=owner_digests(split["train"], patient_of)) == split
    )
