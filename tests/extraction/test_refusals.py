"""Models, weights and settings that are refused before anything is extracted."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from cggm.data.errors import InputError
from cggm.pipelines.extraction import Options, load_encoder


def test_weights_of_timm_that_cannot_be_used(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"a": Hostile()}, tmp_path / "hostile.pth")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    messages = {
        "hostile.pth": "hold more than tensors",
        "other.safetensors": r"of another model: \d+ of \d+ tensors",
        "damaged.safetensors": "cannot be read",
        "missing.pth": "no such file",
    }
    for name, message in messages.items():
        with pytest.raises(InputError, match=message):
            load_encoder("image", "timm:test_vit", Options(weights=str(tmp_path / name)))
    assert not (tmp_path / "made").exists()
    with pytest.raises(InputError, match="timm has no model 'tset_vit' .did you mean 'test_vit'"):
        load_encoder("image", "timm:tset_vit", Options(weights="x"))


@pytest.mark.filterwarnings("ignore:tiny-bert has no preprocessor_config")
def test_models_that_cannot_be_used(bert: Path, vit: Path, whisper: Path, tmp_path: Path) -> None:
    def copied(source: Path, name: str) -> Path:
        return Path(shutil.copytree(source, tmp_path / name))

    (copied(bert, "no_config") / "config.json").unlink()
    (copied(bert, "no_weights") / "model.safetensors").unlink()
    (copied(bert, "damaged") / "model.safetensors").write_bytes(b"nothing")
    for file in [*copied(bert, "no_words").glob("*token*"), tmp_path / "no_words" / "vocab.txt"]:
        file.unlink()
    only_settings = copied(bert, "only_settings")
    for file in ("tokenizer.json", "vocab.txt"):  # tokenizer_config.json stays
        (only_settings / file).unlink()
    t5 = tmp_path / "t5"
    transformers.T5Model(
        transformers.T5Config(vocab_size=200, d_model=16, d_kv=8, d_ff=32, num_layers=1)
    ).save_pretrained(t5)
    (t5 / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')
    bad_pixels = copied(vit, "bad_pixels") / "preprocessor_config.json"
    bad_pixels.write_text(bad_pixels.read_text().replace("0.5", "0.0"))
    oblong = copied(vit, "oblong") / "preprocessor_config.json"
    settings = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}
    oblong.write_text(json.dumps(settings | {"size": {"shortest_edge": 32}}))
    (copied(whisper, "no_sound") / "preprocessor_config.json").unlink()
    no_rate = copied(whisper, "no_rate") / "preprocessor_config.json"
    no_rate.write_text(no_rate.read_text().replace("16000", "0"))
    half = copied(bert, "half")
    state = transformers.BertModel.from_pretrained(bert).state_dict()
    kept = {n: v.clone() for n, v in state.items() if "layer.1" not in n}
    save_file(kept, half / "model.safetensors", metadata={"format": "pt"})
    messages = [
        ("text", tmp_path / "no_config", "config.json is missing"),
        ("text", tmp_path / "no_weights", "holds no weights"),
        ("text", tmp_path / "damaged", "cannot be loaded"),
        ("text", tmp_path / "no_words", "no tokenizer with words in it .* copy these files"),
        ("text", tmp_path / "only_settings", "no tokenizer with words in it"),
        ("text", t5, "no tokenizer with words in it"),
        ("image", tmp_path / "bad_pixels", "gives NaN or infinite values .* mean and std in its"),
        ("image", tmp_path / "oblong", "cannot be used for image .*mend its preprocessor_config"),
        ("audio", tmp_path / "no_sound", "feature extractor .*preprocessor_config.json. cannot"),
        ("audio", tmp_path / "no_rate", "cannot be used for audio .* mend its preprocessor_config"),
        ("text", half, r"lack \d+ tensors of the model, such as .*layer.1"),
        ("text", vit, "no tokenizer"),
        ("image", bert, "cannot be used for image|cannot be loaded"),
        ("audio", bert, "feature extractor"),
        ("text", tmp_path / "nowhere" / "model", "no such folder"),
        ("text", "opensmile:eGeMAPSv02", "cannot be used for text"),
        ("audio", "timm:test_vit", "cannot be used for audio"),
    ]
    for kind, model, message in messages:
        with pytest.raises(InputError, match=message):
            load_encoder(kind, str(model))


def test_settings_that_cannot_be_used(bert: Path) -> None:
    for options, message in (
        (Options(pooling="max"), "pooling is 'max'; it is one of tokens, mean, cls"),
        (Options(precision="half"), "precision is 'half'"),
        (Options(batch_size=0), "batch_size is 0; it must be above 0"),
        (Options(device="cuda:9"), "device 'cuda:9' cannot be used .*; expected cpu, or cuda"),
        (Options(weights="x.pth"), "--weights is for timm"),
        (Options(mean=(0.5,)), "--mean and --std are for images"),
        (Options(revision="main"), "has no meaning for the folder"),
    ):
        with pytest.raises(InputError, match=message):
            load_encoder("text", str(bert), options)
