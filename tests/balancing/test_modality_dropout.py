"""Modality dropout: never all masked, beside every method, and nothing where it is 0."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cggm.models import SegmentationNetwork, TransformerNetwork, segmentation_classifiers
from cggm.pipelines.balancing import Balancer, ModalityDropout, SegmentationTask, Step
from cggm.pipelines.balancing.modality_dropout import subset_warning
from cggm.pipelines.handlers import Modulation
from cggm.pipelines.methods import CATALOGUE, MRD, Joint, Method, create

from ..methods.ready import epochs_of, ready
from ..toy import ToyRun
from .test_balancer import check_equal, train, train_until

NAMES = sorted(n for n, m in CATALOGUE.items() if m.late_fusion is None and n != "mrd")
REFUSED = sorted(CATALOGUE.keys() - NAMES)
THREE = ("audio", "text", "video")
SETTINGS: dict[str, Any] = {"samples": 20, "lr": 0.01, "epochs": 3, "modalities": THREE}


def with_dropout(run: ToyRun, dropout: ModalityDropout | None) -> ToyRun:
    """Give the dropout to the run's own handler."""
    assert run.modulation is not None
    again = Modulation(
        run.modulation.method, run.network, run.task, run.classifiers, dropout=dropout
    )
    run.modulation.masking = again.masking
    return run


def balancer_of(run: ToyRun, method: Method, dropout: ModalityDropout) -> Balancer:
    return Balancer(
        method, run.network, run.task, run.classifiers, optimizer=run.optimizer, dropout=dropout
    )


@pytest.mark.parametrize("sampler", ["independent", "subsets"])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 0.999])
def test_something_of_what_a_sample_has_is_always_kept(p: float, sampler: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    available = torch.rand(5000, 4, generator=generator) > 0.6
    available = available[available.any(1)]
    dropout = ModalityDropout(p, sampler=sampler)
    for known in (None, available):
        kept = dropout.draw(len(available), list("abcd"), available=known)
        assert bool(kept.any(1).all())
        assert known is None or not bool((kept & ~known).any())
        if p == 0 and sampler == "independent":
            assert bool(kept.all()) if known is None else torch.equal(kept, known)


def test_each_modality_is_dropped_at_its_own_rate_where_another_is_left() -> None:
    dropout = ModalityDropout(0.2, missing={"b": 1.0, "c": 0.0})
    assert dropout.rates(list("abc")) == {"a": 0.2, "b": 1.0, "c": 0.0}
    shares = dropout.draw(20000, list("abc")).float().mean(0)
    torch.testing.assert_close(shares, torch.tensor([0.8, 0.0, 1.0]), rtol=0, atol=0.01)
    only = torch.tensor([[False, True, False]]).expand(50, 3)
    assert torch.equal(dropout.draw(50, list("abc"), available=only), only)


def test_a_sample_that_lacks_a_modality_drops_the_others_at_their_rates() -> None:
    available = torch.tensor([[True, True, False]]).expand(20000, 3)
    kept = ModalityDropout(0.4).draw(20000, list("abc"), available=available).float().mean(0)
    expected = 0.6 / (1 - 0.4**2)
    torch.testing.assert_close(kept[:2], torch.full((2,), expected), rtol=0, atol=0.02)


@pytest.mark.parametrize("sampler", ["independent", "subsets"])
def test_the_rates_rise_over_the_ramp(sampler: Any) -> None:
    def dropped(epoch: int) -> float:
        dropout = ModalityDropout(0.4, sampler=sampler, ramp_epochs=4)
        return 1 - float(dropout.draw(20000, list("abcd"), epoch=epoch).float().mean())

    shares = [dropped(epoch) for epoch in (1, 2, 3, 5, 9)]
    assert shares[0] == 0
    assert shares == sorted(shares) or abs(shares[3] - shares[4]) < 0.01
    assert shares[3] == pytest.approx(0.39 if sampler == "independent" else 7 / 15, abs=0.02)


@pytest.mark.parametrize("sampler", ["independent", "subsets"])
def test_a_share_of_the_samples_stays_complete(sampler: Any) -> None:
    available = torch.ones(20000, 3, dtype=torch.bool)
    available[:10000, 2] = False

    def spared(complete: float, ramp_epochs: int = 0) -> float:
        dropout = ModalityDropout(0.9, sampler=sampler, complete=complete, ramp_epochs=ramp_epochs)
        kept = dropout.draw(20000, list("abc"), epoch=2, available=available)
        assert bool(kept.any(1).all()) and not bool((kept & ~available).any())
        return float((kept == available).all(1).float().mean())

    none = spared(0.0)
    assert spared(0.6) == pytest.approx(0.6 + 0.4 * none, abs=0.02)
    assert spared(0.6, ramp_epochs=2) > 0.6 + 0.4 * none + 0.05
    assert spared(1.0) == 1
    assert not ModalityDropout(0.9, complete=1).is_active


@pytest.mark.parametrize("name", NAMES)
def test_every_method_with_a_fusion_trains_alike_in_a_loop_and_in_the_trainer(
    name: str, tmp_path: Path
) -> None:
    def method() -> Method:
        return ready(name, tmp_path, THREE)

    settings = SETTINGS | {"epochs": epochs_of(name, THREE) + 1}
    handled = with_dropout(ToyRun(method(), **settings), ModalityDropout(0.5))
    plain, without = ToyRun(method(), **settings), ToyRun(method(), **settings)
    state = torch.get_rng_state()
    handled.run()
    torch.set_rng_state(state)
    balancer = balancer_of(plain, method(), ModalityDropout(0.5))
    train(plain, balancer)
    check_equal(handled, plain)
    assert handled.modulation is not None
    assert balancer.record == handled.modulation.record
    assert set(balancer.record["kept"]) == set(THREE)
    assert str(balancer.state_dict()) == str(handled.modulation.state_dict())
    torch.set_rng_state(state)
    without.run()
    weights = [part.state_dict() for part in (plain.network, without.network)]
    assert all(bool(value.isfinite().all()) for value in weights[0].values())
    assert any(not torch.equal(value, weights[1][key]) for key, value in weights[0].items())


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_a_modality_breaks_no_method(name: str, tmp_path: Path) -> None:
    run = ToyRun(ready(name, tmp_path, THREE), **SETTINGS | {"batch_size": 2, "samples": 8})
    with_dropout(run, ModalityDropout(0.0, missing={"text": 1.0})).run()
    assert all(bool(value.isfinite().all()) for value in run.network.state_dict().values())
    assert run.modulation is not None
    assert run.modulation.record["kept"]["text"] == 0


@pytest.mark.parametrize("name", ["joint", "cggm", "mrd"])
def test_dropping_nothing_is_training_without(name: str) -> None:
    off = ModalityDropout(0.0, missing={"text": 0.0})
    mine = with_dropout(ToyRun(create(name), **SETTINGS), off).run()
    check_equal(mine, ToyRun(create(name), **SETTINGS).run())
    assert mine.modulation is not None
    assert "modality_dropout" not in mine.modulation.state_dict()


def test_joint_training_with_dropout_is_mrd() -> None:
    mine = with_dropout(ToyRun(Joint(), **SETTINGS), ModalityDropout(0.4, seed=3)).run()
    check_equal(mine, ToyRun(MRD(0.4, seed=3), **SETTINGS).run())


def test_the_data_come_in_the_order_of_training_without_dropout() -> None:
    after = []
    for dropout in (None, ModalityDropout(0.5)):
        with_dropout(ToyRun(Joint(), **SETTINGS), dropout).run()
        after.append(torch.rand(1))
    assert torch.equal(*after)


def test_classifiers_see_every_modality_and_the_fusion_does_not() -> None:
    class Spy(Joint):
        steps: list[Step]

        def loss(self, step: Step) -> Tensor:
            self.steps = [*getattr(self, "steps", []), step]
            return step.task_loss

    spy = Spy()
    run = with_dropout(ToyRun(spy, **SETTINGS), ModalityDropout(0.6))
    run.run()
    assert run.classifiers is not None
    for step in spy.steps:
        for name in THREE:
            assert bool((step.features[name] != 0).all())
        dropped = torch.stack([(step.seen[name] == 0).all(1) for name in THREE])
        assert not bool(dropped.all(0).any())
    last = spy.steps[-1]
    assert any(bool((last.seen[name] == 0).any()) for name in THREE)


@pytest.mark.parametrize("name", ["joint", "cggm", "agm", "greedy"])
def test_a_loop_goes_on_where_it_stopped(name: str, tmp_path: Path) -> None:
    def balancer(run: ToyRun) -> Balancer:
        dropout = ModalityDropout(0.5, missing={"text": 0.7}, ramp_epochs=1)
        return balancer_of(run, ready(name, tmp_path, THREE), dropout)

    whole, parts = (ToyRun(ready(name, tmp_path, THREE), **SETTINGS) for _ in range(2))
    train(whole, balancer(whole))
    first, second = balancer(parts), balancer(parts)
    train_until(parts, first, 2)
    second.load_state_dict(first.state_dict())
    train(parts, second, first=3)
    check_equal(whole, parts)


def test_a_trainer_resumes_to_the_same_bits() -> None:
    def toy() -> ToyRun:
        dropout = ModalityDropout(0.5, ramp_epochs=1)
        return with_dropout(ToyRun(create("cggm"), **SETTINGS), dropout)

    whole, first, second = toy(), toy(), toy()
    state = torch.get_rng_state()
    whole.run()
    torch.set_rng_state(state)
    second.resumed(first.stopped(1))
    check_equal(whole, second)


def segmented(dropout: ModalityDropout | None, present: Tensor | None) -> tuple[Any, list[Any]]:
    torch.manual_seed(0)
    network = SegmentationNetwork(["flair", "t1", "t2"], encoder="tu-test_resnet", channels=8)
    network.eval()
    task = SegmentationTask(lambda p, y: p.sum() * 0 + y.sum() * 0, lambda p, y: p.sum((1, 2, 3)))
    balancer = Balancer(Joint(), network, task, segmentation_classifiers(network), dropout=dropout)
    balancer.optimizer = torch.optim.SGD(balancer.parameter_groups(lr=0.1))
    image = torch.randn(6, 3, 32, 32)
    with balancer.capture():
        prediction = network(image, present)
    kept = balancer.masking._kept
    return network(image, kept if dropout else present), [prediction, kept]


def test_what_is_dropped_is_absent_as_at_inference_for_maps() -> None:
    has = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 1, 1]]).bool()
    for present in (None, has):
        expected, (found, kept) = segmented(ModalityDropout(0.6), present)
        assert not bool(kept.all())
        torch.testing.assert_close(found, expected)


def test_what_is_dropped_is_absent_as_at_inference_for_sequences() -> None:
    torch.manual_seed(0)
    network = TransformerNetwork({"audio": 5, "text": 5}, 2, width=8, heads=2, layers=1).eval()
    lengths = {"audio": torch.tensor([4, 2, 0, 3]), "text": torch.tensor([1, 0, 4, 4])}
    inputs = {name: (torch.randn(4, 4, 5), lengths[name]) for name in lengths}
    run = ToyRun(Joint())
    balancer = Balancer(Joint(), network, run.task, dropout=ModalityDropout(0.9))
    balancer.optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with balancer.capture():
        found = network(inputs)
    kept = balancer.masking._kept
    assert kept[1].tolist() == [True, False] and kept[2].tolist() == [False, True]
    left = {n: (v, length * kept[:, i]) for i, (n, (v, length)) in enumerate(inputs.items())}
    torch.testing.assert_close(found, network(left))


@pytest.mark.parametrize("name", REFUSED)
def test_a_method_that_has_no_fusion_or_its_own_dropout_is_refused(name: str) -> None:
    run = ToyRun(create(name))
    sentence = "has its own modality dropout" if name == "mrd" else "no fusion to drop a modality"
    with pytest.raises(ValueError, match=f"{sentence}.*modality dropout to 0"):
        Balancer(create(name), run.network, run.task, run.classifiers, dropout=ModalityDropout(0.3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"p": 1.5}, r"modality dropout p is 1.5; it is a number in \[0, 1\]"),
        ({"p": 1}, "would mask all of them: give one of them a rate below 1"),
        ({"missing": dict.fromkeys(THREE, 1)}, "would mask all of them"),
        ({"missing": {"txt": 0.5}}, r"missing names 'txt'; the network has .*did you mean 'text'"),
        ({"missing": {"text": -1}}, r"missing of 'text' is -1; it is a number in \[0, 1\]"),
        ({"missing": [0.5]}, r"missing is \[0.5\]; it is a rate by modality"),
        ({"sampler": "subsets", "missing": {"text": 0.5}}, "choose sampler='independent'"),
        ({"sampler": "all"}, "sampler is 'all'"),
        ({"ramp_epochs": -1}, "ramp_epochs is -1"),
        ({"complete": 1.5}, r"complete is 1.5; it is a number in \[0, 1\]"),
        ({"ramp_epochs": 3}, "3 epochs never see its full rate: choose a ramp of 2 or less"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_dropout(ToyRun(Joint(), **SETTINGS), ModalityDropout(**settings)).run()


def test_one_modality_and_a_ramp_without_epochs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"this network has \['audio'\] only"):
        with_dropout(ToyRun(Joint(), modalities=["audio"]), ModalityDropout(0.3))
    run = ToyRun(Joint())
    with pytest.raises(ValueError, match=r"rises over 2 epochs.*balancer\.epochs"):
        balancer_of(run, Joint(), ModalityDropout(0.3, ramp_epochs=2)).capture()


def test_a_subset_that_was_never_trained_is_warned_of() -> None:
    names = ["flair", "t1", "t1ce"]
    trained = {"sequences": names, "modality_dropout": {"flair": 0.0, "t1": 0.3, "t1ce": 0.3}}
    assert subset_warning(trained, names) is None
    assert subset_warning(trained, ["flair"]) is None
    warning = subset_warning(trained, ["t1"])
    assert warning is not None
    assert "never trained without flair, " in warning
    assert "--modality_dropout 0.5" in warning
    old = subset_warning({"sequences": names, "method": "joint"}, ["flair"])
    assert old is not None and "without t1 and t1ce, so what it says without them" in old
    for alone in ({"late_fusion": "mean"}, {"method": "mrd"}):
        assert subset_warning({"modalities": names} | alone, ["flair"]) is None


SCRIPT = """
import sys
import torch
import torch.distributed as dist
from cggm.pipelines.balancing import ModalityDropout
folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
torch.save(ModalityDropout(0.5).draw(64, ["a", "b", "c"]), f"{folder}/{rank}.pt")
dist.barrier()  # or one is gone before the other has met it
dist.destroy_process_group()
"""


def test_two_processes_draw_differently(tmp_path: Path) -> None:
    (tmp_path / "draw.py").write_text(SCRIPT)
    command = [sys.executable, "-P", str(tmp_path / "draw.py"), str(tmp_path)]
    processes = [subprocess.Popen([*command, str(rank)]) for rank in (0, 1)]
    assert [process.wait(120) for process in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, ModalityDropout(0.5).draw(64, ["a", "b", "c"]))
