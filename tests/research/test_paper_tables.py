"""Tables 5 to 8: what was measured, with the paper's figures beside its own data only."""

from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.research.report.ablation_table import ablation_table
from cggm.pipelines.research.report.classifier_table import classifier_table
from cggm.pipelines.research.report.collect import DataSet
from cggm.pipelines.research.report.formats import latex
from cggm.pipelines.research.report.memory_table import memory_table
from cggm.pipelines.research.report.published import paper_table
from cggm.pipelines.research.report.recipe_table import recipe_table

from .measured_rows import data_set, row


def test_table_5_has_single_modalities_after_each_training() -> None:
    rows = [row("text only", [65.0, 67.0]), row("joint", [70.0]), row("cggm", [70.0])]
    measured = {"joint": {"text": {0: 60.0, 1: 61.0}}, "cggm": {"text": {0: 68.0}}}
    piece = classifier_table("table5", data_set(rows=rows), measured)
    (cells,) = piece.table.rows
    assert [cell.text for cell in cells] == [
        "text",
        "66.00 ± 1.41",
        "60.50 ± 0.71",
        "68.00 (1 of 2)",
    ]
    assert [cell.mark for cell in cells] == ["", "", "", "best"]
    assert "paper" not in piece.table.head and "generated" in " ".join(piece.table.caption)
    theirs = classifier_table("table5", data_set("IEMOCAP, fold 1", rows), measured)
    assert [c.text for c in theirs.table.rows[0]][2::2] == ["65.35", "67.15", "67.39"]
    rows[2] = row("cggm", [70.0], rule="bounded")
    theirs = classifier_table("table5", data_set("IEMOCAP, fold 1", rows), measured)
    assert [c.text for c in theirs.table.rows[0]][2::2] == ["65.35", "67.15", "–"]
    food = DataSet("f", "food101", "UPMC-Food 101", 9, rows, {}, [], [])
    assert "paper" not in classifier_table("table5-f", food, measured).table.head


def test_table_6_has_the_papers_column_on_its_data_only() -> None:
    rows = {"joint": row("joint", [70.0, 72.0]), "both": row("both", [74.0, 74.0])}
    ours = ablation_table("table6", data_set(rows=[*rows.values()]), rows)
    assert ours.table.head == ["model", "seeds", "Acc (%)", "F1 (%)"]
    assert [c.text for c in ours.table.rows[1]] == [
        "magnitude and direction (ρ = 1.0, λ = 0.1)",
        *("2", "74.00 ± 0.00", "74.00 ± 0.00"),
    ]
    paper = ablation_table("table6", data_set("IEMOCAP", [*rows.values()]), rows)
    assert [c.text for c in paper.table.rows[1]][3::2] == ["73.74", "73.18"]
    rows["both"] = row("both", [74.0, 74.0], rho=1.0, epochs=5)
    paper = ablation_table("table6", data_set("IEMOCAP", [*rows.values()]), rows)
    assert [c.text for c in paper.table.rows[1]][3::2] == ["–", "–"], "not of the recipe"
    text = latex(ours.table)
    assert r"($\rho$ = 1.0, $\lambda$ = 0.1)" in text and text.isascii(), "pdflatex knows no ρ"
    assert ours.numbers[0]["mean"] == 71 and ours.numbers[0]["sd"] == pytest.approx(2**0.5)


def test_table_7_shows_that_our_recipes_are_the_papers() -> None:
    piece = recipe_table("table7")
    assert len(piece.numbers) == paper_table("table7").size
    assert all(line["ours"] == line["published"] for line in piece.numbers)


def test_table_8_reads_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    head = (
        "method,bundle,step_ms_ratio,step_ms_low,step_ms_high,peak_mb,peak_mb_without_classifiers"
    )
    path.write_text(f"{head}\ncggm,mosi,1.25,1.2,1.31,812,\njoint,mosi,1,1,1,805,800\n")
    piece = memory_table("table8", path)
    assert [c.text for c in piece.table.rows[0]] == [
        *("mosi, cggm", "812", "–", "+12", "1.25 ×", "1.20 to 1.31"),
    ]
    assert [c.text for c in piece.table.rows[1]][1:4] == ["805", "800", "+5"]
    path.write_text(f"{head}\ncggm,mosi,1.25\n")
    cells = [c.text for c in memory_table("table8", path).table.rows[0]]
    assert cells == ["mosi, cggm", "–", "–", "–", "1.25 ×", "–"], "cut short"
    path.write_text(f"{head}\n")
    assert memory_table("table8", path).table.rows == []
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"b\.csv cannot be read"):
        memory_table("table8", path)
    path.write_text("method,bundle\ncggm,mosi\n")
    with pytest.raises(InputError, match="has no column 'step_ms_ratio'; expected method, bundle"):
        memory_table("table8", path)
