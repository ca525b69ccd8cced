"""The demonstration: what its page shows of each subset of sequences, and what it does not."""

import base64
import json
from html.parser import HTMLParser
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn
from typer.testing import CliRunner

from cggm import bundles
from cggm.data.brats.cases import SEQUENCES, Case, find_cases
from cggm.data.brats.nifti import read_case
from cggm.data.errors import InputError
from cggm.data.files import write_csv, write_json
from cggm.data.phantom import generate
from cggm.pipelines.evaluation.prediction_plots import draw_scatter
from cggm.pipelines.research.demo import features
from cggm.pipelines.research.demo.command import app
from cggm.pipelines.research.demo.curves import modality_figure, validation_figure
from cggm.pipelines.research.demo.masks import mask_figure
from cggm.pipelines.research.demo.segmentation import SHORT, Trained, report
from cggm.pipelines.research.demo.steps import settings_of, train
from cggm.pipelines.research.demo.subset_tables import (
    NOT_RELIABLE,
    arm_of,
    prepared_table,
    subset_table,
    views,
)
from cggm.pipelines.research.report.pieces import FigurePiece, MissingPiece, TablePiece
from cggm.pipelines.segmentation import Segmenter
from cggm.pipelines.segmentation.subset_inference import subsets_of
from cggm.pipelines.segmentation.subset_report import subset_rows

HISTORY = [
    {"epoch": "1", "validation/dice/mean": "", "score/flair": "0.2", "balance/flair": ""},
    {"epoch": "2", "validation/dice/mean": "0.5", "score/flair": "0.3", "balance/flair": ""},
]


class Everywhere(nn.Module):
    """A network that finds edema in every voxel."""

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor:
        logits = torch.zeros(len(images), 4, *images.shape[2:])
        logits[:, 2] = 1
        return logits


def evaluated(data: str = "synthetic gliomas", *, cases: int = 8) -> dict[str, Any]:
    """What an evaluation with all subsets leaves, of random masks."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(10, 20, (cases, 15, 3, 3), generator=generator).double()
    counts[..., 0] -= 9  # in both
    names = [f"P{number}" for number in range(cases)]
    both, predicted, true = counts.unbind(-1)
    dice = (200 * both / (predicted + true)).numpy()
    figures = {
        "dice": dice,
        "bias_ml": (predicted - true).numpy(),
        "hd95_mm": 2 * np.ones_like(dice),
    }
    rows = subset_rows(figures, names, subsets_of(SEQUENCES))
    return {"data": data, "cases": cases, "what": "Dice", "subsets": rows}


def trained(label: str, rate: float, data: str = "synthetic gliomas") -> Trained:
    segmenter = Segmenter(Everywhere(), SEQUENCES, device="cpu")
    rates = dict.fromkeys(SEQUENCES, rate)
    segmenter.trained = {"sequences": list(SEQUENCES), "modality_dropout": rates}
    return Trained(label, 3.0, segmenter, evaluated(data), HISTORY)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A brain of 12 x 14 x 6 voxels of 8 ml with a tumor of all classes."""
    generator = np.random.default_rng(0)
    arrays = {name: np.zeros((16, 18, 8), np.float32) for name in SEQUENCES}
    for array in arrays.values():
        array[2:14, 2:16, 1:7] = generator.random((12, 14, 6)) + 0.5
    label = np.zeros((16, 18, 8), np.uint8)
    label[4:10, 4:10, 2:5] = 2
    label[5:9, 5:9, 3] = 4
    label[6:8, 6:8, 3] = 1
    folder = tmp_path / "BraTS2021_00000"
    folder.mkdir()
    for name, array in {**arrays, "seg": label}.items():
        image = nib.Nifti1Image(array, np.diag([20.0, 20.0, 20.0, 1.0]))
        nib.save(image, folder / f"{folder.name}_{name}.nii.gz")
    return find_cases(tmp_path)[0]


class Page(HTMLParser):
    """Attributes that could load something, and the rows of the tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_view_is_a_subset_of_its_own(count: int) -> None:
    for sequences in combinations(SEQUENCES, count):
        shown = views(sequences)
        assert len(set(shown.values())) == len(shown)
        for label, subset in shown.items():
            word, name = label.split()[0], label.split()[-1]
            if label.endswith("alone"):
                assert subset == (word,)
            elif word == "without":
                assert name in sequences and set(subset) == set(sequences) - {name}
            else:
                assert subset == sequences
    assert len(views(SEQUENCES)) == 5


def test_figures_are_those_of_the_evaluation_except_what_cannot_be_told() -> None:
    subsets = evaluated()
    rows = {row["sequences"]: row for row in subsets["subsets"]}
    piece = subset_table("", [], [arm_of("mine", subsets)])
    cells = iter(piece.table.rows)
    for label, subset in views(SEQUENCES).items():
        (heading,), (name, *figures) = next(cells), next(cells)
        row = rows["+".join(subset)]
        assert heading.text == label and name.text == "mine"
        for region, cell in zip(("WT", "TC", "ET"), figures, strict=True):
            ends = f"[{row[f'{region}_low']:.1f}, {row[f'{region}_high']:.1f}]"
            told = f"{row[f'{region}_dice']:.1f}\n{ends}"
            hidden = region == "ET" and "t1ce" not in subset
            assert cell.text == (NOT_RELIABLE if hidden else told)
    next(cells)
    means = [
        np.mean([row[f"{region}_dice"] for row in rows.values()]) for region in ["WT", "TC", "ET"]
    ]
    assert [float(cell.text) for cell in next(cells)[1:]] == pytest.approx(means, abs=0.051)
    assert "ET not reliable without t1ce." in piece.table.caption


def test_the_prepared_table_shows_its_arms_with_intervals(tmp_path: Path) -> None:
    def figures(value: float) -> dict[str, float]:
        names = ("WT", "TC", "ET", "all")
        ends = {f"{n}_low": value - 1 for n in names} | {f"{n}_high": value + 2 for n in names}
        return dict.fromkeys(names, value) | ends

    arms = [
        {
            "name": name,
            "settings": {},
            "subsets": [
                {"sequences": "+".join(s), **figures(value)} for s in subsets_of(SEQUENCES)
            ],
            "mean": figures(value),
        }
        for name, value in (("joint", 40.0), ("joint + dropout", 60.0))
    ]
    about = {"what": "Dice", "data": "48 synthetic gliomas", "command": "make-it", "cases": 48}
    path = tmp_path / "table.json"
    path.write_text(json.dumps({**about, "seeds": [0, 1], "arms": arms}))
    piece = prepared_table(path)
    assert isinstance(piece, TablePiece)
    assert [[cell.text for cell in row] for row in piece.table.rows[-2:]] == [
        ["joint", *["40.0\n[39.0, 42.0]"] * 3],
        ["joint + dropout", *["60.0\n[59.0, 62.0]"] * 3],
    ]
    caption = " ".join(piece.table.caption)
    assert "joint + dropout 60.0 [59.0, 62.0]" in caption
    assert all(word in caption for word in ("make-it", "48 synthetic gliomas", "seeds 0, 1"))
    assert isinstance(prepared_table(tmp_path / "none.json"), MissingPiece)


def test_a_picture_has_the_truth_and_each_network_in_each_row(case: Case) -> None:
    segmenters = {name: Segmenter(Everywhere(), SEQUENCES, device="cpu") for name in ("a", "b")}
    figure = mask_figure(case, segmenters).figure
    volume = read_case(case, SEQUENCES)
    assert volume.label is not None
    true, brain = ((m != 0).sum() for m in (volume.label, sum(volume.images.values())))
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 12
    for row in range(4):
        truth, *masks = titles[3 * row : 3 * row + 3]
        assert truth == f"truth\n{true * volume.voxel_ml:.0f} ml"
        dice = 100 * 2 * true / (true + brain)
        words = f"{brain * volume.voxel_ml:.0f} ml, Dice {dice:.0f}"
        assert masks == [f"a\n{words}", f"b\n{words}"]


def test_the_page_needs_no_other_file_and_escapes_names(case: Case) -> None:
    evil = "<script>alert(1)</script>"
    runs = [trained("cggm + dropout", 0.5, evil), trained("joint", 0.0, evil)]
    text = report(runs, [case], {"epochs": "2"})
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags and "&lt;script&gt;" in text
    assert len(page.loaded) == 3  # validation, sequences, one case
    assert all(source.startswith("data:image/png;base64,") for source in page.loaded)
    assert "url(" not in text and "@import" not in text
    assert ["without t1ce"] in page.rows
    assert "Settings that were given: --epochs 2." in text
    assert "says nothing about patients" in text and "cggm + dropout (3 s)" in text
    assert text.count("this network was never trained without") == 1  # joint alone
    assert "fewer than the 40 of" not in text
    other = report(runs, [], {"dataset_dir": "x"})
    assert "says nothing about patients" not in other and "fewer than the 40 of" in other
    default = json.loads(Path(bundles.path("brats"), "train.json").read_text())["epochs"]
    assert int(SHORT["epochs"]) < default and f"the {default} of the bundle" in other


def test_an_empty_validation_is_no_empty_picture() -> None:
    figure = validation_figure({"a": HISTORY}, "validation/dice/mean", "Dice")
    assert isinstance(figure, FigurePiece)
    assert figure.figure.axes[0].lines[0].get_xydata().tolist() == [[2, 0.5]]
    unknown = validation_figure({"a": HISTORY[:1]}, "validation/dice/mean", "Dice")
    assert isinstance(unknown, MissingPiece)


def test_balance_is_drawn_where_a_method_sets_it() -> None:
    assert len(modality_figure(HISTORY, "Dice").figure.axes) == 1
    balanced = [{**row, "balance/flair": "1.1"} for row in HISTORY]
    _, axes = modality_figure(balanced, "Dice").figure.axes
    assert list(axes.lines[0].get_ydata()) == [1.1, 1.1]


def test_settings_are_read_in_both_forms_and_the_last_counts() -> None:
    assert settings_of(["--epochs", "2", "--lr=-0.1", "--epochs", "3"]) == {
        "epochs": "3",
        "lr": "-0.1",
    }
    for wrong in (["--resume"], ["epochs", "2"], ["--resume", "--epochs", "2"]):
        with pytest.raises(InputError, match="settings of the training are --name value"):
            settings_of(wrong)


def test_a_finished_training_is_kept_and_one_of_other_settings_refused(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "last.pt").touch()
    (tmp_path / "training.json").write_text('{"seconds": 7.5, "settings": {"epochs": "2"}}')
    assert train(tmp_path / "no bundle", tmp_path, {"epochs": "2"}) == 7.5
    with pytest.raises(InputError, match="trained with --epochs 2, not with the defaults"):
        train(tmp_path / "no bundle", tmp_path, {})


def test_the_page_of_a_bundle_on_features(tmp_path: Path) -> None:
    value = {"value": 0.5, "unit": "none", "interval_95": [0.4, 0.6]}
    result = {"data": "emoji", "samples": 2, "figures": {"corr": value}}
    for name in ("cggm", "joint", "text"):
        write_json(tmp_path / name / "evaluation" / "evaluation.json", result)
    evaluated = tmp_path / "cggm" / "evaluation"
    write_csv(evaluated / "samples.csv", [{"id": "a<b", "label": 1.0, "prediction": 0.5}])
    write_csv(tmp_path / "cggm" / "history.csv", HISTORY)
    draw_scatter(evaluated / "scatter.png", np.ones(2), np.ones(2))
    shown = "0.500\n[0.400, 0.600]"
    page = Page(features.report(tmp_path, "mosi", {"cggm": 2.0, "joint": 1.0, "text": 1.0}))
    for row in (["cggm", shown, "2"], ["text only", shown, "1"], ["a<b", "1.0", "0.5"]):
        assert row in page.rows
    picture = base64.b64decode(page.loaded[-1].partition(",")[2])
    assert np.array_equal(imread(BytesIO(picture)), imread(evaluated / "scatter.png"))


@pytest.mark.slow
def test_the_command_ends_with_the_page(tmp_path: Path) -> None:
    generate(tmp_path / "data", cases=6, spacing=4.0, workers=2)
    small = {"epochs": 1, "val_interval": 1, "size": 32, "slices_per_case": 2, "batch_size": 4}
    words = ["--dataset_dir", str(tmp_path / "data"), "--cache_dir", str(tmp_path / "cache")]
    words += ["--channels", "16", "--modality_dropout", "0.5"]
    words += [str(word) for pair in small.items() for word in (f"--{pair[0]}", pair[1])]
    result = CliRunner().invoke(app, ["--output_dir", str(tmp_path / "out"), *words])
    assert result.exit_code == 0, result.output
    page = tmp_path / "out" / "report.html"
    assert result.output.splitlines()[-1] == f"report: {page}"
    text = page.read_text()
    assert "joint training" in text and str(tmp_path / "data") in text
    settings = json.loads((tmp_path / "out" / "joint" / "models" / "model.json").read_text())
    assert settings["method"] == "joint" and not any(settings["modality_dropout"].values())
