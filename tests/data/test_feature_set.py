"""Feature sets: what a folder must hold, and how each fault is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.features.feature_set import (
    check_feature_set,
    open_feature_set,
    write_feature_set_header,
    write_samples,
)
from cggm.data.features.file import write_features

from .feature_sets import CLASSES, edit_header, feature_set, rows_of, sequences

NAMES = [row["id"] for row in rows_of(6)]


def test_classification(tmp_path: Path) -> None:
    rows = [row | {"split": "train", "group": row["label"]} for row in rows_of(6)]
    found = open_feature_set(feature_set(tmp_path, rows), task="classification")
    assert (found.name, found.task, found.generated) == ("three dishes", "classification", False)
    assert found.classes == CLASSES and found.outputs == 3 and found.ids == NAMES
    assert [found.labels[name] for name in NAMES] == [0, 1, 2, 0, 1, 2]
    assert set(found.splits.values()) == {"train"} and found.groups["s001"] == "soup"
    assert found.modalities == ["image", "text"] and found.widths == {"image": 4, "text": 3}
    assert found.files["text"].read("s003").shape[1] == 3
    assert found.describe().startswith("6 samples, 3 classes, image 1-5x4, text ")
    assert check_feature_set(tmp_path) == []


def test_regression(tmp_path: Path) -> None:
    found = open_feature_set(feature_set(tmp_path, task="regression"))
    assert found.classes is None and found.outputs == 1 and found.splits == {}
    assert (found.labels["s000"], found.labels["s005"]) == (-3.0, 3.0)
    assert found.groups["s001"] == "s001"
    assert found.describe().startswith("6 samples, labels -3 to 3, image")
    with pytest.raises(InputError, match="is for regression, but classification is asked for"):
        open_feature_set(tmp_path, task="classification")


def test_ids_and_classes_are_kept_as_they_are(tmp_path: Path) -> None:
    """Ids of videos begin with a minus, names of dishes hold commas, quotes and accents."""
    classes = ['a "b", c', "crème", "=1"]
    names = ["-3g5yACwYnA_1", "@x", 'q"u,o', "ü\nz"]
    write_feature_set_header(tmp_path, name="x", task="classification", classes=classes)
    rows = [{"id": n, "label": classes[i % 3]} for i, n in enumerate(names)]
    write_samples(tmp_path, rows)
    write_features(tmp_path / "text.npy", sequences(names).items(), about={})
    found = open_feature_set(tmp_path)
    assert found.ids == names and [found.labels[n] for n in names] == [0, 1, 2, 0]


def test_modalities_are_chosen_and_ordered(tmp_path: Path) -> None:
    feature_set(tmp_path)
    assert open_feature_set(tmp_path, modalities=["text"]).modalities == ["text"]
    edit_header(tmp_path, modalities=["text", "image"])
    assert open_feature_set(tmp_path).modalities == ["text", "image"]
    with pytest.raises(InputError, match="no features of audio, asked for; .*: image.npy, text."):
        open_feature_set(tmp_path, modalities=["text", "audio"])
    with pytest.raises(InputError, match="the modalities text are asked for twice"):
        open_feature_set(tmp_path, modalities=["text", "text"])
    with pytest.raises(InputError, match="no modality to use; .*: image.npy, text.npy"):
        open_feature_set(tmp_path, modalities=[])
    (tmp_path / "text.npy").unlink()
    with pytest.raises(InputError, match="of text, named in dataset.json; .* there are: image.npy"):
        open_feature_set(tmp_path)
    edit_header(tmp_path, modalities=None)
    (tmp_path / "image.npy").unlink()
    with pytest.raises(InputError, match="no modality to use; the feature files there are: none"):
        open_feature_set(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no feature set: it has no dataset.json"),
        ("{", "dataset.json cannot be read as JSON"),
        ("[" * 10**5, "dataset.json cannot be read as JSON"),
        ("[]", "its format is 'list', expected \"cggm feature set 1\""),
        ({"format": "other"}, "its format is 'other'"),
        ({"name": ["x"]}, "\"name\" is \\['x'\\]; expected a text"),
        ({"task": "ranking"}, "the task is 'ranking'; expected one of classification, regression"),
        ({"classes": None}, '"classes" is None; expected a list of names'),
        ({"classes": ["a", 3]}, "expected a list of names"),
        ({"classes": ["a", "b", "a"]}, '"classes" has empty or doubled names: a'),
        ({"classes": ["a"]}, "there is only the class a; expected 2"),
        ({"task": "regression"}, "regression has no classes"),
        ({"modalities": "text"}, "\"modalities\" is 'text'; expected a list"),
    ],
)
def test_unusable_header(tmp_path: Path, content: object, message: str) -> None:
    feature_set(tmp_path)
    if isinstance(content, dict):
        edit_header(tmp_path, **content)
    elif isinstance(content, str):
        (tmp_path / "dataset.json").write_text(content)
    else:
        (tmp_path / "dataset.json").unlink()
    with pytest.raises(InputError, match=message):
        open_feature_set(tmp_path)
    assert len(check_feature_set(tmp_path)) == 1


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no does not exist; give the folder of a feature set"):
        open_feature_set(tmp_path / "no")


TABLES = [
    ("", "samples.csv is empty; its first line names the columns"),
    ("name,label\ns000,pie\n", "has no column 'id'; it has 'name', 'label': it needs id and"),
    ("id,label,label\ns000,pie,pie\n", r"1 names come more than once \(label\); rename one"),
    ("id,label\n", "lists no sample"),
    ('id,label\ns000,"pie\ns001,soup\n', "quoting is broken in the row that begins in line 2"),
    ('id,label\ns000,"pie"x\n', "quoting is broken in the row that begins in line 2"),
    (b"id,label\ns000,cr\xe8me\n", "samples.csv is not in UTF-8 .byte 16."),
    ("id,label\ns000,pie,x\ns001\n", "line 2: 3 cells, but there are 2 columns; put double quot"),
    ("id,label\n,pie\n", "1 samples have no id"),
    ("id,label\na,pie\na,tea\nb,pie\n", "1 ids come more than once: a; ids must be unique"),
    ("id,label\na,piee\nb,?\n", "2 samples have labels .*a is 'piee', b is .*did you mean 'pie'"),
    ("id,label\na,\nb,pie\n", "1 samples have no label: a; label them or leave them out"),
    ("id,label\na,pie\nb,pie\n", "no sample is of these classes of dataset.json: soup, tea"),
    ("id,label,split\na,pie,training\nb,tea,val\nc,soup,val\n", "unknown: a is 'training'; expec"),
    (
        "id,label,split\na,pie,\nb,tea,val\nc,soup,val\n",
        "1 samples have no split, the others",
    ),
]


@pytest.mark.parametrize(("table", "message"), TABLES)
def test_unusable_table(tmp_path: Path, table: str | bytes, message: str) -> None:
    feature_set(tmp_path)
    (tmp_path / "samples.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(InputError, match=message):
        open_feature_set(tmp_path)
    assert any("samples.csv" in problem for problem in check_feature_set(tmp_path))


def test_missing_table(tmp_path: Path) -> None:
    (feature_set(tmp_path) / "samples.csv").unlink()
    with pytest.raises(InputError, match="has no samples.csv"):
        open_feature_set(tmp_path)


@pytest.mark.parametrize("label", ["happy", "nan", "inf", "1,5", "1_5"])
def test_labels_of_a_regression_are_finite_numbers(tmp_path: Path, label: str) -> None:
    rows = rows_of(6, "regression")
    rows[2]["label"] = label
    with pytest.raises(InputError, match=f"1 samples are no finite numbers: s002 is '{label}'"):
        open_feature_set(feature_set(tmp_path, rows, task="regression"))


def test_labels_of_a_regression_have_a_size_that_can_be_learned(tmp_path: Path) -> None:
    rows = rows_of(6, "regression")
    rows[2]["label"] = "-1e300"
    with pytest.raises(InputError, match=r"labels of 1 samples are beyond 1e\+15: s002 is -1e300;"):
        open_feature_set(feature_set(tmp_path, rows, task="regression"))


@pytest.mark.parametrize("name", ["values", "type", "a.b", "smell of tea", "Käse"])
def test_a_modality_that_cannot_be_part_of_a_network(name: str, tmp_path: Path) -> None:
    feature_set(tmp_path, widths={"image": 4, name: 3})
    with pytest.raises(InputError, match=f"a modality cannot be called '{name}'; its name is made"):
        open_feature_set(tmp_path)


def test_unlabeled_samples(tmp_path: Path) -> None:
    rows = [{"id": name, "label": "pie" if name == "s001" else ""} for name in NAMES]
    found = open_feature_set(feature_set(tmp_path, rows), labels="optional")
    assert [found.labels[name] for name in NAMES] == [None, 0, None, None, None, None]
    assert "5 without label" in found.describe()
    rows = [{"id": name} for name in NAMES]
    found = open_feature_set(feature_set(tmp_path, rows, task="regression"), labels="optional")
    assert set(found.labels.values()) == {None} and "no labels" in found.describe()
    with pytest.raises(InputError, match="labels is 'no'; expected one of required, optional"):
        open_feature_set(tmp_path, labels="no")


def test_ids_must_match_in_both_directions(tmp_path: Path) -> None:
    rows = rows_of(30)
    feature_set(tmp_path, rows)
    write_samples(tmp_path, [*rows[15:], {"id": "new", "label": "pie"}])
    with pytest.raises(InputError) as error:
        open_feature_set(tmp_path)
    message = str(error.value)
    assert "image.npy does not match samples.csv: 1 samples of samples.csv have no" in message
    assert "features: new; 15 have features but are not in samples.csv: s000, s001" in message
    assert "s009 and 5 more; extract" in message
    assert len(check_feature_set(tmp_path)) == 2, "one sentence per modality"


def test_doubled_ids_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 ids come more than once: a"):
        write_samples(tmp_path, [{"id": "a"}, {"id": "a"}])
    assert not list(tmp_path.iterdir())


def test_check_reads_everything(tmp_path: Path) -> None:
    feature_set(tmp_path)
    for name in ("image", "text"):
        np.load(tmp_path / f"{name}.npy", mmap_mode="r+")[0, 0] = np.nan
    shutil.copy(tmp_path / "text.npy.json", tmp_path / "audio.npy.json")
    (tmp_path / "audio.npy").write_text("text")
    problems = check_feature_set(tmp_path)
    assert len(problems) == 3
    assert "audio.npy cannot be read as an array of NumPy" in problems[0]
    assert all("is damaged: its checksum" in problem for problem in problems[1:])


def test_check_finds_values_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature_set(tmp_path)
    bad = sequences(NAMES)
    bad["s004"][0, 0] = np.inf
    # As another program would write it, with a checksum that is right.
    monkeypatch.setattr("cggm.data.features.file.check_array", lambda *_: None)
    write_features(tmp_path / "text.npy", bad.items(), about={})
    (problem,) = check_feature_set(tmp_path)
    assert problem.endswith("text.npy: 1 samples hold NaN or infinite values: s004")


def test_header_is_plain(tmp_path: Path) -> None:
    path = write_feature_set_header(tmp_path, name="x", task="regression", terms="free")
    content = json.loads(path.read_text())
    assert content["format"] == "cggm feature set 1" and content["terms"] == "free"
    assert "classes" not in content and "modalities" not in content
    with pytest.raises(InputError, match="the task is 'r'"):
        write_feature_set_header(tmp_path, name="x", task="r")
