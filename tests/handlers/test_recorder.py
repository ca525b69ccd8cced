"""The recorder's file and means of a training with a method."""

import csv
from pathlib import Path

import pytest
from ignite.engine import Events
from monai.engines import IterationEvents

from cggm.pipelines.handlers import Recorder
from cggm.pipelines.handlers.modulation import FUSION
from cggm.pipelines.handlers.recorder import COLUMNS, QUANTITIES, end_of_earlier_epochs
from cggm.pipelines.methods import Joint, Method

from ..toy import MODALITIES, ToyRun, full_cggm

ROWS = (*MODALITIES, FUSION)  # of a step
OF_FUSION = ("score", "loss")


def record(folder: Path, method: Method | None = None, **settings: int) -> ToyRun:
    """Train and record; batches of 4 out of 8 samples, so two per epoch."""
    run = ToyRun(method or full_cggm(), batch_size=4, **settings)
    assert run.modulation is not None
    Recorder(folder, run.modulation).attach(run.trainer)
    return run.run()


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "modulation.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_step_and_modality(tmp_path: Path) -> None:
    record(tmp_path, epochs=2)
    table = rows(tmp_path)
    assert tuple(table[0]) == COLUMNS
    assert [(row["epoch"], row["iteration"], row["modality"]) for row in table] == [
        (str(1 + step // 2), str(1 + step), name) for step in range(4) for name in ROWS
    ]
    for row in table:
        assert 0 < float(row["score"]) < 1 and float(row["loss"]) > 0
        if row["modality"] == FUSION:
            assert all(row[name] == "" for name in QUANTITIES if name not in OF_FUSION)
        else:
            assert float(row["gradient_norm"]) > 0
            assert -1 <= float(row["cosine"]) <= 1


def test_score_and_loss_of_the_network_itself(tmp_path: Path) -> None:
    run = ToyRun(full_cggm(), batch_size=4)
    assert run.modulation is not None
    Recorder(tmp_path, run.modulation).attach(run.trainer)
    seen: list[tuple[float, float]] = []

    def watch() -> None:
        output = run.trainer.state.output
        prediction, label = output["pred"].detach(), output["label"]  # type: ignore[index]
        score = run.task.scores(prediction, label).mean()
        seen.append((score.item(), run.task.loss(prediction, label).item()))

    run.trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, watch)
    run.run()
    kept = [row for row in rows(tmp_path) if row["modality"] == FUSION]
    for row, (score, loss) in zip(kept, seen, strict=True):
        assert float(row["score"]) == pytest.approx(score)
        assert float(row["loss"]) == pytest.approx(loss)


def test_a_modality_cannot_have_the_name_of_the_network(tmp_path: Path) -> None:
    run = ToyRun(full_cggm(), modalities=("text", "fusion"))
    assert run.modulation is not None
    with pytest.raises(ValueError, match="a modality is called 'fusion'"):
        Recorder(tmp_path, run.modulation)


def test_one_row_per_optimizer_step_while_gradients_accumulate(tmp_path: Path) -> None:
    record(tmp_path, epochs=2, accumulation_steps=2)
    assert [row["iteration"] for row in rows(tmp_path)[:: len(ROWS)]] == ["2", "4"]


def test_means_over_the_epoch_are_metrics_of_the_trainer(tmp_path: Path) -> None:
    run = record(tmp_path, epochs=2)
    metrics = run.trainer.state.metrics
    whole = {f"{quantity}/{FUSION}" for quantity in OF_FUSION}
    single = {f"{quantity}/{name}" for quantity in QUANTITIES for name in MODALITIES}
    assert set(metrics) == single | whole
    last = [row for row in rows(tmp_path) if row["epoch"] == "2"]
    for quantity in QUANTITIES:
        for name in MODALITIES:
            values = [float(row[quantity]) for row in last if row["modality"] == name]
            assert metrics[f"{quantity}/{name}"] == pytest.approx(sum(values) / len(values))


def test_joint_leaves_what_it_does_not_have_empty(tmp_path: Path) -> None:
    run = record(tmp_path, Joint())
    assert {row["balance"] for row in rows(tmp_path)} == {""}
    assert not any(name.startswith("balance/") for name in run.trainer.state.metrics)


def test_a_resumed_run_replaces_the_rows_of_one_that_was_stopped(tmp_path: Path) -> None:
    record(tmp_path, epochs=2)
    whole = (tmp_path / "modulation.csv").read_bytes()
    # Stopped while writing epoch 3, whose first line is whole and whose second is not.
    (tmp_path / "modulation.csv").write_bytes(whole + b"3,5,audio,0.1,,1.0,1.0,0.5,0.7\n3,5,te")
    run = ToyRun(full_cggm(), batch_size=4, epochs=3)
    assert run.modulation is not None
    Recorder(tmp_path, run.modulation).attach(run.trainer)

    def resume() -> None:
        run.trainer.state.epoch, run.trainer.state.iteration = 1, 2

    run.trainer.add_event_handler(Events.STARTED, resume)
    run.run()
    table = rows(tmp_path)
    assert [row["iteration"] for row in table[:: len(ROWS)]] == ["1", "2", "3", "4", "5", "6"]
    assert table[:2] == list(csv.DictReader(whole.decode().splitlines()))[:2]


def test_the_end_of_earlier_epochs(tmp_path: Path) -> None:
    path = tmp_path / "modulation.csv"
    assert end_of_earlier_epochs(path, 1) == 0
    path.write_bytes(b"epoch,iteration\n1,1\n1,2\n2,3\n2,")
    assert end_of_earlier_epochs(path, 1) == len(b"epoch,iteration\n")
    assert end_of_earlier_epochs(path, 2) == len(b"epoch,iteration\n1,1\n1,2\n")
    assert end_of_earlier_epochs(path, 9) == len(b"epoch,iteration\n1,1\n1,2\n2,3\n")
