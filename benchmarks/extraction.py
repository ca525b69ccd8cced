"""The speed of batches of similar length and of lower precision, measured in one run.

    python benchmarks/extraction.py                      # a new network, 6 layers of width 384
    python benchmarks/extraction.py --model FOLDER       # your own
    python benchmarks/extraction.py --model FOLDER --table texts.csv --max_length 128

A plain loop over single texts stands beside our extraction, file writing included, and beside
batches in the order of the table. Repeats are interleaved, so that whatever else the machine does
hits all alike; the figures to read are the ratios. Texts are, for a model of one's own, sentences
from the documentation of Python's standard library; for the new one, letters of such lengths.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import random
import statistics
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

from cggm.pipelines.extraction import (
    Encoder,
    Options,
    Plan,
    Sample,
    extract,
    load_encoder,
    read_table,
)

MODULES = (
    "argparse",
    "asyncio",
    "collections",
    "csv",
    "datetime",
    "json",
    "logging",
    "os",
    "random",
)
PRECISIONS = ("float32", "bfloat16", "int8")


def new_model(folder: Path) -> Path:
    """Save a BERT of the size of MiniLM with random weights, and a tokenizer of letters."""
    torch.manual_seed(0)
    letters = [*string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def sentences(count: int) -> list[Sample]:
    """Real texts that every machine has: sentences of docstrings of the standard library."""
    found: dict[str, None] = {}
    for name in MODULES:
        for _, thing in inspect.getmembers(importlib.import_module(name)):
            for sentence in (inspect.getdoc(thing) or "").replace("\n", " ").split(". "):
                if len(sentence.split()) >= 3:
                    found[" ".join(sentence.split())] = None
    texts = list(found)
    random.Random(0).shuffle(texts)
    return [Sample(str(i), text, text) for i, text in enumerate(texts[:count])]


def letters(samples: list[Sample]) -> list[Sample]:
    """Put a letter in place of each word."""
    draw = random.Random(0)
    texts = [
        " ".join(draw.choices(string.ascii_lowercase, k=len(s.shown.split()))) for s in samples
    ]
    return [Sample(str(i), text, text) for i, text in enumerate(texts)]


def one_by_one(encoder: Encoder, samples: list[Sample], folder: Path) -> None:
    """What a first script does: a loop, all features in memory, one file at the end."""
    features = {s.name: encoder.encode([encoder.read(s.source)])[0] for s in samples}
    np.savez(folder / "plain.npz", **features)  # pyright: ignore[reportArgumentType]


def in_table_order(encoder: Encoder, samples: list[Sample], folder: Path) -> None:
    """Batches as they come, padded to the longest of each."""
    size = encoder.batch_size
    features = {}
    for start in range(0, len(samples), size):
        batch = samples[start : start + size]
        found = encoder.encode([encoder.read(s.source) for s in batch])
        features |= {s.name: array for s, array in zip(batch, found, strict=True)}
    np.savez(folder / "plain.npz", **features)  # pyright: ignore[reportArgumentType]


def ours(encoder: Encoder, samples: list[Sample], folder: Path) -> None:
    """The extraction, with its parts and the one file that it makes of them."""
    extract(samples, encoder, folder / "text.npy", Plan(overwrite=True, progress=False))


def measure(
    ways: dict[str, Callable[[], None]], count: int, repeats: int
) -> dict[str, list[float]]:
    """Give the samples per second of each way, each repeat."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            rates[name].append(count / (time.perf_counter() - began))
    return rates


def print_table(rates: dict[str, list[float]]) -> None:
    first = next(iter(rates.values()))
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(values, first, strict=True)]
        print(
            f"{name:34} {statistics.median(values):8.1f} samples/s   "
            f"{statistics.median(ratios):5.2f} times the first "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def similarity(encoder: Encoder, exact: Encoder, samples: list[Sample]) -> tuple[float, float]:
    """Give the mean and the lowest cosine of token features to those of float32."""
    cosines = []
    for sample in samples:
        a, b = encoder.encode([sample.source])[0], exact.encode([sample.source])[0]
        cosines.append((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
    values = np.concatenate(cosines)
    return float(values.mean()), float(values.min())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="a folder; default: a new network with random weights")
    parser.add_argument("--table", help="texts of one's own, with the columns id and text")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    samples = read_table(given.table, kind="text") if given.table else sentences(given.samples)
    samples = samples[: given.samples] if given.model else letters(samples[: given.samples])
    options = Options(max_length=given.max_length, batch_size=given.batch_size, device="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = given.model or str(new_model(folder))
        encoders = {
            precision: load_encoder(
                "text", model, dataclasses.replace(options, precision=precision)
            )
            for precision in PRECISIONS
        }
        exact = encoders["float32"]
        ways: dict[str, Callable[[], None]] = {
            "loop, batch size 1": lambda: one_by_one(exact, samples, folder),
            f"batches of {given.batch_size}, table order": lambda: in_table_order(
                exact, samples, folder
            ),
        }
        for precision, encoder in encoders.items():
            ways[f"ours, {precision}"] = lambda encoder=encoder: ours(encoder, samples, folder)
        for encoder in encoders.values():
            encoder.encode([samples[0].source] * given.batch_size)  # sets memory aside
        rates = measure(ways, len(samples), given.repeats)
    lengths = [len(features) for features in map(lambda s: exact.encode([s.source])[0], samples)]
    print(
        f"{len(samples)} texts of {min(lengths)} to {max(lengths)} tokens (median "
        f"{statistics.median(lengths):.0f}), {torch.get_num_threads()} threads"
    )
    print_table(rates)
    for precision in PRECISIONS[1:]:
        mean, low = similarity(encoders[precision], exact, samples)
        print(f"{precision:10} cosine to float32, over tokens: mean {mean:.5f}, lowest {low:.5f}")


if __name__ == "__main__":
    main()
