"""Tiny models of every kind, made on the spot, and files for them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from typer.main import get_command

from cggm.pipelines.extraction.command import app

WORDS = [*"abcdefgh", "frog", "sings", "birds", "fly", "over", "the", "house"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with a vocabulary of a few words."""
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=40, max_position_embeddings=80, **SIZES)
    transformers.BertModel(config).save_pretrained(folder)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of two layers for images of 32 x 32 in 16 patches."""
    folder = tmp_path_factory.mktemp("models") / "tiny-vit"
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SIZES)
    transformers.ViTModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of two layers."""
    folder = tmp_path_factory.mktemp("models") / "tiny-whisper"
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=60,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
    )
    transformers.WhisperModel(config).save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a wav2vec2 of two layers that normalizes by "group" or by "layer"."""

    def make(norm: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / f"tiny-wav2vec2-{norm}"
        torch.manual_seed(0)
        config = transformers.Wav2Vec2Config(
            feat_extract_norm=norm,
            conv_dim=(16, 16),
            conv_kernel=(10, 8),
            conv_stride=(160, 2),
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
            do_stable_layer_norm=norm == "layer",
            **SIZES,
        )
        transformers.Wav2Vec2Model(config).save_pretrained(folder)
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
        extractor.save_pretrained(folder)
        return folder

    return make


def sentences(count: int, seed: int = 0) -> list[str]:
    """Draw texts of very different lengths."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, size=draw.integers(1, 40))) for _ in range(count)]


def write_table(path: Path, rows: Iterable[Iterable[object]], header: str = "id,text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def text_table(path: Path, count: int) -> Path:
    return write_table(path, ((f"t{i}", text) for i, text in enumerate(sentences(count))))


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    draw = np.random.default_rng(seed)
    values = draw.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def tone(seconds: float, rate: int, pitch: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype("f4")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., object]]:
    """Runs the command within this process, and leaves no trace of it."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    with warnings.catch_warnings():
        yield lambda *words: get_command(app).main(
            [str(word) for word in words], prog_name="cggm extract", standalone_mode=False
        )


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CGGM_TRACEBACK": "0"}


def start(*words: object) -> subprocess.Popen[str]:
    """Start the command as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "cggm", "extract", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
