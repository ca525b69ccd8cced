"""Commands that are killed twenty times at moments drawn by chance: they end as if never killed.

The same files, byte for byte or number for number, and nothing left over beside them. The seed of
a failure stands in its output; CGGM_KILL_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from cggm.data.files import digest_of
from cggm.data.phantom import generate
from cggm.data.phantom.head import make_head

from .data.brains import write_case
from .dicom_series import write_series
from .segmentation.batch.models import write_model
from .segmentation.preparation.scans import write_scans

KILLS = 20
SEED = int(os.environ.get("CGGM_KILL_SEED", random.SystemRandom().randrange(10**6)))
SMALL = ["--encoder", "tu-test_resnet", "--channels", "16", "--size", "32", "--batch_size", "4"]

pytestmark = pytest.mark.slow

Words = list[str | Path]


class Work:
    """A command with what it makes.

    Args:
        words: of the command, for an output folder or file.
        made: of the output, by name, what must be the same in the end.
    """

    def __init__(
        self, words: Callable[[Path], Words], made: Callable[[Path], dict[str, object]]
    ) -> None:
        self.words, self.made = words, made

    def start(self, output: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "cggm", *map(str, self.words(output))]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self, output: Path) -> float:
        """Let it end well, and give the seconds it took."""
        begun = time.monotonic()
        process = self.start(output)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        return time.monotonic() - begun


def files(*patterns: str) -> Callable[[Path], dict[str, object]]:
    """Digests of files of a folder."""

    def made(output: Path) -> dict[str, object]:
        found = [path for pattern in patterns for path in output.glob(pattern)]
        assert found
        return {str(path.relative_to(output)): digest_of(path) for path in found}

    return made


def features_file(output: Path) -> dict[str, object]:
    return {end: digest_of(Path(f"{output}{end}")) for end in (".npy", ".npy.json")}


def network_and_history(output: Path) -> dict[str, object]:
    """Weights of a training, and its losses and scores."""
    content = torch.load(output / "models" / "last.pt", weights_only=True)
    weights = {name: value.tolist() for name, value in content["network"].items()}
    history = pd.read_csv(output / "history.csv").drop(columns="seconds").to_csv()
    modulation = (output / "modulation.csv").read_text()
    return weights | {"history": history, "modulation": modulation}


def training(folder: Path) -> Work:
    generate(folder / "cases", cases=6, spacing=4.0, workers=1)

    def words(output: Path) -> Words:
        going_on = ["--resume"] if (output / "models" / "last.pt").exists() else []
        places = ["--dataset_dir", folder / "cases", "--cache_dir", output / "cache"]
        more = ["--slices_per_case", "2", "--method", "cggm", "--modality_dropout", "0.3"]
        epochs = ["--epochs", "4", "--val_interval", "1"]
        return [
            "train",
            "brats",
            *places,
            *SMALL,
            *more,
            *epochs,
            "--output_dir",
            output,
            *going_on,
        ]

    return Work(words, network_and_history)


def extraction(folder: Path) -> Work:
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "bert").mkdir(parents=True)
    (folder / "bert" / "vocab.txt").write_text("\n".join([*marks, "great", "sad", "movie"]))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=8, intermediate_size=32, **sizes)
    transformers.BertModel(config).save_pretrained(folder / "bert")
    tokenizer = transformers.BertTokenizer(str(folder / "bert" / "vocab.txt"))
    tokenizer.save_pretrained(folder / "bert")
    rows = "".join(f"{i},{'great movie ' * (1 + i % 9)}\n" for i in range(4000))
    (folder / "table.csv").write_text("id,text\n" + rows)
    given = ["--table", folder / "table.csv", "--model", folder / "bert", "--chunk", "32"]
    return Work(
        lambda output: ["extract", "text", *given, "--output", f"{output}.npy"], features_file
    )


def dicom(folder: Path) -> Work:
    draws = np.random.default_rng(0)
    for patient in range(6):
        for number, text in enumerate(("t1_mprage_km", "t2_flair_tra"), 1):
            write_series(
                folder / "tree" / f"{patient}_{number}",
                draws.integers(0, 1000, (64, 64, 24)).astype(np.uint16),
                patient=(f"Patient^{patient}", str(patient), "19600101"),
                study=f"1.2.3.{patient}",
                SeriesNumber=number,
                SeriesDescription=text,
            )
    return Work(lambda output: ["dicom", "convert", folder / "tree", output], files("**/*.nii.gz"))


def preparation(folder: Path) -> Work:
    head = make_head(0, 3, 3.0)
    for patient in range(3):
        write_scans(folder / "scans" / f"P{patient}", head, "t1ce", "t2")
    settings = ["--brain_mask", "skullless", "--spacing", "3"]
    return Work(
        lambda output: ["prepare", folder / "scans", output, *settings],
        files("P*/*.nii.gz", "P*/*.tfm"),
    )


def segmentation(folder: Path) -> Work:
    for number in range(12):
        write_case(folder / "cases", f"P{number:02}", number)
    model = write_model(folder / "model")
    return Work(
        lambda output: ["segment", folder / "cases", output, "--model", model],
        files("P*/*.nii.gz", "P*/*.png"),
    )


def packing(folder: Path) -> Work:
    model = write_model(folder / "model")
    return Work(
        lambda output: ["pack", model, output, "--data", "nothing", "--torchscript"],
        files("models/*.pt", "configs/*", "docs/*"),
    )


WORKS = {
    made.__name__: made
    for made in (training, extraction, dicom, preparation, segmentation, packing)
}


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    print(f"CGGM_KILL_SEED={SEED}")
    yield


@pytest.mark.parametrize("name", WORKS)
def test_killed_twenty_times_it_ends_as_if_never_killed(name: str, tmp_path: Path) -> None:
    work, draws = WORKS[name](tmp_path / "in"), random.Random(f"{SEED} {name}")
    whole, output = tmp_path / "whole" / "out", tmp_path / "killed" / "out"
    took = work.finish(whole)
    expected = work.made(whole)
    killed = 0
    while killed < KILLS:
        process = work.start(output)
        time.sleep(draws.uniform(0.3, 1.0) * took)
        ended = process.poll()
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        killed += 1
        if ended is not None:
            assert ended == 0, said
            break  # the work is done: nothing is left to kill
    work.finish(output)
    assert work.made(output) == expected
    left = [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp") or p.name.endswith(".begun")]
    assert not left, f"after {killed} kills"
