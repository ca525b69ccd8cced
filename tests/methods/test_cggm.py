"""Equations 6 to 13: reference values, a training computed again, and the bounded rule."""

import pytest
import torch
from torch import nn

from cggm.pipelines.balancing import Task
from cggm.pipelines.balancing.method import Run, Step
from cggm.pipelines.methods import CATALOGUE, CGGM, create
from cggm.pipelines.methods.cggm import (
    bounded_balance,
    cosines,
    direction_loss,
    paper_balance,
    weight_direction,
)

from ..equations import check, guarded, recomputed
from ..toy import ToyRun, probability_of_truth

# Scores before, scores now, B without rho: the released code's own lines, executed.
EQUATION_7 = {
    "first iteration": ([0, 0, 0], [0.3, 0.5, 0.2], [0.700000003, 0.500000005, 0.800000002]),
    "all improve": ([0.3, 0.5, 0.2], [0.4, 0.55, 0.25], [0.500000025, 0.7500000125, 0.7500000125]),
    "no change": ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]),
    "exact cancellation": (
        [0.5, 0.5, 0.5],
        [0.625, 0.375, 0.5],
        [-12499999.0, 12500001.0, 1.0],
    ),
    "two modalities": ([0.2, 0.6], [0.3, 0.62], [0.1666667361, 0.8333333472]),
}

LABELS = torch.tensor([0, 1, 1, 0])
FUSED = torch.tensor([[1.0, 0, 2], [0, 1, -1], [1, 1, 0], [2, -1, 1]])
HEAD = torch.tensor([[1.0, 0, 2], [0, 1, -1]])
UNIMODAL = torch.tensor(
    [
        [[1.0, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]],
        [[0, 2, 1], [1, 0, 0], [1, 1, 1], [0, 1, 0]],
        [[-1, 0, -2], [0, -1, 1], [1, 2, 0], [0, 0, 1]],
    ]
)
CLASSIFIERS = torch.tensor(
    [[[1.0, 1, 0], [0, 1, 0]], [[0, 2, 1], [1, 0, 0]], [[-1, 0, -2], [0, -1, 1]]]
)
BALANCE = torch.tensor([0.500000025, 0.7500000125, 0.7500000125])


def linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).to(weight.dtype)
    layer.weight.data.copy_(weight)
    return layer


def reference_step() -> Step:
    """Linear heads on given features, in double precision."""
    head = linear(HEAD.double())
    classifiers = {n: linear(w.double()) for n, w in zip("abc", CLASSIFIERS, strict=True)}
    loss = nn.functional.cross_entropy
    features = dict(zip("abc", UNIMODAL.double(), strict=True))
    prediction = head(FUSED.double())
    run = Run(
        network=head,
        encoders={n: nn.Identity() for n in "abc"},
        classifiers=classifiers,
        task=Task(loss, lambda p, y: (p.argmax(1) == y).float()),
        optimizer=torch.optim.SGD(head.parameters(), lr=1.0),
        batches=[],
        prepare_batch=lambda batch, device, non_blocking: batch,
        device=torch.device("cpu"),
        epochs=1,
    )
    return Step(
        run=run,
        head=head,
        task_loss=loss(prediction, LABELS),
        prediction=prediction,
        label=LABELS,
        classifier_losses={n: loss(classifiers[n](features[n]), LABELS) for n in "abc"},
    )


@pytest.mark.parametrize("case", EQUATION_7)
@pytest.mark.parametrize("rho", [1.0, 1.3])
def test_equation_7(case: str, rho: float) -> None:
    before, now, expected = (torch.tensor(x, dtype=torch.float64) for x in EQUATION_7[case])
    torch.testing.assert_close(
        paper_balance(now - before, rho), rho * expected, rtol=1e-6, atol=1e-6
    )


def test_equation_7_sums_to_rho_times_one_less_than_the_modalities() -> None:
    improvement = torch.rand(5, dtype=torch.float64)
    torch.testing.assert_close(
        paper_balance(improvement, 1.2).sum(), torch.tensor(4.8).double(), rtol=1e-6, atol=0
    )


def test_equations_9_to_12() -> None:
    step = reference_step()
    fusion, unimodal = step.fusion_gradient(), step.classifier_gradients()
    expected = [0.1235359256, 0.1301147083, -0.005570233877]
    torch.testing.assert_close(fusion[0], torch.tensor(expected).double(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        unimodal[2][0],
        torch.tensor([0.1829924075, 0.3610327368, -0.2331914536]).double(),
        rtol=1e-6,
        atol=1e-9,
    )
    torch.testing.assert_close(
        cosines(fusion, unimodal),
        torch.tensor([0.8451678773, 0.8031999666, 0.845309215]).double(),
        rtol=1e-6,
        atol=1e-9,
    )
    loss = direction_loss(1.3 * BALANCE.double(), fusion, unimodal)
    assert loss.item() == pytest.approx(0.1477814795, abs=1e-6)


def test_released_direction_term_is_a_cosine_of_weights() -> None:
    step = reference_step()
    value, gradient = weight_direction(step, BALANCE.double())
    expected = [
        [-0.01495665353, -0.1135213265, 0.004250155195],
        [-0.03857583813, -0.01495665353, -0.02141299666],
    ]
    assert value.item() == pytest.approx(0.7667757109, abs=1e-6)
    torch.testing.assert_close(gradient, torch.tensor(expected).double(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_training_is_equations_6_to_13(optimizer: type[torch.optim.Optimizer]) -> None:
    run = ToyRun(CGGM(), samples=24, dtype=torch.float64, optimizer=optimizer)
    assert run.modulation is not None and run.classifiers is not None
    network, classifiers, seen = run.network, run.classifiers, []
    both = nn.ModuleDict({"network": network, "classifiers": classifiers})
    step = run.optimizer.step

    def spy(*args, **kwargs):  # noqa: ANN002, ANN003, ANN202
        state = {name: value.clone() for name, value in both.state_dict().items()}
        found = {n: p.grad.clone() for n, p in both.named_parameters() if p.grad is not None}
        seen.append((state, found, list(run.modulation.record["balance"].values())))
        return step(*args, **kwargs)

    run.optimizer.step = spy
    run.run()
    before = dict.fromkeys(network.encoders, 0.0)  # epsilon of step 0
    for number, (state, found, factors) in enumerate(seen):
        both.load_state_dict(state)
        samples = run.data[8 * number : 8 * number + 8]
        label = torch.stack([sample["label"] for sample in samples])
        features = network.encode(torch.stack([sample["image"] for sample in samples]))
        guesses = {name: classifiers[name](h.detach()) for name, h in features.items()}
        scores = {n: probability_of_truth(p, label).mean().item() for n, p in guesses.items()}
        balance = guarded({n: scores[n] - before[n] for n in scores}, 1.3)  # eq. 6
        before = scores
        assert factors == pytest.approx(list(balance.values()), abs=5e-5)
        prediction, loss = network.fuse(features), nn.functional.cross_entropy
        plain, whole, own = recomputed(
            network, classifiers, prediction, guesses, loss, label, balance, 0.15
        )
        for name, gradient in own.items():
            check(found[f"classifiers.{name}"], 1.0, gradient, name)
        for name, gradient in whole.items():
            check(found[f"network.{name}"], balance.get(run.part(name), 1.0), gradient, name)
        assert not torch.allclose(whole["head.weight"], plain["head.weight"], rtol=1e-3)
    assert len(seen) == 3
    assert any(len({round(factor, 4) for factor in factors}) > 1 for *_, factors in seen)


def improvements(method: CGGM, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a method makes of scores (steps, 3): improvements and factors, of the same shape."""
    step, rows = reference_step(), []
    for row in scores:
        step.scores = row
        method.loss(step)
        method.gradients(step)
        rows.append(method.record())
    return tuple(torch.stack([row[k] for row in rows]) for k in ("improvement", "balance"))


def test_improvement_is_that_of_equation_6() -> None:
    scores = torch.rand(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, balance = improvements(CGGM(), scores)
    assert torch.equal(found[0], scores[0])
    assert torch.equal(found[1:], scores[1:] - scores[:-1])
    expected = torch.stack([bounded_balance(row, 1.3) for row in found])
    assert torch.equal(balance, expected)


def test_a_score_that_is_not_finite_says_nothing() -> None:
    scores = torch.tensor([[0.1, 0.9, torch.nan], [torch.inf, 0.8, 0.5], [0.3, 0.8, 0.6]])
    found, _ = improvements(CGGM(), scores)
    expected = torch.tensor([[0.1, 0.9, 0], [0, -0.1, 0.5], [0.2, 0, 0.1]])
    torch.testing.assert_close(found, expected)


def test_smoothed_scores_of_an_earlier_version_are_not_taken_up() -> None:
    earlier = {"score": torch.tensor([0.5, 0.6]), "stale": None}
    same, other = torch.tensor([0.5, 0.6]), torch.tensor([0.4, 0.6])
    method = CGGM()
    method.load_state_dict(earlier | {"reference": same})
    with pytest.raises(ValueError, match=r"smoothed scores, .* train anew, .* progress_rates"):
        method.load_state_dict(earlier | {"reference": other})


def test_direction_loss_is_zero_only_when_all_directions_agree() -> None:
    gradient = torch.randn(2, 3)
    assert direction_loss(torch.ones(2), gradient, [gradient, 5 * gradient]).item() == (
        pytest.approx(0, abs=1e-6)
    )
    assert direction_loss(torch.ones(2), gradient, [gradient, -gradient]).item() == (
        pytest.approx(1, abs=1e-6)
    )


def test_cosine_with_a_zero_gradient_is_zero() -> None:
    assert cosines(torch.zeros(3), [torch.ones(3)]).tolist() == [0.0]


@pytest.mark.parametrize("m", [2, 3, 4])
def test_bounded_rule_equals_the_paper_when_no_modality_got_worse(m: int) -> None:
    improvement = torch.rand(m, generator=torch.Generator().manual_seed(m)).double()
    torch.testing.assert_close(bounded_balance(improvement, 1.2), paper_balance(improvement, 1.2))


def test_bounded_rule_stays_in_its_range_on_noise() -> None:
    noise = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    factors = torch.stack([bounded_balance(row, 1.2) for row in noise])
    printed = torch.stack([paper_balance(row, 1.2) for row in noise])
    assert factors.min() >= 0
    assert factors.max() <= 1.2
    assert (printed < 0).double().mean() > 0.1  # what the bounded rule is for


@pytest.mark.parametrize("improvement", [[0.0, 0, 0], [0.1, -0.1, 0], [-0.1, -0.2, -0.3]])
def test_bounded_rule_does_not_modulate_when_improvements_tell_nothing(improvement: list) -> None:
    assert bounded_balance(torch.tensor(improvement), 0.8).tolist() == [1, 1, 1]


@pytest.mark.parametrize("rule", [paper_balance, bounded_balance])
def test_factors_permute_with_the_modalities(rule) -> None:
    improvement = torch.tensor([0.3, 0.1, 0.05, 0.2])
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(rule(improvement[order], 1.3), rule(improvement, 1.3)[order])


def test_equal_modalities_get_equal_factors() -> None:
    assert len(set(bounded_balance(torch.full((4,), 0.1), 1.2).tolist())) == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"rho": 0}, r"rho is 0; it is a number above 0"),
        ({"rho": "1.2"}, r"rho is '1.2'"),
        ({"lam": -0.1}, r"lam is -0.1; it is a number, 0 or larger"),
        (
            {"rule": "papers"},
            r"rule is 'papers'; it is one of \['bounded', 'paper', 'none'\]",
        ),
        ({"rule": "centered"}, r"'centered', which is a method of its own now, progress_rates: c"),
        ({"apply": "lr"}, r"apply is 'lr'"),
        ({"direction": True}, r"direction is True"),
        ({"lam": float("nan")}, r"lam is nan; it is a number, 0 or larger"),
        ({"rho": float("inf")}, r"rho is inf; it is a number above 0"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CGGM(**setting)


def test_catalogue_refuses_with_the_right_names() -> None:
    with pytest.raises(ValueError, match=r"no method is called 'cgm'; did you mean 'cggm'"):
        create("cgm")
    with pytest.raises(ValueError, match=r"cggm has no setting 'lambda'; it has \['rho', 'lam'"):
        create("cggm", {"cggm": {"lambda": 0.1}})
    with pytest.raises(ValueError, match=r"setting 'smoothing' \(progress_rates has\); it has"):
        create("cggm", {"cggm": {"smoothing": 0.9}})
    assert create("cggm", {"cggm": {"rho": 1.3}, "joint": {}}).settings()["rho"] == 1.3
    assert type(create("joint")) is CATALOGUE["joint"]
