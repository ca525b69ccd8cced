"""What the checks of a case find, and what they cry about for nothing, on synthetic gliomas.

    OMP_NUM_THREADS=1 python -P benchmarks/quality.py FOLDER

48 healthy cases, those of the embedded default, are checked with each of the 15 subsets of their
sequences; then every fault is planted in each case. The figures that stand beside a network's
weights come from 33 other cases. FOLDER gets the cases and a table for each; what is finished is
not repeated. Printed are findings in healthy cases by code, and how many faults are found.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from cggm.data.brats.cases import SEQUENCES, Case, find_cases
from cggm.data.brats.nifti import Volume, read_case
from cggm.data.brats.volumes import intensity_ranges
from cggm.data.files import write_csv, write_json
from cggm.data.phantom import generate
from cggm.data.phantom.head import Head, make_head
from cggm.pipelines.segmentation.quality import check_case
from cggm.pipelines.segmentation.quality.brain import turned, turns
from cggm.pipelines.segmentation.quality.findings import CODES

CASES, OTHERS, SPACING = 48, 33, 2.0
Row = dict[str, str]
Fault = Callable[[Volume, np.random.Generator, int], Volume]


def main() -> None:
    """Check healthy cases and faults, print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the cases and the table go")
    parser.add_argument("--cases", type=int, default=CASES, help="how many of the 48")
    given = parser.parse_args()
    generate(given.folder / "data", cases=CASES + OTHERS, spacing=SPACING, progress=True)
    cases = find_cases(given.folder / "data", labels="ignored")
    trained = {"grid": {"voxel_mm": [SPACING] * 3, "intensities": known(given.folder, cases)}}
    rows = [row for case in cases[: given.cases] for row in finished(given.folder, case, trained)]
    print(healthy_table(rows), planted_table(rows), sep="\n\n")


def known(folder: Path, cases: Sequence[Case]) -> dict[str, Any]:
    """Ranges of the intensities of other cases, read if they are there, else measured and kept."""
    path = folder / "ranges.json"
    if not path.exists():
        read = (read_case(case, SEQUENCES) for case in cases[CASES:])
        pairs = (pair for volume in read for pair in volume.images.items())
        write_json(path, intensity_ranges(pairs))
    return json.loads(path.read_text())


def finished(folder: Path, case: Case, trained: dict[str, Any]) -> list[Row]:
    """Rows of a case, read if they are there, else made and kept."""
    path = folder / "quality" / f"{case.name}.csv"
    if not path.exists():
        volume = read_case(case, SEQUENCES)
        path.parent.mkdir(exist_ok=True)
        write_csv(path, [*healthy(volume, trained), *planted(volume, trained)])
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def healthy(volume: Volume, trained: dict[str, Any]) -> Iterator[Row]:
    """A row for each subset of the sequences as they are."""
    for names in subsets():
        chosen = replace(volume, images={name: volume.images[name] for name in names})
        yield row_of(volume.name, "", chosen, trained)


def planted(volume: Volume, trained: dict[str, Any]) -> Iterator[Row]:
    """A row for each fault."""
    index = int(volume.name.rpartition("_")[2])
    for number, ((_, fault), plant) in enumerate(faults()):
        faulty = plant(volume, np.random.default_rng([index, number]), index)
        yield row_of(volume.name, fault, faulty, trained)


def row_of(case: str, fault: str, volume: Volume, trained: dict[str, Any]) -> Row:
    """What the checks say of one volume."""
    codes = " ".join(sorted({each.code for each in check_case(volume, trained)}))
    return {"case": case, "fault": fault, "sequences": "+".join(volume.images), "codes": codes}


def healthy_table(rows: Sequence[Row]) -> str:
    """Findings by code, where there is nothing to be found."""
    of = [row for row in rows if not row["fault"]]
    counts = Counter(code for row in of for code in row["codes"].split())
    lines = [f"| code | findings in {len(of)} healthy inputs |", "|---|---:|"]
    return "\n".join([*lines, *(f"| `{code}` | {counts[code]} |" for code in CODES)])


def planted_table(rows: Sequence[Row]) -> str:
    """How many of each fault are found, and what else is said of it."""
    lines = ["| fault | code | found | other codes |", "|---|---|---:|---|"]
    for (code, fault), _ in faults():
        of = [row["codes"].split() for row in rows if row["fault"] == fault]
        counts = Counter(each for codes in of for each in codes)
        found = counts.pop(code, 0)
        others = ", ".join(f"`{key}` {count}" for key, count in counts.most_common())
        lines.append(f"| {fault} | `{code}` | {found} of {len(of)} | {others} |")
    return "\n".join(lines)


def subsets() -> Iterator[tuple[str, ...]]:
    """All 15 subsets of the sequences."""
    for size in range(1, len(SEQUENCES) + 1):
        yield from combinations(SEQUENCES, size)


def faults() -> list[tuple[tuple[str, str], Fault]]:
    """Code and name of each fault, and what plants it."""
    exchanged = [
        (("swapped", f"{a} and {b} exchanged"), exchange(a, b))
        for a, b in combinations(SEQUENCES, 2)
    ]
    misnamed = [
        (("intensities", f"{a} alone, named {b}"), misname(a, b))
        for a, b in permutations(SEQUENCES, 2)
    ]
    others: list[tuple[tuple[str, str], Fault]] = [
        (("not_stripped", "head, air set to 0"), head),
        (("not_stripped", "slab of 60 mm of such a head"), head_slab),
        (("empty", "FLAIR in 5 % of the brain"), lambda v, r, i: covering(v, "flair", 0.05)),
        (("empty", "a piece of 40 mm"), piece),
        (("incomplete", "FLAIR in 60 % of the brain"), lambda v, r, i: covering(v, "flair", 0.6)),
        (("unregistered", "T2 moved by 10 mm"), moved),
        (("constant", "z-scores of T1 rounded"), rounded),
        (("clipped", "T2 cut off at the 97th percentile"), clipped),
        (("identical", "T1ce is T1, other scale and offset"), copied),
        (("t1_is_t1ce", "T1 is a second T1ce"), lambda v, r, i: again(v, "t1ce", "t1", r)),
        (("t1ce_is_t1", "T1ce is a second T1"), lambda v, r, i: again(v, "t1", "t1ce", r)),
        (("orientation", "axes in another order or direction"), misturned),
        (("slab", "the middle 40 mm"), middle),
        (("position", "a header without codes"), codeless),
        (("spacing", "voxels of 3 mm, trained at 2 mm"), coarser),
        (("brain_volume", "header says 1.4 mm instead of 2"), shrunk),
    ]
    return [*others, *exchanged, *misnamed]


def changed(volume: Volume, **images: np.ndarray) -> Volume:
    """A copy of a volume with other images."""
    return replace(volume, images={**volume.images, **images})


def codeless(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """Neither an sform nor a qform."""
    header = volume.native.header.copy()
    header["sform_code"] = header["qform_code"] = 0
    return replace(volume, native=replace(volume.native, header=header))


@lru_cache(maxsize=1)
def head_of(index: int) -> Head:
    """The head of an embedded case."""
    return make_head(0, index, SPACING)


def head(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """The same patient with skull and scalp; only the noise in air is 0."""
    full = head_of(index)
    inside = ndimage.binary_closing(
        full.images["t1"] > 0.08 * full.images["t1"].max(), iterations=2
    )
    inside = np.asarray(ndimage.binary_fill_holes(inside), bool)
    images = {name: np.where(inside, image, 0) for name, image in full.images.items()}
    return replace(volume, images=images, affine=np.diag([SPACING] * 3 + [1.0]))


def head_slab(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """Sixty millimeters of a head."""
    whole = head(volume, rng, index)
    z = np.flatnonzero(next(iter(whole.images.values())).any(axis=(0, 1)))
    start = int(np.quantile(z, 0.5))
    kept = slice(start, start + round(60 / SPACING))
    return replace(whole, images={name: image[..., kept] for name, image in whole.images.items()})


def covering(volume: Volume, name: str, share: float) -> Volume:
    """One sequence in the lower part of the brain only."""
    image = volume.images[name].copy()
    counts = np.cumsum((image != 0).sum(axis=(0, 1)))
    image[..., np.searchsorted(counts, share * counts[-1]) :] = 0
    return changed(volume, **{name: image})


def piece(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """A cube of 40 mm of all sequences."""
    center = np.argwhere(volume.images["t1"] != 0).mean(axis=0)
    keep = np.zeros_like(volume.images["t1"])
    start = (center - 20 / SPACING).astype(int)
    keep[tuple(slice(a, a + round(40 / SPACING)) for a in start)] = 1
    return changed(volume, **{name: image * keep for name, image in volume.images.items()})


def moved(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """T2 beside the others, with its own brain mask, in a random direction."""
    way = rng.standard_normal(3)
    shift = np.rint(way / np.linalg.norm(way) * 10 / SPACING).astype(int)
    return changed(volume, t2=np.roll(volume.images["t2"], shift, axis=(0, 1, 2)))


def rounded(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """T1 normalized and stored as integers."""
    image = volume.images["t1"]
    inside = image != 0
    scores = (image - image[inside].mean()) / image[inside].std()
    return changed(volume, t1=np.where(inside, np.rint(scores) + 10, 0).astype(np.float32))


def clipped(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """T2 with a window that is too narrow."""
    image = volume.images["t2"]
    return changed(volume, t2=np.minimum(image, np.percentile(image[image != 0], 97)))


def copied(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """T1 under two names, in 8 bits the second time."""
    image = volume.images["t1"]
    gray = np.rint(1 + 254 * image / image.max())
    return changed(volume, t1ce=np.where(image != 0, gray, 0).astype(np.float32))


def again(volume: Volume, name: str, as_name: str, rng: np.random.Generator) -> Volume:
    """A sequence measured a second time: other gain, coil bias and noise."""
    image = volume.images[name]
    inside = image != 0
    bias = ndimage.gaussian_filter(rng.standard_normal(image.shape), 15)
    level = float(np.median(image[inside]))
    noise = rng.standard_normal((2, *image.shape)) * 0.04 * level
    second = np.hypot(image * np.exp(0.05 * bias / bias.std()) + noise[0], noise[1])
    second = np.maximum(np.rint(rng.uniform(0.7, 1.4) * second), 1)
    return changed(volume, **{as_name: np.where(inside, second, 0).astype(np.float32)})


def misturned(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """All images turned, the header as before."""
    wrong = list(turns())[1:]
    turn = wrong[index % len(wrong)]
    return changed(volume, **{name: turned(image, *turn) for name, image in volume.images.items()})


def middle(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """Twenty slices through the middle."""
    z = int(np.argwhere(volume.images["t1"] != 0)[:, 2].mean())
    kept = slice(z - round(20 / SPACING), z + round(20 / SPACING))
    return changed(volume, **{name: image[..., kept] for name, image in volume.images.items()})


def coarser(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """Larger voxels than those of the training."""
    images = {n: ndimage.zoom(image, 2 / 3, order=1) for n, image in volume.images.items()}
    whole = (volume.images["t1"] != 0).astype(np.float32)
    inside = np.asarray(ndimage.zoom(whole, 2 / 3, order=1)) > 0.5
    images = {name: np.where(inside, np.maximum(image, 1), 0) for name, image in images.items()}
    return replace(volume, images=images, affine=volume.affine @ np.diag([1.5] * 3 + [1]))


def shrunk(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
    """A header with voxels that are too small."""
    return replace(volume, affine=volume.affine @ np.diag([0.7] * 3 + [1]))


def exchange(first: str, second: str) -> Fault:
    """Two sequences with each other's name."""

    def plant(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
        images = volume.images
        return changed(volume, **{first: images[second], second: images[first]})

    return plant


def misname(of: str, as_name: str) -> Fault:
    """One sequence alone, under another one's name."""

    def plant(volume: Volume, rng: np.random.Generator, index: int) -> Volume:
        return replace(volume, images={as_name: volume.images[of]})

    return plant


if __name__ == "__main__":
    main()
