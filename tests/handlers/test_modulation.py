"""Changes of the handler in a real SupervisedTrainer, and all that it leaves alone."""

import copy

import pytest
import torch
from monai.engines import IterationEvents
from torch import nn

from cggm.pipelines.balancing import Task, parameter_groups
from cggm.pipelines.handlers import Modulation
from cggm.pipelines.methods import MRD, Joint

from ..toy import full_cggm

FACTORS_ONLY = {"lam": 0.0, "direction": "none"}
EVENTS = ["FORWARD_COMPLETED", "LOSS_COMPLETED", "BACKWARD_COMPLETED", "MODEL_COMPLETED"]


def check_factors(changed: dict, plain: dict, run) -> None:
    """Each encoder's gradient is its own factor times the plain one; all others are equal."""
    balance = run.modulation.record["balance"]
    touched = 0
    for name, gradient in plain.items():
        part = "classifier" if name.startswith("classifiers.") else run.part(name)
        factor = balance.get(part, 1.0)
        touched += factor != 1.0
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(changed[name], factor * gradient, rtol=1e-6, atol=0, msg=name)
    assert touched == sum(len(list(e.parameters())) for e in run.network.encoders.values())


@pytest.mark.parametrize("rule", ["bounded", "paper"])
def test_each_encoder_is_scaled_by_its_own_factor_and_nothing_else_is(toy_run, rule) -> None:
    run = toy_run(full_cggm(rho=1.3, rule=rule, **FACTORS_ONLY))
    changed = run.first_step_gradients()
    plain = toy_run(Joint()).first_step_gradients()
    assert len(set(run.modulation.record["balance"].values())) > 1
    check_factors(changed, plain, run)


def test_modality_names_that_contain_each_other_are_kept_apart(toy_run) -> None:
    names = ("t1", "t1ce", "t2")
    run = toy_run(full_cggm(**FACTORS_ONLY), modalities=names)
    changed = run.first_step_gradients()
    check_factors(changed, toy_run(Joint(), modalities=names).first_step_gradients(), run)


def test_neutral_cggm_is_joint_training_bit_for_bit(toy_run) -> None:
    kwargs = {"epochs": 3, "samples": 24, "optimizer": torch.optim.AdamW}
    neutral = toy_run(full_cggm(rule="none", lam=0.0), **kwargs).run()
    without_handler = toy_run(None, **kwargs).run()
    for name, parameter in neutral.network.state_dict().items():
        assert torch.equal(parameter, without_handler.network.state_dict()[name]), name


def test_joint_with_classifiers_trains_the_network_as_without(toy_run) -> None:
    watched = toy_run(Joint(), epochs=2).run()
    alone = toy_run(None, epochs=2).run()
    for name, parameter in watched.network.state_dict().items():
        assert torch.equal(parameter, alone.network.state_dict()[name]), name
    assert set(watched.modulation.record) == {"gradient_norm", "score", "cosine", "loss"}


def test_step_scales_the_update_of_adamw_and_leaves_its_decay(toy_run) -> None:
    def adamw(groups, lr):
        return torch.optim.AdamW(groups, lr=lr, weight_decay=0.1)

    run = toy_run(full_cggm(apply="step", **FACTORS_ONLY), optimizer=adamw)
    before = copy.deepcopy(run.network.state_dict())
    run.run()
    plain = toy_run(Joint(), optimizer=adamw).run()
    balance = run.modulation.record["balance"]
    decay = 1 - 0.1 * 0.1
    for name, start in before.items():
        update = run.network.state_dict()[name] - decay * start
        expected = plain.network.state_dict()[name] - decay * start
        factor = balance.get(run.part(name), 1.0)
        torch.testing.assert_close(update, factor * expected, rtol=1e-4, atol=1e-6, msg=name)
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.1] * 4 + [0.05]
    assert {group["weight_decay"] for group in run.optimizer.param_groups} == {0.1}


def test_gradient_factors_barely_reach_the_update_of_adam(toy_run) -> None:
    """Why apply="step" exists: Adam's first update is the sign of the gradient."""
    run = toy_run(full_cggm(**FACTORS_ONLY), optimizer=torch.optim.Adam).run()
    plain = toy_run(Joint(), optimizer=torch.optim.Adam).run()
    for name, parameter in run.network.state_dict().items():
        torch.testing.assert_close(parameter, plain.network.state_dict()[name], rtol=0, atol=1e-4)


def test_step_and_gradient_agree_under_plain_sgd(toy_run) -> None:
    step = toy_run(full_cggm(apply="step", **FACTORS_ONLY), epochs=2).run()
    gradient = toy_run(full_cggm(apply="gradient", **FACTORS_ONLY), epochs=2).run()
    for name, parameter in step.network.state_dict().items():
        torch.testing.assert_close(parameter, gradient.network.state_dict()[name])


def test_step_refuses_an_optimizer_that_mixes_encoders(toy_run) -> None:
    run = toy_run(
        full_cggm(apply="step"),
        optimizer=lambda groups, lr: torch.optim.SGD(
            [p for group in groups for p in group["params"]], lr=lr
        ),
    )
    with pytest.raises(ValueError, match=r"mixes .*'audio'.*parameter_groups"):
        run.run()


def test_direction_matches_a_brute_force_double_backward(toy_run) -> None:
    lam, rho = 0.3, 1.2
    run = toy_run(full_cggm(rho=rho, lam=lam, rule="none"), dtype=torch.float64)
    changed = run.first_step_gradients()
    plain = toy_run(Joint(), dtype=torch.float64).first_step_gradients()

    fresh = toy_run(Joint(), dtype=torch.float64)
    net, batch = fresh.network, fresh.data
    x = torch.stack([sample["image"] for sample in batch])
    y = torch.stack([sample["label"] for sample in batch])
    task_loss = fresh.task.loss(net(x), y)
    fusion = torch.autograd.grad(task_loss, net.head.weight, create_graph=True)[0].flatten()
    gm = torch.zeros((), dtype=torch.float64)
    for i, (name, encoder) in enumerate(net.encoders.items()):
        classifier = fresh.classifiers[name]
        loss = fresh.task.loss(classifier(encoder(x[:, i]).detach()), y)
        unimodal = torch.autograd.grad(loss, classifier.head.weight)[0].flatten()
        gm = gm + (1 - fusion @ unimodal / (fusion.norm() * unimodal.norm())) / 3
    (task_loss + lam * gm).backward()

    for name, parameter in net.named_parameters():
        torch.testing.assert_close(changed[name], parameter.grad, rtol=1e-8, atol=1e-12, msg=name)
        # The term reaches the encoders and the fusion, not the last layer alone.
        assert not torch.allclose(changed[name], plain[name], rtol=1e-4), name


def test_released_direction_reaches_the_last_layer_only_and_one_step_late(toy_run) -> None:
    first = toy_run(full_cggm(rule="none", direction="weight", lam=1.0)).first_step_gradients()
    plain = toy_run(Joint()).first_step_gradients()
    assert all(torch.equal(first[name], plain[name]) for name in plain)

    kwargs = {"samples": 16, "lr": 1e-3}
    second = toy_run(full_cggm(rule="none", direction="weight", lam=1.0), **kwargs).run()
    plain_second = toy_run(Joint(), **kwargs).run()
    differing = {
        name
        for name, parameter in second.network.named_parameters()
        if not torch.equal(parameter.grad, dict(plain_second.network.named_parameters())[name].grad)
    }
    assert differing == {"head.weight"}


@pytest.mark.parametrize("apply", ["gradient", "step"])
def test_accumulation_gives_the_magnitude_step_of_the_whole_batch(toy_run, apply) -> None:
    whole = toy_run(
        full_cggm(apply=apply, **FACTORS_ONLY), samples=16, batch_size=8, epochs=2
    ).run()
    parts = toy_run(
        full_cggm(apply=apply, **FACTORS_ONLY),
        samples=16,
        batch_size=2,
        accumulation_steps=4,
        epochs=2,
    ).run()
    for name, value in whole.modulation.record["balance"].items():
        assert parts.modulation.record["balance"][name] == pytest.approx(value, abs=1e-5)
    for name, parameter in whole.network.state_dict().items():
        torch.testing.assert_close(
            parts.network.state_dict()[name], parameter, rtol=1e-5, atol=1e-6
        )


def test_direction_with_accumulation_averages_over_micro_batches(toy_run) -> None:
    """With equal micro-batches the averaged direction term is that of the whole batch."""

    def repeat(run):
        run.data[:] = run.data[:2] * (len(run.data) // 2)
        return run

    whole = repeat(toy_run(full_cggm(), batch_size=8)).run()
    parts = repeat(toy_run(full_cggm(), batch_size=2, accumulation_steps=4)).run()
    for name, parameter in whole.network.state_dict().items():
        torch.testing.assert_close(
            parts.network.state_dict()[name], parameter, rtol=1e-5, atol=1e-6
        )


def test_all_events_fire_in_order_for_other_handlers(toy_run) -> None:
    seen: list[str] = []

    class Listener:
        def attach(self, engine) -> None:
            for name in EVENTS:
                engine.add_event_handler(
                    getattr(IterationEvents, name), lambda _, n=name: seen.append(n)
                )

    toy_run(full_cggm(), handlers=[Listener()], samples=16).run()
    assert seen == EVENTS * 2


def test_scores_follow_the_classifiers_and_start_from_zero(toy_run) -> None:
    run = toy_run(full_cggm())
    features = {
        name: encoder(torch.stack([s["image"] for s in run.data])[:, i])
        for i, (name, encoder) in enumerate(run.network.encoders.items())
    }
    label = torch.stack([s["label"] for s in run.data])
    expected = {
        name: run.task.scores(run.classifiers[name](feature), label).mean().item()
        for name, feature in features.items()
    }
    record = run.run().modulation.record
    assert {n: v for n, v in record["score"].items() if n != "fusion"} == pytest.approx(expected)
    assert record["improvement"] == pytest.approx(expected)  # epsilon of step 0 is 0


def test_no_hook_is_left_after_training(toy_run) -> None:
    run = toy_run(full_cggm()).run()
    assert all(len(e._forward_hooks) == 0 for e in run.network.encoders.values())


def test_amp_scaling_changes_neither_factors_nor_directions(toy_run) -> None:
    plain = toy_run(full_cggm(), samples=16).run()
    scaled = toy_run(full_cggm(), samples=16)
    scaled.trainer.amp = True
    scaled.trainer.amp_kwargs = {"enabled": False}  # no half precision on a CPU, only the scaler

    def use_scaler(engine):
        engine.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    from ignite.engine import Events

    scaled.trainer.add_event_handler(Events.STARTED, use_scaler)
    scaled.run()
    for kind, values in plain.modulation.record.items():
        assert scaled.modulation.record[kind] == pytest.approx(values, rel=1e-4), kind
    for name, parameter in plain.network.state_dict().items():
        torch.testing.assert_close(scaled.network.state_dict()[name], parameter)


def test_compiled_network_is_modulated_and_the_direction_term_refused(toy_run) -> None:
    compiled = toy_run(full_cggm(**FACTORS_ONLY), samples=16, compile=True).run()
    eager = toy_run(full_cggm(**FACTORS_ONLY), samples=16).run()
    assert compiled.modulation.record["balance"] == pytest.approx(
        eager.modulation.record["balance"]
    )
    for name, parameter in eager.network.state_dict().items():
        torch.testing.assert_close(compiled.network.state_dict()[name], parameter)
    with pytest.raises(ValueError, match="torch.compile cannot"):
        toy_run(full_cggm(), compile=True).run()


def test_one_modality_is_refused(toy_run) -> None:
    with pytest.raises(ValueError, match=r"balances 2 or more modalities.*\['text'\].*'joint'"):
        toy_run(full_cggm(), modalities=("text",)).run()
    toy_run(Joint(), modalities=("text",)).run()


def test_modules_that_do_not_fit_are_refused(toy_run) -> None:
    run = toy_run(None)
    task = Task(nn.CrossEntropyLoss(), lambda p, y: (p.argmax(1) == y).float())
    with pytest.raises(ValueError, match="Linear has no `encoders`"):
        Modulation(Joint(), nn.Linear(1, 1), task)
    with pytest.raises(ValueError, match="CGGM needs one classifier per modality"):
        Modulation(full_cggm(), run.network, task)
    wrong = nn.ModuleDict({name: nn.Linear(5, 3) for name in run.network.encoders})
    with pytest.raises(ValueError, match=r"'audio' has a weight of shape \(3, 5\).*\(2, 4\)"):
        Modulation(full_cggm(), run.network, task, wrong)
    with pytest.raises(ValueError, match=r"classifiers for \['audio'\], but encoders for"):
        Modulation(full_cggm(), run.network, task, {"audio": run.classifiers["audio"]})
    shared = {"audio": run.network.encoders["audio"], "text": run.network.encoders["audio"]}
    with pytest.raises(ValueError, match="'audio' and 'text' share parameters"):
        Modulation(MRD(), run.network, task, encoders=shared)


def test_classifiers_that_are_not_optimized_are_refused(toy_run) -> None:
    run = toy_run(full_cggm(), optimizer=lambda groups, lr: torch.optim.SGD(groups[:-1], lr=lr))
    with pytest.raises(ValueError, match="does not train the classifier of 'audio'"):
        run.run()


def test_an_encoder_that_is_not_called_is_named(toy_run) -> None:
    run = toy_run(full_cggm())
    extra = nn.ModuleDict({**run.network.encoders, "smell": nn.Linear(3, 5)})
    classifiers = nn.ModuleDict(
        {**run.classifiers, "smell": copy.deepcopy(run.classifiers["audio"])}
    )
    run.optimizer.add_param_group({"params": classifiers["smell"].parameters()})
    run.modulation.__init__(full_cggm(), run.network, run.task, classifiers, encoders=extra)
    with pytest.raises(RuntimeError, match="the encoder of 'smell' was not called"):
        run.run()


def test_direction_term_stays_finite_where_the_task_has_no_slope(toy_run) -> None:
    """The derivative of a cosine grows as one over the length of the gradient."""
    run = toy_run(full_cggm(rule="none", lam=1.0))
    nn.init.zeros_(run.network.fusion[0].weight)
    nn.init.zeros_(run.network.fusion[0].bias)  # its tanh, and so the head's gradient, is 0
    gradients = run.first_step_gradients()
    assert max(gradient.abs().max() for gradient in gradients.values()) < 10


def test_a_broken_classifier_does_not_break_the_network(toy_run) -> None:
    run = toy_run(full_cggm())
    run.classifiers["text"].head.weight.data.fill_(float("nan"))
    run.run()
    assert all(p.isfinite().all() for p in run.network.parameters())


def test_scores_that_are_not_one_per_sample_are_refused(toy_run) -> None:
    run = toy_run(full_cggm())
    run.modulation.task = Task(run.task.loss, lambda p, y: run.task.scores(p, y).mean())
    with pytest.raises(ValueError, match=r"scores have shape \(\) for 8 samples"):
        run.run()


def test_an_interrupted_step_leaves_no_scaled_learning_rate(toy_run) -> None:
    run = toy_run(full_cggm(apply="step", **FACTORS_ONLY))
    step, run.optimizer.step = run.optimizer.step, None
    with pytest.raises(TypeError):
        run.run()
    run.optimizer.step = step
    again = toy_run(None)  # a new trainer for the same network, as in a notebook
    again.trainer.network, again.trainer.optimizer = run.network, run.optimizer
    run.modulation.attach(again.trainer)
    again.run()
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.1] * 4 + [0.05]


def test_a_network_with_other_names_for_its_parts(toy_run) -> None:
    run = toy_run(None)
    parts = dict(run.network.encoders.items())
    with pytest.raises(ValueError, match="pass encoders="):
        parameter_groups(nn.Linear(1, 1), lr=0.1)
    groups = parameter_groups(run.network, dict(run.classifiers.items()), lr=0.1, encoders=parts)
    assert [group["name"] for group in groups][:3] == [f"encoder/{name}" for name in parts]
