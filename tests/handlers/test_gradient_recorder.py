"""Recorded gradients beside those of autograd, and a training left as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents
from torch import nn

from cggm.data.errors import InputError
from cggm.pipelines.handlers import GradientRecorder
from cggm.pipelines.methods import CGGM, Joint, Method
from cggm.pipelines.methods.ume import UME

from ..toy import MODALITIES, ToyRun, full_cggm


def training(folder: Path, every: int, method: Method | None = None, **settings: int) -> ToyRun:
    """Two batches of four samples an epoch; the fusion has running statistics and dropout."""
    run = ToyRun(method or full_cggm(), batch_size=4, **settings)
    assert run.modulation is not None and isinstance(run.network.fusion, nn.Sequential)
    run.network.fusion.append(nn.BatchNorm1d(4)).append(nn.Dropout(0.5))
    run.optimizer.add_param_group({"params": run.network.fusion[2].parameters()})
    GradientRecorder(folder, run.modulation, every).attach(run.trainer)
    return run


def test_gradients_are_those_of_autograd(tmp_path: Path) -> None:
    run = training(tmp_path, 1)
    run.network.fusion[3].p = 0.0  # type: ignore[union-attr]
    expected: list[torch.Tensor] = []

    def compute() -> None:
        step = run.modulation.step  # type: ignore[union-attr]
        assert step is not None
        image = torch.stack([run.data[i]["image"] for i in range(4)])  # type: ignore[misc]
        for i, name in enumerate(MODALITIES):
            # Everything else replaced by zeros, in the middle of the network.
            parts = [torch.zeros(4, 5)] * 3
            parts[i] = run.network.encoders[name](image[:, i])  # type: ignore[index,operator]
            fusion = run.network.fusion
            prediction = run.network.head(fusion[:3](torch.cat(parts, 1)))  # type: ignore[operator,index]
            loss = nn.functional.cross_entropy(prediction, step.label)
            expected.append(torch.autograd.grad(loss, run.network.head.weight)[0])  # type: ignore[arg-type,union-attr]
            loss = run.task.loss(run.classifiers[name](parts[i].detach()), step.label)  # type: ignore[index]
            expected.append(torch.autograd.grad(loss, run.classifiers[name].head.weight)[0])  # type: ignore[index,union-attr]
        run.trainer.terminate_epoch()

    run.trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, compute)
    run.run()
    with np.load(tmp_path / "gradients.npz") as file:
        assert tuple(file["modalities"]) == MODALITIES
        assert file["iteration"][0] == 1 and file["epoch"][0] == 1
        for i in range(len(MODALITIES)):
            unimodal, classifier = expected[2 * i].flatten(), expected[2 * i + 1].flatten()
            np.testing.assert_allclose(file["unimodal"][0, i], unimodal, rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(file["classifier"][0, i], classifier, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", [Joint, CGGM])
def test_training_is_not_changed(tmp_path: Path, method: type[Method]) -> None:
    states = [training(tmp_path, every, method(), epochs=2).run() for every in (0, 1)]
    assert (tmp_path / "gradients.npz").is_file()
    for name, value in states[0].network.state_dict().items():
        assert torch.equal(states[1].network.state_dict()[name], value), name


def test_every_so_many_batches(tmp_path: Path) -> None:
    training(tmp_path, 3, epochs=5).run()
    with np.load(tmp_path / "gradients.npz") as file:
        assert file["iteration"].tolist() == [3, 6, 9]
        assert file["epoch"].tolist() == [2, 3, 5]
        assert file["unimodal"].shape == (3, 3, 2 * 4) and file["unimodal"].dtype == np.float32


def test_a_resumed_run_keeps_the_epochs_before_it(tmp_path: Path) -> None:
    training(tmp_path, 1, epochs=3).run()
    with np.load(tmp_path / "gradients.npz") as file:
        before = file["unimodal"][:2]
    run = training(tmp_path, 1, epochs=2)

    def resume() -> None:
        run.trainer.state.epoch, run.trainer.state.iteration = 1, 2

    run.trainer.add_event_handler(Events.STARTED, resume)
    run.run()
    with np.load(tmp_path / "gradients.npz") as file:
        assert file["iteration"].tolist() == [1, 2, 3, 4]
        np.testing.assert_array_equal(file["unimodal"][:2], before)


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    run = ToyRun(UME())
    assert run.modulation is not None
    GradientRecorder(tmp_path, run.modulation, 0)
    with pytest.raises(InputError, match="record_gradients is 5, but UME trains no classifiers"):
        GradientRecorder(tmp_path, run.modulation, 5)
    with pytest.raises(InputError, match=r"record_gradients is -1; expected 0 \(never\)"):
        GradientRecorder(tmp_path, run.modulation, -1)
