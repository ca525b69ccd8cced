"""How often `cggm advise` gives the right advice on generated data of each kind.

    python benchmarks/advise.py [--kinds late,noise] [--draws 3] [--minutes 3] [--output FOLDER]

The kinds are families of the study. Each draw is a fresh 1,000 samples in five divisions. What is
right for each kind is in docs/advise.md; whether what is advised truly helps is measured on 18,000
further samples, by the same trainings again. The same command goes on where it stopped; finished
draws are lines of ``draws.jsonl``, of which a table is printed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from scipy.stats import beta

from cggm.pipelines.research.advise.decide import Findings, find
from cggm.pipelines.research.advise.plan import (
    JOINT,
    Do,
    Job,
    Row,
    Variant,
    epochs_for,
    row_of,
    trained,
    variants_for,
)
from cggm.pipelines.research.advise.samples import Samples
from cggm.pipelines.research.advise.work import Rows, here, work
from cggm.pipelines.research.study.families import Part, draw, standardized
from cggm.pipelines.research.study.plan import Cell

KINDS = {
    "balanced": Cell("late", dial=0),
    "late": Cell("late", modalities=3),
    "memorized": Cell("memorized"),
    "noise": Cell("noise"),
    "duplicate": Cell("duplicate"),
    "complementary": Cell("complementary"),
}
SAMPLES, FURTHER = 1000, 18_000
METHODS = ("cggm", "ume")  # fewer than the command's: most of what is judged is of joint training


def main() -> None:
    """Do draws while there is time, then print the table of all that are done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--draws", type=int, default=10, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--divisions", type=int, default=5, help="of each draw")
    parser.add_argument("--minutes", type=float, default=3, help="no training begins later")
    parser.add_argument("--output", type=Path, default=Path("output/advise_benchmark"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * given.minutes
    seeds = range(given.first, given.first + given.draws)
    wanted = [(kind, seed) for seed in seeds for kind in given.kinds.split(",")]
    # Not begun any more where one before ran out of time.
    all(judge(kind, seed, given.divisions, given.output, until) for kind, seed in wanted)
    print(table(read(given.output)))


def drawn(kind: str, seed: int) -> tuple[Samples, Part]:
    """The samples of a draw, and further ones."""
    cell = KINDS[kind]
    parts = draw(cell.family, cell.dial, cell.modalities, cell.task, seed).values()
    labels = torch.cat([part.label for part in parts])
    inputs = {
        f"m{m + 1}": torch.cat([part.inputs[f"m{m + 1}"] for part in parts])
        for m in range(cell.modalities)
    }
    samples = Samples(
        kind,
        {name: values[:SAMPLES] for name, values in inputs.items()},
        labels[:SAMPLES],
        tuple(map(str, range(SAMPLES))),
        4,
        f"{cell.name}, draw {seed}",
    )
    rest = {name: values[-FURTHER:] for name, values in inputs.items()}
    return samples, Part(rest, labels[-FURTHER:])


def judge(kind: str, seed: int, divisions: int, folder: Path, until: float) -> bool:
    """Advise on one draw, and keep whether that was right; False where time ran out."""
    if any((line["kind"], line["draw"]) == (kind, seed) for line in read(folder)):
        return True
    samples, further = drawn(kind, seed)
    variants = variants_for(samples, METHODS)
    rows = Rows(folder / f"{kind}-{seed}.jsonl", {"data": samples.digest})
    if work(variants, rows, divisions, here(worker(samples)), until - time.monotonic()):
        return False
    found = find(samples, variants, rows.rows, divisions)
    gain = true_gain(samples, further, found, divisions)
    line = {
        "kind": kind,
        "draw": seed,
        "right": is_right(kind, found, gain),
        "verdict": found.verdict,
        "advised": None if found.advised is None else found.advised.variant.name,
        "signs": found.signs,
        "short": [m.name for m in found.modalities if m.falls_short],
        "tells nothing": [m.name for m in found.modalities if not m.informs],
        "true gain": gain,
        "half width": round(found.half_width, 2),
        "seconds": round(sum(row.seconds for row in rows.rows)),
    }
    with open(folder / "draws.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    return True


def worker(samples: Samples) -> Do:
    """What trains samples in memory."""
    epochs = epochs_for(samples)

    def do(job: Job) -> Row:
        began = time.perf_counter()
        outcome = trained(samples, job, samples.parts(job.division), epochs)
        return row_of(job, outcome, time.perf_counter() - began)

    return do


def true_gain(samples: Samples, further: Part, found: Findings, divisions: int) -> float | None:
    """What is advised against joint training, on further samples; None where that is joint."""
    if found.advised is None:
        return None
    joint = Variant(JOINT, JOINT)
    pairs = ((found.advised.variant, found.advised.rate), (joint, found.rate))
    advised, plain = (true_score(samples, further, divisions, *pair) for pair in pairs)
    return round(advised - plain, 2)


def true_score(
    samples: Samples, further: Part, divisions: int, variant: Variant, rate: float
) -> float:
    """Mean over the divisions on further samples, by the same trainings again."""
    total = 0.0
    for division in range(divisions):
        train = Part(samples.inputs, samples.labels).at(samples.divided(division)["train"])
        parts = samples.parts(division) | {"test": standardized(further, train)}
        outcome = trained(samples, Job(variant, division, rate), parts, epochs_for(samples))
        total += outcome.test or 0.0
    return total / divisions


def is_right(kind: str, found: Findings, gain: float | None) -> bool:
    """Whether the advice is right: the table in docs/advise.md."""
    if gain is not None and gain <= 0:  # what is advised does harm
        return False
    short = [m.name for m in found.modalities if m.falls_short]
    silent = [m.name for m in found.modalities if not m.informs]
    below = "below" in found.signs
    if kind == "late":
        return short == ["m3"] and not silent
    if kind == "memorized":
        return found.best == "m1" and (below or silent == ["m2"])
    if kind == "noise":
        return silent == ["m2"] and not short
    return not (silent or short or below)


def read(folder: Path) -> list[dict]:
    """The draws that are done."""
    path = folder / "draws.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(lines: list[dict]) -> str:
    """Right advice by kind, with the 95 % interval of Clopper and Pearson for its share."""
    rows = ["| kind | draws | right | share, 95 % | verdicts | true gains of what was advised |"]
    rows.append("|---|---:|---:|---:|---|---|")
    for kind in KINDS:
        own = [line for line in lines if line["kind"] == kind]
        if not own:
            continue
        right, count = sum(line["right"] for line in own), len(own)
        low = beta.ppf(0.025, right, count - right + 1) if right else 0.0
        high = beta.ppf(0.975, right + 1, count - right) if right < count else 1.0
        verdicts = sorted({line["verdict"] for line in own})
        told = ", ".join(f"{v} {sum(line['verdict'] == v for line in own)}" for v in verdicts)
        gains = [line["true gain"] for line in own if line["true gain"] is not None]
        words = f"{min(gains):+.1f} to {max(gains):+.1f}" if gains else "–"
        rows.append(f"| {kind} | {count} | {right} | {low:.0%} to {high:.0%} | {told} | {words} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
