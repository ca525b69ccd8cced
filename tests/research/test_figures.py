"""Figures: what the runs recorded, drawn."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from cggm.data.errors import InputError
from cggm.pipelines.handlers import GradientRecorder, Recorder
from cggm.pipelines.research.report.curves import History, read_history, smoothed
from cggm.pipelines.research.report.drawing import write_figure
from cggm.pipelines.research.report.gradient_figure import embedded, gradient_figure, read_gradients
from cggm.pipelines.research.report.line_figures import balance_figure, loss_figure, training_figure
from cggm.pipelines.research.report.pieces import FigurePiece, MissingPiece, TablePiece
from cggm.pipelines.research.report.recipe_table import recipe_table
from cggm.pipelines.research.report.sweep_figure import sweep_figure
from cggm.pipelines.research.report.write_pieces import write_pieces

from ..toy import MODALITIES, ToyRun, full_cggm
from .measured_rows import STAND_IN, data_set, row


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real records of two trainings that differ in their data: 12 and 10 steps."""
    made = []
    for epochs in (6, 5):
        folder = tmp_path_factory.mktemp("run")
        run = ToyRun(full_cggm(), batch_size=4, epochs=epochs, lr=0.1 / epochs)
        assert run.modulation is not None
        Recorder(folder, run.modulation).attach(run.trainer)
        GradientRecorder(folder, run.modulation, 1).attach(run.trainer)
        run.run()
        made.append(folder)
    return made


@pytest.fixture(scope="module")
def history(folders: list[Path]) -> History:
    found = read_history(folders)
    assert found is not None
    return found


def recorded(folder: Path, modality: str, quantity: str) -> np.ndarray:
    with open(folder / "modulation.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["modality"] == modality]
    return np.array([float(r[quantity]) for r in rows])


# --- curves


def test_a_curve_is_mean_and_spread_of_the_records(folders: list[Path], history: History) -> None:
    assert history.modalities == list(MODALITIES)
    assert (history.seeds, history.steps, history.window) == (2, 10, 1)
    for modality, quantity in (("audio", "gradient_norm"), ("fusion", "loss"), ("text", "cosine")):
        both = np.stack([recorded(folder, modality, quantity)[:10] for folder in folders])
        curve = history.curve(modality, quantity)
        assert curve is not None and curve.sd is not None
        np.testing.assert_allclose(curve.mean, both.mean(0))
        np.testing.assert_allclose(curve.sd, both.std(0, ddof=1))
        assert curve.steps.tolist() == list(range(1, 11))
    assert history.curve("fusion", "balance") is None
    assert read_history([folders[0] / "nowhere"]) is None


def test_smoothing_is_a_moving_mean_or_median_of_what_is_known() -> None:
    values = np.random.default_rng(0).normal(size=101)
    places = np.array([0, 3, 50, 100])
    around = [values[max(0, i - 5) : i + 6] for i in places]
    np.testing.assert_allclose(smoothed(values, 11, places), [part.mean() for part in around])
    medians = smoothed(values, 11, places, robust=True)
    np.testing.assert_array_equal(medians, [np.median(part) for part in around])
    gaps = np.array([np.nan, 1.0, np.inf, 3.0, np.nan, np.nan, np.nan])
    for robust in (False, True):
        found = smoothed(gaps, 3, np.arange(7), robust=robust)
        np.testing.assert_array_equal(found, [1, 1, 2, 3, 3, np.nan, np.nan])
    wild = History(["a"], {("a", "balance"): np.where(values > 2, 1e6, 1.0)[None]}, 1)
    assert wild.window == 5 and wild.largest("balance") == 1e6
    curve = wild.curve("a", "balance", robust=True)
    assert curve is not None and curve.mean.max() == 1.0
    assert "moving median over 5 of 101 optimizer steps, of one seed." in wild.smoothing("median")


def test_damaged_records_are_named(tmp_path: Path) -> None:
    head = "epoch,iteration,modality,score,improvement,balance,gradient_norm,cosine,loss\n"
    for content in (f"{head}1,1,text,0.5,x,,,,\n", "epoch,iteration\n1,1\n", "\xff\xfe"):
        (tmp_path / "modulation.csv").write_text(content, "latin-1")
        with pytest.raises(InputError, match=r"modulation\.csv is damaged .* done again"):
            read_history([tmp_path])
    (tmp_path / "modulation.csv").write_text(head)
    assert read_history([tmp_path]) is None


def test_long_trainings_are_thinned_out() -> None:
    long = History(["a"], {("a", "score"): np.arange(5000.0)[None]}, 1)
    curve = long.curve("a", "score")
    assert curve is not None and len(curve.steps) == 400
    assert (curve.steps[0], curve.steps[-1]) == (1, 5000) and curve.sd is None
    assert curve.points()[0] == {"step": 1, "mean": 62.5, "sd": None}  # of 0 to 125


# --- figures


def lines_of(piece: FigurePiece) -> dict[str, dict[str, np.ndarray]]:
    """Panel's title to label to the y values that are drawn."""
    return {
        axes.get_title(): {
            str(line.get_label()): np.asarray(line.get_ydata())
            for line in axes.get_lines()
            if not str(line.get_label()).startswith("_")
        }
        for axes in piece.figure.axes
    }


def test_figures_2_and_3_draw_score_magnitude_and_direction(history: History) -> None:
    piece = training_figure("figure3", data_set(), "cggm", history, "accuracy")
    drawn = lines_of(piece)
    assert [set(lines) for lines in drawn.values()] == [
        {*MODALITIES, "fusion"},
        {*MODALITIES},
        {*MODALITIES},
    ]
    curve = history.curve("text", "cosine")
    assert curve is not None
    np.testing.assert_array_equal(drawn["(c) Gradient direction"]["text"], curve.mean)
    assert (
        STAND_IN in piece.caption[0] and "± 1 standard deviation over 2 seeds" in piece.caption[1]
    )
    assert [axes.get_xlabel() for axes in piece.figure.axes] == ["optimizer step"] * 3
    assert piece.figure.axes[0].get_ylabel() == "accuracy"
    (line,) = (
        n
        for n in piece.numbers
        if (n["quantity"], n["modality"], n["step"]) == ("score", "fusion", 3)
    )
    fusion = history.curve("fusion", "score")
    assert fusion is not None and line["mean"] == fusion.mean[2]


def test_figures_6_and_7_draw_losses_and_balance(history: History) -> None:
    losses = loss_figure("figure6", data_set(), {"joint": history, "cggm": history})
    assert list(lines_of(losses)) == ["(a) joint", "(b) cggm"]
    assert losses.figure.axes[0].get_ylim() == losses.figure.axes[1].get_ylim()
    one = History(history.modalities, {k: v[:1] for k, v in history.values.items()}, 1)
    uneven = loss_figure("figure6", data_set(), {"joint": history, "cggm": one})
    assert uneven.caption[-1] == "cggm: One point per optimizer step, of one seed."
    balance = balance_figure("figure7", data_set(), "cggm", history)
    (drawn,) = lines_of(balance).values()
    assert set(drawn) == {*MODALITIES}
    assert any(np.all(np.asarray(x.get_ydata()) == 1) for x in balance.figure.axes[0].get_lines())
    assert "above it the modality is promoted" in balance.caption[0]


def test_figure_4_compares_directions(folders: list[Path]) -> None:
    gradients = read_gradients(folders[0] / "gradients.npz")
    with np.load(folders[0] / "gradients.npz") as file:
        mine, single = file["classifier"], file["unimodal"]
    expected = [
        [
            np.mean([1 - _cosine_distance(m[i], u[j]) for m, u in zip(mine, single, strict=True)])
            for j in range(3)
        ]
        for i in range(3)
    ]
    found = [line["mean_cosine"] for line in gradients.agreement()]
    np.testing.assert_allclose(found, np.ravel(expected), rtol=1e-4, atol=1e-6)
    points = embedded(gradients)
    assert points.shape == (2, 12, 3, 2) and np.isfinite(points).all()
    np.testing.assert_array_equal(points, embedded(gradients))
    piece = gradient_figure("figure4", {"iemocap": (STAND_IN, gradients)}, "cggm")
    labels = [text.get_text() for text in piece.figure.axes[0].get_legend().get_texts()]
    assert labels == [f"{m}, {kind}" for kind in ("classifier", "unimodal") for m in MODALITIES]
    own, others = np.mean(np.diag(expected)), (np.sum(expected) - np.trace(expected)) / 6
    assert f"{own:.2f} and {others:.2f}" in piece.caption[1]


def test_gradients_that_diverged_or_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "gradients.npz"
    vectors = np.random.default_rng(0).normal(size=(3, 2, 4))
    vectors[1, 0, 0] = np.nan
    np.savez(path, modalities=["a", "b"], classifier=vectors, unimodal=np.ones((3, 2, 4)))
    assert read_gradients(path).classifier.shape == (2, 2, 4)
    np.savez(path, modalities=["a"], classifier=vectors[1:2], unimodal=vectors[1:2])
    with pytest.raises(InputError, match="has no step with finite gradients"):
        read_gradients(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"gradients\.npz is damaged .* done again"):
        read_gradients(path)


def _cosine_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(cosine(a, b))


def test_figure_5_is_the_difference_with_the_same_seeds() -> None:
    joint = row("joint", [70.0, 71.0, 75.0])
    ours = [row("rho 1.3", [72.0, 72.0, 74.0], rho=1.3), row("rho 1", [70.0, 72.0], rho=1.0)]
    lam = [row("lam 0.1", [71.0, 72.0, 76.0], lam=0.1)]
    data = data_set(rows=[joint, *ours])
    piece = sweep_figure("figure5", data, {"rho": ours, "lam": lam}, joint)
    assert [(n["value"], n["mean"], n["seeds"]) for n in piece.numbers] == [
        (1.0, 0.5, 2),
        (1.3, pytest.approx(2 / 3), 3),
        (0.1, 1.0, 3),
    ]
    assert piece.numbers[2]["sd"] == 0, "that is known, and no gap"
    assert "Mean over 2 to 3 seeds; bars: ± 1" in piece.caption[1]
    rho, other = piece.figure.axes
    assert rho.get_ylabel() == "Acc, difference to joint (percentage points)"
    assert rho.get_ylim() == other.get_ylim()
    assert piece.numbers[1]["sd"] == pytest.approx(np.std([2, 1, -1], ddof=1))
    assert [t.get_text() for t in piece.figure.axes[0].get_xticklabels()] == ["1", "1.3"]


def test_figures_are_written_for_screen_and_print(history: History, tmp_path: Path) -> None:
    def write() -> list[bytes]:
        figure = balance_figure("figure7", data_set(), "cggm", history).figure
        return [path.read_bytes() for path in write_figure(tmp_path, "f", figure)]

    first = write()
    assert first[0].startswith(b"\x89PNG") and b"<svg" in first[1] and first[2].startswith(b"%PDF")
    assert b">optimizer step</text>" in first[1], "text stays text"
    assert write() == first


# --- the page


def test_the_page_holds_everything_and_needs_no_other_file(
    history: History, tmp_path: Path
) -> None:
    pieces: list[Any] = [
        recipe_table("table7"),
        balance_figure("figure7-food101", data_set(), "cggm", history),
        MissingPiece("figure5", "Sweeps", "iemocap, joint, seed 0: failed (out of <memory>)."),
    ]
    page = write_pieces(tmp_path, "The paper", pieces, ["A note."]).read_text()
    assert "<h2 id='table7'>Table 7. Hyperparameters" in page
    assert "failed (out of &lt;memory&gt;)" in page and page.index("figure5") < page.index("<img")
    assert 'src="data:image/png;base64,' in page and "http" not in page
    assert "As Figure 7. Balancing term of cggm, iemocap" in page
    assert 'alt="Balancing term of cggm, iemocap. ' in page
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "index.html",
        *(f"table7.{suffix}" for suffix in ("md", "csv", "tex")),
        *(f"figure7-food101.{suffix}" for suffix in ("md", "csv", "png", "svg", "pdf")),
    }
    assert isinstance(pieces[0], TablePiece)
