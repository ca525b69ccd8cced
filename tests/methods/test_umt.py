"""UMT: encoders that come closer to their teachers, and teachers that stay as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cggm.models import SegmentationNetwork, TransformerNetwork
from cggm.pipelines.methods import Joint, Unimodal
from cggm.pipelines.methods.umt import UMT, distance

from ..toy import ToyRun


def test_feature_map_distillation() -> None:
    student = torch.tensor([[[[1.0, 0], [2, 1]]]])
    teacher = torch.tensor([[[[0.0, 0], [2, 3]]]])
    assert distance(student, teacher, normalize=False).item() == 1.25
    assert distance((student, student), (teacher, student), normalize=False).item() == 0.625


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_distance_knows_no_scale(scale: float) -> None:
    teacher = scale * torch.randn(4, 5)
    assert distance(teacher, teacher).item() == 0
    assert distance(torch.zeros(4, 5), teacher).item() == pytest.approx(2)
    assert distance(-teacher, teacher).item() == pytest.approx(4)
    assert distance(1.01 * teacher, teacher).item() == pytest.approx(1e-4, rel=0.02)


def test_a_teacher_that_gives_next_to_nothing_does_no_harm() -> None:
    """As batch normalization does whose running statistics are still far off."""
    student = torch.randn(4, 5, requires_grad=True)
    loss = distance(student, torch.full((4, 5), 1e-20))
    loss.backward()
    assert loss.item() == pytest.approx(2)
    assert student.grad is not None
    torch.testing.assert_close(student.grad, 4 * student.detach() / student.detach().square().sum())


def test_padded_steps_and_absent_modalities_count_for_nothing() -> None:
    values, other = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    lengths = torch.tensor([4, 2, 0])
    wild = values.clone()
    wild[1, 2:], wild[2] = float("nan"), float("inf")
    for normalize in (True, False):
        plain = distance((values, lengths), (other, lengths), normalize=normalize)
        found = distance((wild, lengths), (other, lengths), normalize=normalize)
        assert found.item() == plain.item() > 0
    nothing = torch.zeros(3, dtype=torch.long)
    student = values.clone().requires_grad_()
    for normalize in (True, False):
        gone = distance((student, nothing), (other, nothing), normalize=normalize)
        gone.backward()
        assert gone.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_zeros_are_finite() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    loss = distance(student, torch.zeros(2, 3))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def teachers(folder: Path, **settings: Any) -> str:
    """A model.pt of unimodal training, with the model.json beside it."""
    run = ToyRun(Unimodal(), epochs=3, lr=0.5, **settings).run()
    torch.save(run.network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({"method": "unimodal"}))
    return str(folder / "model.pt")


def expected_gradients(run: ToyRun, path: str, lam: float) -> dict[str, Tensor]:
    """By brute force on the whole data as one batch."""
    inputs = torch.stack([sample["image"] for sample in run.data])
    label = torch.stack([sample["label"] for sample in run.data])
    features = run.network.encode(inputs)
    loss = run.task.loss(run.network.fuse(features), label)
    state = torch.load(path, weights_only=True)
    for index, (name, feature) in enumerate(features.items()):
        key = f"members.{name}.encoders.{name}.0"
        linear = nn.functional.linear(
            inputs[:, index], state[f"{key}.weight"], state[f"{key}.bias"]
        )
        target = linear.tanh()
        size = (feature.detach().square().sum() + target.square().sum()) / 2
        loss = loss + lam * (feature - target).square().sum() / size
    loss.backward()
    return {name: p.grad for name, p in run.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("modalities", [("a",), ("a", "b"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_gradients_are_those_of_the_loss(
    toy_run: type[ToyRun], tmp_path: Path, modalities: tuple[str, ...], task: str
) -> None:
    settings: dict[str, Any] = {"modalities": modalities, "task": task}
    path = teachers(tmp_path, **settings)
    found = toy_run(UMT(path, lam=2.0), **settings).first_step_gradients()
    expected = expected_gradients(toy_run(Joint(), **settings), path, 2.0)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_students_come_closer(toy_run: type[ToyRun], tmp_path: Path, optimizer: type) -> None:
    path = teachers(tmp_path)
    ends = []
    for lam in (0.0, 5.0):
        run = toy_run(UMT(path, lam=lam), epochs=10, optimizer=optimizer, samples=20).run()
        ends.append(run.modulation.record["distance"])
    assert all(ends[1][name] < ends[0][name] for name in ends[0])


def test_teachers_are_frozen_and_no_part_of_the_student(
    toy_run: type[ToyRun], tmp_path: Path
) -> None:
    method = UMT(teachers(tmp_path))
    run = toy_run(method, epochs=2)
    names = set(run.network.state_dict())
    run.run()
    assert set(run.network.state_dict()) == names
    assert method.state_dict() == {}
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    for name, teacher in method._teachers.items():
        assert not teacher.training
        for key, value in teacher.state_dict().items():
            assert torch.equal(value, state[f"members.{name}.encoders.{name}.{key}"])
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_lam_0_is_joint_training(toy_run: type[ToyRun], tmp_path: Path) -> None:
    path = teachers(tmp_path)
    joint = toy_run(Joint(), epochs=3, samples=20).run()
    run = toy_run(UMT(path, lam=0.0), epochs=3, samples=20).run()
    for name, value in joint.network.state_dict().items():
        assert torch.equal(run.network.state_dict()[name], value)


def test_missing_teachers_are_refused(toy_run: type[ToyRun]) -> None:
    with pytest.raises(ValueError, match=r"UMT learns from .*--method unimodal --output_dir"):
        toy_run(UMT()).run()


def test_a_missing_file_is_refused(toy_run: type[ToyRun], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no\.pt cannot be read"):
        toy_run(UMT(str(tmp_path / "no.pt"))).run()


def test_teachers_of_another_method_are_refused(toy_run: type[ToyRun], tmp_path: Path) -> None:
    path = teachers(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"method": "qmf"}))
    with pytest.raises(ValueError, match=r"by the method qmf: train the teachers with Unimodal"):
        toy_run(UMT(path)).run()


def test_teachers_of_other_modalities_are_refused(toy_run: type[ToyRun], tmp_path: Path) -> None:
    path = teachers(tmp_path, modalities=("audio", "text"))
    with pytest.raises(ValueError, match=r"no encoder of 'video' alone: train the teachers"):
        toy_run(UMT(path)).run()


def test_teachers_of_another_size_are_refused(toy_run: type[ToyRun], tmp_path: Path) -> None:
    path = teachers(tmp_path)
    state = torch.load(path, weights_only=True)
    state["members.text.encoders.text.0.weight"] = torch.zeros(7, 3)
    torch.save(state, path)
    message = r"'text' .* is another encoder: 1 .*0\.weight \(\(7, 3\) in the file, \(5, 3\) here\)"
    with pytest.raises(ValueError, match=message):
        toy_run(UMT(path)).run()


def test_teachers_with_other_heads_are_refused(toy_run: type[ToyRun], tmp_path: Path) -> None:
    """The weights have the same shapes."""
    path = teachers(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"method": "unimodal", "heads": 5}))
    run = toy_run(UMT(path))
    run.network.heads = 2
    message = r"have a number of attention heads of 5, these encoders 2: train"
    with pytest.raises(ValueError, match=message):
        run.run()
    assert TransformerNetwork({"a": 5}, 2, width=10, heads=5).heads == 5


def test_teachers_with_other_dilations_are_refused(toy_run: type[ToyRun], tmp_path: Path) -> None:
    path = teachers(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"method": "unimodal", "rates": [6, 12, 18]}))
    run = toy_run(UMT(path))
    run.network.rates = (1, 2, 3)
    with pytest.raises(ValueError, match=r"dilations of \[6, 12, 18\], these encoders \[1, 2, 3\]"):
        run.run()
    run.network.rates = (6, 12, 18)
    run.run()
    network = SegmentationNetwork(["t1"], encoder="tu-test_resnet", channels=8, rates=[2, 3, 4])
    assert network.rates == (2, 3, 4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"teachers": ""}, r"teachers is ''; it is the path of a model.pt"),
        ({"teachers": 3}, r"teachers is 3"),
        ({"lam": -1}, r"lam is -1; it is a number, 0 or larger"),
        ({"normalize": 1}, r"normalize is 1; it is True or False"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UMT(**setting)
