"""Feature sets as the command makes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from cggm.data.errors import InputError
from cggm.data.features.feature_set import open_feature_set

from ..children import in_a_child
from .conftest import picture, tone, write_table
from .test_media import clip

Command = Callable[..., object]
HEADER = "id,text,image,label,split,group"


def frogs(folder: Path, **changes: str) -> Path:
    """A table of six texts and images; changes replace texts or images by id."""
    rows = []
    for number in range(6):
        picture(folder / "photos" / f"{number}.png", number)
        name, label = f"s{number}", ("frog", "bird")[number % 2]
        text = "a frog sings" if label == "frog" else "birds fly over the house"
        split = ("train", "train", "val", "val", "test", "test")[number]
        image = changes.get(f"image_{name}", f"photos/{number}.png")
        rows.append((name, changes.get(f"text_{name}", text), image, label, split, f"g{number}"))
    return write_table(folder / "table.csv", rows, HEADER)


def test_two_modalities(bert: Path, vit: Path, tmp_path: Path, command: Command) -> None:
    table, folder = frogs(tmp_path), tmp_path / "set"
    common = ("--table", table, "--set", folder, "--name", "Frogs and birds")
    command("text", *common, "--model", bert)
    command("image", *common, "--model", vit, "--pooling", "tokens")
    found = open_feature_set(folder)
    assert (found.name, found.task, found.classes) == (
        "Frogs and birds",
        "classification",
        ["bird", "frog"],
    )
    assert found.widths == {"image": 32, "text": 32}
    assert found.files["text"].lengths.tolist() == [5, 7] * 3
    assert set(found.files["image"].lengths) == {16}
    assert found.labels["s0"] == 1 and found.splits["s2"] == "val" and found.groups["s3"] == "g3"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--name", "Toads"), "has the name Frogs, --name says Toads"),
        (("--classes", "frog", "bird"), r"has the classes \['bird', 'frog'\], --classes says"),
        (("--task", "regression"), "has the task classification, --task says regression"),
    ],
)
def test_a_set_that_is_there_keeps_what_it_is(
    option: tuple[str, ...], words: str, bert: Path, tmp_path: Path, command: Command
) -> None:
    common = ("--table", frogs(tmp_path), "--set", tmp_path / "set", "--model", bert)
    command("text", *common, "--name", "Frogs")
    command("text", *common, "--name", "Frogs")
    with pytest.raises(InputError, match=words):
        command("text", *common, *option)


@pytest.mark.parametrize("name", ["../evil", "/evil", "", ".h", "a/b", "values"])
def test_a_modality_stays_in_its_set(name: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "in").mkdir()
    table = frogs(tmp_path / "in")
    words = ("text", "--table", table, "--set", tmp_path / "in" / "set", "--modality", name)
    with pytest.raises(InputError, match=f"--modality: a modality cannot be called '{name}'"):
        command(*words, "--model", "none")
    assert not (tmp_path / "in" / "set").exists() and len(list(tmp_path.iterdir())) == 1


def test_finish_keeps_what_all_modalities_have(
    bert: Path,
    vit: Path,
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = frogs(tmp_path, text_s1=" ", image_s4="photos/missing.png")
    folder = tmp_path / "set"
    common = ("--table", table, "--set", folder)
    command("text", *common, "--model", bert)
    assert f"extract finish {folder}" in capsys.readouterr().out
    command("image", *common, "--model", vit)
    with pytest.raises(InputError, match="does not match samples.csv"):
        open_feature_set(folder)

    command("finish", folder)
    assert "4 samples have image, text; 2 dropped" in capsys.readouterr().out
    assert open_feature_set(folder).ids == ["s0", "s2", "s3", "s5"]
    assert (folder / "dropped.csv").read_text() == "id,lacks\ns1,text\ns4,image\n"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    command("finish", folder)
    assert "all 4 samples have image, text" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # The settings did not change, so nothing is extracted again.
    command("image", *common, "--model", vit)
    assert "already extracted" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_what_a_killed_command_left_in_a_set_is_cleared(
    bert: Path, tmp_path: Path, command: Command
) -> None:
    gone = in_a_child(lambda: None)
    os.waitpid(gone, 0)
    (tmp_path / "set").mkdir()
    for name in ("samples.csv", "dataset.json", "dropped.csv"):
        (tmp_path / "set" / f".{name}.{gone}.tmp").write_text("half")
    command("text", "--table", frogs(tmp_path), "--set", tmp_path / "set", "--model", bert)
    names = {path.name for path in (tmp_path / "set").iterdir() if path.suffix != ".lock"}
    assert names == {"samples.csv", "dataset.json", "text.npy", "text.npy.json"}


def test_finish_takes_out_classes_without_samples(
    bert: Path, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("1", "a frog", "frog"), ("2", "birds", "bird"), ("3", "", "mouse")]
    table = write_table(tmp_path / "table.csv", rows, "id,text,label")
    command("text", "--table", table, "--set", tmp_path / "set", "--model", bert)
    command("finish", tmp_path / "set")
    assert "classes without samples taken out: mouse" in capsys.readouterr().out
    assert open_feature_set(tmp_path / "set").classes == ["bird", "frog"]


def test_numbers_need_a_task(bert: Path, tmp_path: Path, command: Command) -> None:
    rows = [(f"{i}", "a frog", f"{i - 1.5}") for i in range(4)]
    table = write_table(tmp_path / "table.csv", rows, "id,text,label")
    words = ("text", "--table", table, "--set", tmp_path / "set", "--model", bert)
    with pytest.raises(InputError, match="are numbers: say --task classification or --task reg"):
        command(*words)
    assert not (tmp_path / "set").exists()
    command(*words, "--task", "regression")
    assert open_feature_set(tmp_path / "set", task="regression").labels["3"] == 1.5


def test_samples_to_predict_have_no_labels(bert: Path, tmp_path: Path, command: Command) -> None:
    table = write_table(tmp_path / "table.csv", [("1", "a frog")])
    words = ("text", "--table", table, "--set", tmp_path / "set", "--model", bert)
    with pytest.raises(InputError, match="has no labels: add a column 'label'"):
        command(*words)
    command(*words, "--classes", "frog", "bird")
    found = open_feature_set(tmp_path / "set", labels="optional")
    assert (found.classes, found.labels) == (["frog", "bird"], {"1": None})


def test_a_table_that_is_the_list_of_samples_is_kept(
    bert: Path, tmp_path: Path, command: Command
) -> None:
    table = frogs(tmp_path / "set", text_s3="").rename(tmp_path / "set" / "samples.csv")
    before = table.read_text()
    command("text", "--table", table, "--set", tmp_path / "set", "--model", bert)
    assert table.read_text() == before
    command("finish", tmp_path / "set")
    assert table.read_text() == "".join(
        line for line in before.splitlines(keepends=True) if not line.startswith("s3,")
    ).replace("\r\n", "\n")
    assert len(open_feature_set(tmp_path / "set").ids) == 5


def test_bad_labels_leave_nothing(bert: Path, tmp_path: Path, command: Command) -> None:
    rows = [("1", "a frog", "frog", "train"), ("2", "birds", "bird", "dev")]
    table = write_table(tmp_path / "table.csv", rows, "id,text,label,split")
    with pytest.raises(InputError, match="split of 1 samples is unknown: 2 is 'dev'"):
        command("text", "--table", table, "--set", tmp_path / "set", "--model", bert)
    assert not (tmp_path / "set").exists()
    words = ("text", "--table", table, "--set", tmp_path / "set", "--classes", "frog", "frog")
    with pytest.raises(InputError, match='"classes" has empty or doubled names: frog'):
        command(*words, "--model", bert)
    assert not (tmp_path / "set").exists()


def test_ids_of_another_set(bert: Path, tmp_path: Path, command: Command) -> None:
    command("text", "--table", frogs(tmp_path), "--set", tmp_path / "set", "--model", bert)
    other = write_table(tmp_path / "other.csv", [("x", "a frog")])
    with pytest.raises(InputError, match=r"none of the ids \(x\) is in .*samples.csv \(s0, s1"):
        command("text", "--table", other, "--set", tmp_path / "set", "--model", bert)
    with pytest.raises(InputError, match="does not exist|no feature set"):
        command("finish", tmp_path / "nowhere")


def test_own_clips_make_text_audio_and_vision(
    bert: Path, vit: Path, whisper: Path, tmp_path: Path, command: Command
) -> None:
    """As CMU-MOSI and IEMOCAP have them: what is said, how it sounds, how it looks."""
    rows = []
    for number in range(3):
        clip(tmp_path / "clips" / f"{number}.mp4", 1.0 + number, sound=True)
        rows.append((f"c{number}", "a frog sings", f"clips/{number}.mp4", f"{number - 1}"))
    table = write_table(tmp_path / "clips.csv", rows, "id,text,clip,label")
    common = ("--table", table, "--set", tmp_path / "set", "--task", "regression")
    command("text", *common, "--model", bert)
    command("audio", *common, "--column", "clip", "--model", whisper)
    command("video", *common, "--column", "clip", "--model", vit, "--modality", "vision")
    found = open_feature_set(tmp_path / "set", modalities=["text", "audio", "vision"])
    assert found.files["vision"].lengths.tolist() == [2, 4, 6]
    assert all(abs(n - 50 * (i + 1)) < 8 for i, n in enumerate(found.files["audio"].lengths))


def test_folders_of_recordings(whisper: Path, tmp_path: Path, command: Command) -> None:
    for name in ("a", "b"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "sounds" / name / "x.wav", tone(0.5, 8000), 8000)
    words = ("audio", "--folder", tmp_path / "sounds", "--model", whisper, "--pooling", "mean")
    command(*words, "--output", tmp_path / "audio.npy")
    from cggm.data.features.file import FeatureFile

    assert FeatureFile(tmp_path / "audio.npy").ids == ["a/x", "b/x"]
    with pytest.raises(InputError, match="begin it with --table"):
        command(*words, "--set", tmp_path / "set")
