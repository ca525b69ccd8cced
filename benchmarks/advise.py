"""How often `cggm advise` gives the right advice on generated data of each kind.

    python benchmarks/advise.py [--kinds late,noise] [--draws 3] [--minutes 3] [--output FOLDER]

Each draw is a fresh world of 600 training samples in five divisions. What is right for each kind
is in docs/advise.md; whether what is advised truly helps is measured on 20,000 further samples,
with the networks of the same trainings. The same command goes on where it stopped; finished
draws are lines of ``draws.jsonl``, of which a table is printed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from scipy.stats import beta

from cggm.pipelines.research.advise.decide import Findings, find
from cggm.pipelines.research.advise.kinds import KINDS, draw
from cggm.pipelines.research.advise.plan import JOINT, RATE, Job, Row, row_of, trained, variants_for
from cggm.pipelines.research.advise.samples import Samples, standardized
from cggm.pipelines.research.advise.training import score
from cggm.pipelines.research.advise.work import Rows, here, work

SAMPLES, TRUE_SAMPLES, DIVISIONS = 600, 20_000, 5
TRUE = "true"  # the key of the figure on further samples, beside those of the classifiers


def main() -> None:
    """Do draws while there is time, then print the table of all that are done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--draws", type=int, default=10, help="of each kind")
    parser.add_argument("--minutes", type=float, default=3, help="no training begins later")
    parser.add_argument("--output", type=Path, default=Path("output/advise_benchmark"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * given.minutes
    wanted = [(kind, world) for world in range(given.draws) for kind in given.kinds.split(",")]
    # Not begun any more where one before ran out of time.
    all(judge(kind, world, given.output, until) for kind, world in wanted)
    print(table(read(given.output)))


def judge(kind: str, world: int, folder: Path, until: float) -> bool:
    """Advise on one draw, and keep whether that was right; False where time ran out."""
    if any((line["kind"], line["world"]) == (kind, world) for line in read(folder)):
        return True
    samples = draw(kind, SAMPLES, world=world)
    further = draw(kind, TRUE_SAMPLES, world=world, part=1)
    variants = variants_for(samples)
    rows = Rows(folder / f"{kind}-{world}.jsonl", {"data": samples.digest})

    def do(job: Job) -> Row:
        return judged(samples, further, job)

    if work(variants, rows, DIVISIONS, here(do), until - time.monotonic()):
        return False
    found = find(samples, variants, rows.rows, DIVISIONS)
    gain = true_gain(found, rows.rows)
    line = {
        "kind": kind,
        "world": world,
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


def judged(samples: Samples, further: Samples, job: Job) -> Row:
    """Train as a job says, and test on the further samples too."""
    began = time.perf_counter()
    outcome = trained(samples, job)
    row = row_of(job, outcome, time.perf_counter() - began)
    names = [job.variant.modality] if job.variant.kind == "alone" else samples.modalities
    train = samples.divided(job.division)["train"]
    count = len(samples.labels)
    both = {n: torch.cat([samples.inputs[n], further.inputs[n]]) for n in names}
    inputs = {n: (v[count:], t[count:]) for n, (v, t) in standardized(both, train).items()}
    with torch.no_grad():
        true = score(outcome.network.eval()(inputs), further.labels)
    return replace(row, classifiers={**row.classifiers, TRUE: round(true, 3)})


def true_gain(found: Findings, rows: list[Row]) -> float | None:
    """What is advised against joint training, on the further samples; None where that is joint."""
    if found.advised is None:
        return None

    def mean(name: str, rate: float) -> float:
        figures = [r.classifiers[TRUE] for r in rows if (r.variant, r.rate) == (name, rate)]
        return sum(figures) / len(figures)

    advised = found.advised
    return round(mean(advised.variant.name, advised.rate) - mean(JOINT, found.rate), 2)


def is_right(kind: str, found: Findings, gain: float | None) -> bool:
    """Whether the advice is right: the table in docs/advise.md."""
    if gain is not None and gain <= 0:  # what is advised does harm
        return False
    short = [m.name for m in found.modalities if m.falls_short]
    silent = [m.name for m in found.modalities if not m.informs]
    wants = [a.variant for a in found.alternatives if a.variant.kind == RATE and a.helps]
    slower = any((v.modality == "first") == (v.factor < 1) for v in wants)
    if kind == "late":
        return not silent and (short == ["second"] or slower)
    if kind == "heart":
        return "below" in found.signs and found.best == "second" and "second" in short
    if kind == "noise":
        return silent == ["second"] and not short
    return not silent and "below" not in found.signs and not short


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
