"""The advice as files: advice.json, advice.csv, and a page with one picture."""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from ....data.colors import BLUE, GREEN, VERMILION
from ....data.files import write_csv, write_json, write_text
from ..report.drawing import as_png, panels
from .decide import Alternative, Findings
from .samples import Samples
from .words import command_for, headline, sentences

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_advice(folder: Path, samples: Samples, found: Findings) -> list[Path]:
    """Write all files; give their paths.

    Args:
        folder: where they go.
        samples: the data.
        found: what was found on them.
    """
    json, csv, page = (folder / f"advice.{kind}" for kind in ("json", "csv", "html"))
    write_json(json, as_json(samples, found))
    write_csv(csv, lines(found))
    write_text(page, html(samples, found))
    return [json, csv, page]


def as_json(samples: Samples, found: Findings) -> dict[str, Any]:
    """Verdict, sentences and all figures as plain values."""
    return {
        "data": samples.name,
        "task": samples.task,
        "samples": len(samples.labels),
        "advice": headline(found),
        "verdict": found.verdict,
        "imbalance": found.signs,
        "command": command(samples, found),
        "sentences": sentences(samples, found),
        **asdict(found),
    }


def command(samples: Samples, found: Findings) -> str:
    """Settings of `cggm train` that do what is advised; empty where that is joint training."""
    return "" if found.advised is None else command_for(found.advised.variant, samples.task)


def lines(found: Findings) -> list[dict[str, Any]]:
    """A line per way to train."""
    joint = {"variant": "joint", "kind": "joint", "rate": found.rate, "test": found.joint}
    return [joint, *(_line(a) for a in found.alternatives)]


def _line(of: Alternative) -> dict[str, Any]:
    gain = {f"gain_{key}": getattr(of.gain, key) for key in ("mean", "low", "high")}
    first = {"variant": of.variant.name, "kind": of.variant.kind, "rate": of.rate, "test": of.test}
    return {**first, **gain, "p": of.gain.p, "divisions": of.gain.pairs, "helps": of.helps}


def html(samples: Samples, found: Findings) -> str:
    """One self-contained page."""
    return _TEMPLATES.get_template("advice.html").render(
        name=samples.name,
        headline=headline(found),
        sentences=sentences(samples, found),
        bundle="brats" if samples.task == "segmentation" else "BUNDLE",
        command=command(samples, found),
        found=found,
        picture=base64.b64encode(as_png(picture(found))).decode(),
    )


def picture(found: Findings) -> Figure:
    """Gain over joint training of each alternative, with its interval."""
    figure, (axes,) = panels(1)
    figure.set_size_inches(6.5, 1.2 + 0.28 * len(found.alternatives))
    for place, of in enumerate(reversed(found.alternatives)):
        color = GREEN if of.helps else VERMILION if of.harms else BLUE
        axes.plot([of.gain.low, of.gain.high], [place, place], color=color, linewidth=1.8)
        axes.plot(of.gain.mean, place, "o", color=color, markersize=5)
    axes.axvline(0, color="black", linewidth=0.8)
    names = [of.variant.name for of in reversed(found.alternatives)]
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("gain over joint training, points")
    return figure
