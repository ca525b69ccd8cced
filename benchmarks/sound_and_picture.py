"""A spoken and a written digit, trained end to end: does any method beat joint training?

    python benchmarks/sound_and_picture.py [--minutes 10] [--seeds 2] [--output FOLDER]

Needs espeak-ng (a package of Debian; `brew install espeak-ng`). The 1,797 pictures are the
handwritten digits of scikit-learn, with noise; the sound of each is its digit spoken by espeak-ng,
in one of 30 voices and one of five accents of English, at random speed and pitch, with noise: it is
synthetic speech. Small convolutional networks read both, from pixels and from a logarithmic mel
spectrogram. Samples of a voice are in one part only. The noise was set once, so that neither
modality alone is near 100 %, and not changed after. Variants, search and test are those of
`cggm advise`, with several seeds in each division, whose mean is compared. The same command goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from sklearn.datasets import load_digits
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from cggm.pipelines.research.advise.decide import find
from cggm.pipelines.research.advise.methods import METHODS
from cggm.pipelines.research.advise.page import write_advice
from cggm.pipelines.research.advise.plan import (
    Job,
    Row,
    Variant,
    chosen_rates,
    epochs_for,
    row_of,
    trained,
    variants_for,
)
from cggm.pipelines.research.advise.samples import Samples
from cggm.pipelines.research.advise.words import headline, sentences
from cggm.pipelines.research.advise.work import Rows, on_ray, work

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOICES = (
    *(f"m{number}" for number in range(1, 9)),
    *(f"f{number}" for number in range(1, 6)),
    *("adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "belinda", "benjamin"),
    *("boris", "caleb", "david", "ed", "edward", "Gene", "Jacky", "john", "linda"),
)[:30]
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029")
RATE, LENGTH, FRAME, HOP, BANDS = 22_050, 16_640, 1024, 512, 16  # Hz; samples: 0.75 s, 46 and 23 ms
SOUND_NOISE, PICTURE_NOISE = (-12.0, 3.0), 0.6  # dB of speech over noise; of a range of 0 to 1
DIVISIONS = 10


def main() -> None:
    """Do trainings while there is time, then print what is found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="no training begins later")
    parser.add_argument("--seeds", type=int, default=2, help="of each division")
    parser.add_argument("--output", type=Path, default=Path("output/sound_and_picture"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output.resolve() / "samples.pt"
    if not file.is_file():
        torch.save(made(), file)
    samples = loaded(file)
    variants = variants_for(samples, METHODS)
    rows = Rows(given.output / "trainings.jsonl", {"data": samples.digest, "seeds": given.seeds})
    do = partial(train, file, given.seeds)
    began = time.monotonic()
    left = work(variants, rows, DIVISIONS * given.seeds, on_ray(do, 2, "local"), 60 * given.minutes)
    print(f"{time.monotonic() - began:.0f} s; {len(left)} trainings are left")
    found = find(samples, variants, means(variants, rows.rows, given.seeds), DIVISIONS)
    write_advice(given.output, samples, found)
    print(headline(found), *sentences(samples, found), sep="\n- ")


def train(file: Path, seeds: int, job: Job) -> Row:
    """Train one seed of one division; the number of a job counts both."""
    torch.set_num_threads(1)
    samples, began = loaded(file), time.perf_counter()
    parts = samples.parts(job.division // seeds)
    outcome = trained(samples, job, parts, epochs_for(samples))
    return row_of(job, outcome, time.perf_counter() - began)


def means(variants: Sequence[Variant], rows: Sequence[Row], seeds: int) -> list[Row]:
    """A row per variant and division at the chosen rate: the mean over its seeds."""
    rates = chosen_rates(variants, rows)
    kept: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row.rate == rates[row.variant]:
            kept[row.variant, row.division // seeds].append(row)
    found = []
    for (_, division), group in kept.items():
        if len(group) == seeds:
            told = {
                name: float(np.mean([row.classifiers[name] for row in group]))
                for name in group[0].classifiers
            }
            val, test = (
                float(np.mean([getattr(r, key) for r in group])) for key in ("val", "test")
            )
            new = replace(group[0], division=division, val=val, test=test, classifiers=told)
            found.append(new)
    return found


def loaded(file: Path) -> Samples:
    """The samples that :func:`made` gave."""
    kept = torch.load(file, weights_only=True)
    inputs = {"picture": kept["picture"], "sound": kept["sound"]}
    digest = f"noise {SOUND_NOISE} {PICTURE_NOISE}, {BANDS} bands"
    groups = tuple(str(voice) for voice in kept["voice"].tolist())
    return Samples("spoken and written digits", inputs, kept["label"], groups, 10, digest)


def made() -> dict[str, torch.Tensor]:
    """Pictures (N, 1, 8, 8), spectrograms (N, 1, BANDS, T), labels and voices."""
    draws = np.random.default_rng(0)
    digits = load_digits()
    count = len(digits.target)
    voices = draws.integers(len(VOICES), size=count)
    asked = [
        (
            f"{ACCENTS[int(draws.integers(len(ACCENTS)))]}+{VOICES[int(voice)]}",
            int(draws.integers(130, 210)),
            int(draws.integers(30, 71)),
            WORDS[int(label)],
        )
        for voice, label in zip(voices, digits.target, strict=True)
    ]
    with ThreadPoolExecutor(2) as pool:
        spoken = list(pool.map(lambda words: speak(*words), asked))
    sounds = np.stack([heard(wave, draws) for wave in spoken])
    pictures = digits.images / 16 + draws.normal(0, PICTURE_NOISE, digits.images.shape)
    return {
        "picture": torch.tensor(pictures[:, None], dtype=torch.float32),
        "sound": torch.tensor(sounds[:, None], dtype=torch.float32),
        "label": torch.tensor(digits.target, dtype=torch.int64),
        "voice": torch.tensor(voices),
    }


def speak(voice: str, speed: int, pitch: int, word: str) -> np.ndarray:
    """A word as a waveform, without the silence around it."""
    call = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    done = subprocess.run(call, capture_output=True, check=True)
    wave, rate = soundfile.read(io.BytesIO(done.stdout))
    assert rate == RATE
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    return wave[loud[0] : loud[-1] + 1]


def heard(wave: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Somewhere within 0.75 s of noise, as a spectrogram (BANDS, T)."""
    wave = wave[:LENGTH]
    begin = int(draws.integers(LENGTH - len(wave) + 1))
    ratio = 10 ** (draws.uniform(*SOUND_NOISE) / 20)
    noisy = draws.normal(0, wave.std() / ratio, LENGTH)
    noisy[begin : begin + len(wave)] += wave
    filters = mel_filter_bank(FRAME // 2 + 1, BANDS, 0.0, 8000.0, RATE)
    shown = spectrogram(
        noisy, window_function(FRAME), FRAME, HOP, power=2.0, mel_filters=filters, log_mel="log10"
    )
    return shown - shown.mean()


if __name__ == "__main__":
    main()
