"""How long does a case of 240 x 240 x 155 voxels take, and how much memory? For each architecture.

    OMP_NUM_THREADS=1 python -P benchmarks/full_size_case.py FOLDER

A synthetic case with voxels of 1 mm is made in FOLDER, and each network segments its files in a
process of its own: reading, all four sequences, and the mask on its grid. Networks are those that
`train.json` of the BraTS bundle builds, with random weights unless `--weights OUTPUT` names a
training; neither time nor memory depends on them. With `--weights` the whole way of `cggm segment`
follows, with checks, masks, pictures and pages, and the seconds of its stages. Wall time, processor
time and the peak of the process's memory (all that it ever held, imports included) are printed as
rows of a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from cggm import Segmenter
from cggm.bundles import path
from cggm.data import find_cases
from cggm.data.phantom import generate
from cggm.models import ARCHITECTURES
from cggm.pipelines.segmentation import case_inferer


def segmenter_of(architecture: str) -> Segmenter:
    """The bundle's network of an architecture, with random weights."""
    parser = ConfigParser()
    parser.read_config(str(Path(path("brats")) / "train.json"))
    parser["architecture"] = architecture
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    segmenter = Segmenter(network, parser["sequences"], device="cpu")
    segmenter.inferer = case_inferer(parser.get_parsed_content("patch_size"))
    return segmenter


def measure(folder: str, what: str, weights: str | None) -> str:
    """Segment the case once and give a row of the table."""
    segmenter = Segmenter.from_folder(weights, device="cpu") if weights else segmenter_of(what)
    (case,) = find_cases(folder)
    files = {name: source.path for name, source in case.images.items()}
    start, cpu = time.perf_counter(), time.process_time()
    result = segmenter.segment_files(files, Path(f"{folder}-{what}.nii.gz"))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    shape = " x ".join(map(str, result.classes.shape))
    return f"| {what} | {shape} | {wall:.0f} s | {cpu:.0f} s | {peak:.1f} GB |"


def measure_command(folder: str, weights: str) -> str:
    """Run `cggm segment` on the case and give a row of the table."""
    output = Path(f"{folder}-segmented")
    shutil.rmtree(output, ignore_errors=True)
    words = ["-P", "-m", "cggm", "segment", folder, str(output), "--model", weights]
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    wall, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    (record,) = (path for path in output.glob("*/*.json") if path.stem == path.parent.name)
    stages = json.loads(record.read_text())["seconds"]
    told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
    return f"| cggm segment ({told} s) | | {wall:.0f} s | {cpu:.0f} s | {peak:.1f} GB |"


def main() -> None:
    """Measure one network, or start a process for each architecture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where the case is made")
    parser.add_argument("--architecture", choices=ARCHITECTURES)
    parser.add_argument("--weights", help="output folder of a training")
    given = parser.parse_args()
    if given.weights or given.architecture:
        what = given.architecture or Path(given.weights).name
        print(measure(given.folder, what, given.weights), flush=True)
        if given.weights:
            print(measure_command(given.folder, given.weights), flush=True)
        return
    generate(given.folder, cases=1, spacing=1.0, workers=1)
    print(
        "| network | voxels | wall time | processor time | peak memory |\n|---|---|---:|---:|---:|"
    )
    for architecture in ARCHITECTURES:
        again = [sys.executable, "-P", __file__, given.folder, "--architecture", architecture]
        subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
