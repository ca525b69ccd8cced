"""AGM: responses that add up to the output, each gradient with its own kappa."""

import math

import pytest
import torch
from torch import Tensor, nn

from cggm.models import MultimodalNetwork, SegmentationNetwork, TransformerNetwork
from cggm.pipelines.balancing import ClassificationTask, SegmentationTask
from cggm.pipelines.balancing.features import nonempty_subsets
from cggm.pipelines.balancing.method import Run, Step
from cggm.pipelines.balancing.subsets import evaluating
from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.agm import AGM, modulation, response_weights

from ..toy import ToyRun

MODALITIES = ("audio", "text", "video", "touch")


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_responses_add_up_and_weigh_modalities_alike(count: int) -> None:
    weights = response_weights(count)
    total = torch.zeros(2**count - 1).double()
    total[-1] = 1
    torch.testing.assert_close(weights.sum(0), total)
    # An additive game is its own answer.
    own = torch.randn(count).double()
    torch.testing.assert_close(weights @ (nonempty_subsets(count).double() @ own), own)


def test_kappa_permutes_with_the_modalities_and_equal_ones_are_equal() -> None:
    losses, reference = torch.rand(4), torch.rand(4)
    order = torch.tensor([2, 0, 3, 1])
    found = modulation(losses, reference, 1.5, 7.0)
    torch.testing.assert_close(modulation(losses[order], reference[order], 1.5, 7.0), found[order])
    assert modulation(torch.ones(3), torch.full((3,), 0.2), 1.0, 7.0).tolist() == [1, 1, 1]


def test_kappa_is_capped_and_finite() -> None:
    worst = -math.log(1e-8)
    far = modulation(torch.tensor([worst, 0.0]), torch.tensor([0.0, worst]), 1.0, 7.0)
    assert far.tolist() == pytest.approx([math.exp(7), 0.0], rel=1e-5)
    assert modulation(torch.tensor([math.nan, 1]), torch.zeros(2), 1.0, 7.0).tolist() == [1, 1]
    assert modulation(torch.zeros(2), torch.zeros(2), 1.0, 7.0).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": -0.5}, r"alpha is -0.5; it is a number, 0 or larger"),
        ({"cap": "7"}, r"cap is '7'; it is a number, 0 or larger"),
        ({"clip": 0}, r"clip is 0; it is a number above 0"),
        ({"last_epoch": 0}, r"last_epoch is 0; it is a whole number, 1 or larger"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AGM(**setting)


def test_one_modality_is_refused(toy_run: type[ToyRun]) -> None:
    with pytest.raises(ValueError, match=r"AGM balances 2 or more modalities"):
        toy_run(AGM(), modalities=["audio"]).run()


class NoFusion(MultimodalNetwork):
    pass


def run_of(network: nn.Module, task: object) -> Run:
    return Run(
        network=network,
        encoders=dict(network.encoders.items()),  # type: ignore[operator]
        classifiers={},
        task=task,  # type: ignore[arg-type]
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        batches=[],
        prepare_batch=lambda batch, device, non_blocking: batch,
        device=torch.device("cpu"),
        epochs=1,
        epoch=1,
    )


def test_a_network_without_a_fusion_is_refused() -> None:
    task = ClassificationTask(nn.CrossEntropyLoss(), lambda p, y: p[:, 0])
    network = NoFusion({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match=r"NoFusion has no fuse\(features\): choose another"):
        AGM().prepare(run_of(network, task))


def case(name: str) -> tuple[nn.Module, object, dict, Tensor, Tensor]:
    """Network, task, features, prediction and label of a real network in double precision."""
    torch.manual_seed(0)
    if name == "transformer":
        network = TransformerNetwork({"a": 3, "b": 4, "c": 2}, 2, width=8, heads=2, layers=1)
        network = network.double().eval()
        inputs = {n: torch.randn(4, 5, w).double() for n, w in (("a", 3), ("b", 4), ("c", 2))}
        lengths = torch.tensor([5, 3, 2, 4])
        features = network.encode({n: (values, lengths) for n, values in inputs.items()})
        label = torch.tensor([0, 1, 1, 0])
        task = ClassificationTask(nn.CrossEntropyLoss(), lambda p, y: p[:, 0])
        return network, task, features, network.fuse(features), label
    network = SegmentationNetwork(["flair", "t1", "t2"], encoder="tu-test_resnet", channels=8)
    network = network.double().eval()
    image = torch.randn(2, 3, 30, 34).double()  # not a multiple of the stride
    features = network.encode(image)
    prediction = network.fuse(features)[:, :, :30, :34]
    task = SegmentationTask(nn.CrossEntropyLoss(), lambda p, y: p.flatten(1)[:, 0])
    return network, task, features, prediction, torch.randint(0, 4, (2, 1, 30, 34))


@pytest.mark.parametrize("name", ["transformer", "segmentation"])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradient_is_that_of_every_response_times_its_kappa(name: str, scale: float) -> None:
    network, task, features, prediction, label = case(name)
    names = list(features)
    target = label[:, 0] if name == "segmentation" else label
    loss = nn.functional.cross_entropy(prediction, target)
    step = Step(
        run=run_of(network, task),
        head=None,
        task_loss=loss,
        prediction=prediction,
        label=label,
        features=features,
        loss_scale=scale,
    )
    method = AGM(alpha=0.7)
    found = method.loss(step)
    torch.testing.assert_close(found.detach(), loss.detach())
    parameters = [p for p in network.parameters() if p.requires_grad]
    mine = torch.autograd.grad(found, parameters, retain_graph=True, allow_unused=True)

    # By brute force, with modalities left out where that is the same as zeros.
    outputs = []
    for members in nonempty_subsets(3).tolist():
        kept = dict(zip(names, members, strict=True))
        if name == "segmentation":
            given = {n: tuple(part * kept[n] for part in f) for n, f in features.items()}
        else:
            given = {n: f for n, f in features.items() if kept[n]}
        outputs.append(network.fuse(given)[tuple(slice(n) for n in prediction.shape)])
    responses = torch.einsum("ms,s...->m...", response_weights(3), torch.stack(outputs))
    losses = torch.stack([nn.functional.cross_entropy(m, target) for m in responses]).detach()
    kappa = modulation(losses, torch.zeros(3).double(), 0.7, 7.0)
    torch.testing.assert_close(method.record()["response_loss"].double(), losses)
    torch.testing.assert_close(method.record()["balance"].double(), kappa)
    # The same loss with the response of every modality scaled in the backward pass only.
    scaled = sum(k * m + (1 - k) * m.detach() for k, m in zip(kappa, responses, strict=True))
    expected = torch.autograd.grad(
        nn.functional.cross_entropy(scaled, target), parameters, allow_unused=True
    )
    for a, b in zip(mine, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-12)


def test_every_module_gets_its_own_mode_back() -> None:
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    network.train()
    network[1].eval()
    with pytest.raises(KeyError), evaluating(network):
        assert not any(m.training for m in network.modules())
        raise KeyError
    assert [m.training for m in network.modules()] == [True, True, False]


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_alpha_zero_and_epochs_out_of_range_are_joint_training(
    toy_run: type[ToyRun], optimizer: type, task: str
) -> None:
    settings = {"epochs": 2, "optimizer": optimizer, "task": task}
    joint = toy_run(Joint(), **settings, dtype=torch.float64).run()
    late = toy_run(AGM(first_epoch=3), **settings, dtype=torch.float64).run()
    neutral = toy_run(AGM(alpha=0.0), **settings, dtype=torch.float64).run()
    for name, tensor in joint.network.state_dict().items():
        assert torch.equal(late.network.state_dict()[name], tensor)
        torch.testing.assert_close(neutral.network.state_dict()[name], tensor, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_it_trains(toy_run: type[ToyRun], count: int, accumulation_steps: int, task: str) -> None:
    settings = {"modalities": MODALITIES[:count], "task": task}
    settings |= {"accumulation_steps": accumulation_steps, "samples": 16, "epochs": 4}
    run = toy_run(AGM(), **settings)
    before = {n: p.detach().clone() for n, p in run.network.named_parameters()}
    run.run()
    for name, parameter in run.network.named_parameters():
        assert bool(parameter.isfinite().all())
        assert not torch.equal(parameter, before[name])
    balance = run.modulation.record["balance"]
    assert set(balance) == set(MODALITIES[:count])
    assert min(balance.values()) < 1 < max(balance.values())


def test_reference_is_the_mean_of_all_batches(toy_run: type[ToyRun]) -> None:
    method = AGM()
    seen = []
    loss = method.loss

    def spy(step: Step) -> Tensor:
        result = loss(step)
        seen.append(method.record()["response_loss"])
        return result

    method.loss = spy  # type: ignore[method-assign]
    toy_run(method, epochs=3, samples=16).run()
    assert len(seen) == 6
    torch.testing.assert_close(method.state_dict()["reference"], torch.stack(seen).mean(0))


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_the_clip_is_the_released_one(scale: float) -> None:
    """run/AVMNIST_main.py: by the norm of all, where an entry in the head's weight is above 1."""
    network = nn.Module()
    network.encoders = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    network.head = nn.Linear(1, 2, bias=False)
    task = ClassificationTask(nn.CrossEntropyLoss(), lambda p, y: p[:, 0])
    nothing = torch.zeros(1)
    step = Step(run_of(network, task), network.head, nothing, nothing, nothing, loss_scale=scale)
    for head, clip, factor in (
        ([0.9, -1.0], 1.0, 1.0),  # at most 1: untouched, although the norm is far above
        ([0.0, -2.0], 1.0, 1 / math.sqrt(2**2 + 4 * 3**2)),
        ([0.0, -2.0], 2.0, 1.0),
        ([5.5, 0.0], 5.0, 5 / math.sqrt(5.5**2 + 4 * 3**2)),
        ([math.inf, 0.0], 1.0, 1.0),  # mixed precision skips the step
        ([0.0, -2.0], None, 1.0),
    ):
        for parameter in network.encoders.parameters():
            parameter.grad = torch.full_like(parameter, 3.0 * scale)
        network.head.weight.grad = torch.tensor(head)[:, None] * scale
        AGM(clip=clip).gradients(step)
        for parameter in network.encoders.parameters():
            assert parameter.grad.item() == pytest.approx(3.0 * scale * factor, rel=1e-5)
        found = network.head.weight.grad[:, 0] / scale
        assert found.tolist() == pytest.approx([x * factor for x in head], rel=1e-5)


def test_the_clip_bounds_a_step_of_the_network_and_of_nothing_else(toy_run: type[ToyRun]) -> None:
    free = toy_run(AGM(alpha=3.0, clip=None)).first_step_gradients()
    limit = free["head.weight"].abs().max().item() / 2
    found = toy_run(AGM(alpha=3.0, clip=limit)).first_step_gradients()
    network = {n: g for n, g in free.items() if not n.startswith("classifiers.")}
    norm = torch.cat([g.flatten() for g in network.values()]).norm().item()
    for name, gradient in free.items():
        factor = limit / norm if name in network else 1.0
        torch.testing.assert_close(found[name], gradient * factor, rtol=1e-4, atol=1e-7)
    over = toy_run(AGM(alpha=3.0, clip=limit, first_epoch=2)).first_step_gradients()
    plain = toy_run(Joint()).first_step_gradients()
    assert all(torch.equal(over[name], gradient) for name, gradient in plain.items())
