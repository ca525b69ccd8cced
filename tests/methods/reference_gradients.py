"""Cases of cases.json for methods that change gradients or learning rates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cggm.pipelines.balancing import ClassificationTask, RegressionTask, Task
from cggm.pipelines.balancing.features import nonempty_subsets
from cggm.pipelines.balancing.method import Run, Step
from cggm.pipelines.balancing.optimization import StepFactors
from cggm.pipelines.handlers.learning_rate import warmup_cosine
from cggm.pipelines.methods import CGGM, agm, mmpareto, ogm_ge
from cggm.pipelines.methods import cggm as cggm_
from cggm.pipelines.methods.mslr import dynamic_ratios
from cggm.pipelines.segmentation import DiceCELoss, RegionDice

Case = dict[str, Any]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).to(weight.dtype)
    layer.weight.data.copy_(weight)
    return layer


def coefficients(given: Case) -> Case:
    delta = tensor(given["eps_now"]) - tensor(given["eps_prev"])
    balance = cggm_.paper_balance(delta, rho=1.0)
    return {"delta": delta, "B_without_rho": balance, "sum_B": balance.sum()}


def step_of(network: nn.Module, encoders: dict[str, nn.Module], **parts: Any) -> Step:
    nothing = torch.zeros(())
    run = Run(
        network=network,
        encoders=encoders,
        classifiers=parts.pop("classifiers", {}),
        task=Task(cross_entropy, lambda p, y: (p.argmax(1) == y).float()),
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        batches=[],
        prepare_batch=lambda batch, *_: batch,
        device=torch.device("cpu"),
        epochs=1,
    )
    known: dict[str, Any] = {"task_loss": nothing, "prediction": nothing, "label": nothing}
    return Step(run=run, head=parts.pop("head", None), **(known | parts))


def encoder_gradients(given: Case) -> Case:
    encoders: dict[str, nn.Module] = {}
    for name, gradient in zip("abc", given["encoder_grads"], strict=True):
        encoders[name] = linear(tensor([[1.0]]))
        encoders[name].weight.grad = tensor([[gradient]])
    fusion = linear(tensor([[1.0]]))
    fusion.weight.grad = tensor([[given["fusion_grad"]]])
    method = CGGM(given["rho"], 0, rule="paper")
    before = tensor(given["eps_prev"])
    method.load_state_dict({"score": before, "reference": before, "stale": None})
    step = step_of(fusion, encoders, scores=tensor(given["eps_now"]))
    method.loss(step)
    method.gradients(step)
    scaled = [encoder.weight.grad.item() for encoder in encoders.values()]
    return {"encoder_grads": scaled, "fusion_grad": fusion.weight.grad.item()}


def weight_direction(given: Case) -> Case:
    head = linear(tensor(given["head_weight"]))
    weights = [tensor(weight) for weight in given["aux_head_weights"]]
    classifiers = {name: linear(w) for name, w in zip("abc", weights, strict=True)}
    step = step_of(head, dict.fromkeys("abc", nn.Identity()), classifiers=classifiers, head=head)
    value, gradient = cggm_.weight_direction(step, tensor(given["B_without_rho"]))
    cosines = cggm_.cosines(head.weight.detach(), weights)
    return {"cos": cosines, "L_gm": value, "grad_wrt_fusion_head_weight": gradient}


def gradient_direction(given: Case) -> Case:
    label = torch.tensor(given["labels"])
    head = linear(tensor(given["head_weight"]))
    classifiers = {
        n: linear(tensor(w)) for n, w in zip("abc", given["aux_head_weights"], strict=True)
    }
    losses = {
        name: cross_entropy(classifiers[name](tensor(features)), label)
        for name, features in zip("abc", given["aux_features"], strict=True)
    }
    step = step_of(
        head,
        dict.fromkeys("abc", nn.Identity()),
        classifiers=classifiers,
        head=head,
        task_loss=cross_entropy(head(tensor(given["fused_features"])), label),
        classifier_losses=losses,
    )
    fusion, unimodal = step.fusion_gradient(), step.classifier_gradients()
    return {
        "grad_F": fusion,
        "grad_f": torch.stack(unimodal),
        "cos": cggm_.cosines(fusion, unimodal),
        "L_gm": cggm_.direction_loss(tensor(given["B_with_rho"]), fusion, unimodal),
    }


def segmentation_loss(given: Case) -> Case:
    logits, label = tensor(given["logits"]), torch.tensor(given["target"])[:, None]
    weights = given["class_weight"]
    total, dice = (
        DiceCELoss(weights, lambda_ce=share, dice="pooled").double()(logits, label)
        for share in (1.0, 0.0)
    )
    found = {"weighted_ce": total - dice, "pooled_soft_dice_loss": dice, "paper_sum": total}
    return found | {"total": total / 2}


def region_scores(given: Case) -> Case:
    logits, label = tensor(given["logits"]), torch.tensor(given["target"])[:, None]
    wt, tc, et = RegionDice().regions(logits, label).mean(0)
    return {"eps": RegionDice()(logits, label).mean(), "WT": wt, "TC": tc, "ET": et}


def empty_regions(_: Case) -> Case:
    background = nn.functional.one_hot(torch.zeros(2, 3, 3, dtype=torch.long), 4)
    label = torch.zeros(2, 1, 3, 3, dtype=torch.long)
    label[1, 0, 0, 0] = 3
    a, b = RegionDice()(background.movedim(-1, 1).double(), label)
    return {"a": a, "b": b}


def schedule(given: Case) -> Case:
    base = given["base"]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = warmup_cosine(
        optimizer,
        epochs=given["epochs"],
        epoch_length=given["iters_per_epoch"],
        warmup_epochs=given["warmup_epochs"],
        start_factor=given["start"] / base,
        final_factor=given["final"] / base,
    )
    rates = []
    for _ in range(given["epochs"] * given["iters_per_epoch"]):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return {"lr": rates}


def ogm(given: Case) -> Case:
    task = ClassificationTask(nn.CrossEntropyLoss(), lambda p, y: p[:, 0])
    label = torch.tensor(given["labels"])
    names = [key.removeprefix("logits_") for key in given if key.startswith("logits_")]
    scores = torch.stack(
        [task.truth(tensor(given[f"logits_{name}"]), label).sum() for name in names]
    )
    # A third party divides by the sum of the others, we by their mean.
    ratios = ogm_ge.discrepancy_ratios(scores) / (len(names) - 1)
    values = {"score": scores, "ratio": ratios}
    values["coeff"] = ogm_ge.coefficients(ratios, given["alpha"])
    return {f"{key}_{n}": x for key, row in values.items() for n, x in zip(names, row, strict=True)}


def ogm_regression(given: Case) -> Case:
    task = RegressionTask(nn.L1Loss(), lambda p, y: p[:, 0])
    errors = [tensor(given[f"abs_err_{i}"])[:, None] for i in (1, 2)]
    scores = torch.stack([task.truth(e, torch.zeros_like(e), given["s"]).sum() for e in errors])
    factors = ogm_ge.coefficients(ogm_ge.discrepancy_ratios(scores), given["alpha"])
    found = {f"score_{i + 1}": score for i, score in enumerate(scores)}
    return found | {f"coeff_{i + 1}": factor for i, factor in enumerate(factors)}


def agm_first(given: Case) -> Case:
    losses = tensor([given["ce_a"], given["ce_v"]])
    usual = tensor([given["history_a"], given["history_v"]])
    values = {
        "ratio": agm.strength(losses),
        "optimal_ratio": agm.strength(usual),
        "coeff": agm.modulation(losses, usual, given["alpha"], cap=7.0),
    }
    return {f"{key}_{n}": x for key, row in values.items() for n, x in zip("av", row, strict=True)}


def agm_responses(given: Case) -> Case:
    visible = {"".join(sorted(k)): v for k, v in given["net_output_with_visible"].items()}
    visible["atv"] = visible["all"]
    outputs = []
    for members in nonempty_subsets(3).tolist():
        names = [name for name, here in zip("tav", members, strict=True) if here]
        outputs.append(visible["".join(sorted(names))])
    text, audio, visual = agm.response_weights(3) @ tensor(outputs)
    found = {"m_text": text, "m_audio": audio, "m_visual": visual}
    return found | {"sum": text + audio + visual}


def agm_gradient(given: Case) -> Case:
    theta = tensor(given["theta"]).requires_grad_()
    responses = (tensor([given["J_a"], given["J_v"]]) @ theta)[:, None]
    output = responses.sum(0)
    loss = cross_entropy(output, torch.tensor([given["label"]]))
    (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
    kappa = tensor([given["coeff_a"], given["coeff_v"]])
    agm.surrogate(kappa, responses, gradient.detach()).backward()
    return {"grad_theta": theta.grad}


def learning_rates(given: Case) -> Case:
    names, base = ("audio", "visual"), given["base_lr"]
    encoders: dict[str, nn.Module] = {name: linear(tensor([[0.0]])) for name in names}
    groups = [{"params": encoder.parameters()} for encoder in encoders.values()]
    optimizer = torch.optim.SGD(groups, lr=base)
    for name, encoder in encoders.items():
        encoder.weight.grad = tensor([[given[f"grad_{name}"]]])
    StepFactors().apply(optimizer, encoders, [given[f"coeff_{name}"] for name in names])
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.step()
    found = dict(zip(("effective_lr_audio", "effective_lr_visual"), rates, strict=True))
    # The gradient that a step of the base rate would have needed.
    return found | {f"grad_{n}": -encoders[n].weight.item() / base for n in names}


def dynamic_rate(given: Case) -> Case:
    # This third party's mean has the last epoch in it, that of AGM's code, which is ours, has not.
    history = tensor(given["val_acc_history"])[:, None]
    return {"new_lr": given["lr"] * dynamic_ratios(history[-1], history[-given["N"] :]).item()}


def pareto(given: Case) -> Case:
    joint, unimodal = tensor(given["g_multimodal"]), tensor(given["g_unimodal"])
    gradient, weights = mmpareto.pareto_gradient(joint, unimodal, given["gamma"])
    return {"weights": weights, "grad": gradient}


CHECKS = {
    "cggm/coeff_first_iteration": coefficients,
    "cggm/coeff_all_improve": coefficients,
    "cggm/coeff_no_change": coefficients,
    "cggm/coeff_exact_zero_sum_mixed": coefficients,
    "cggm/coeff_two_modalities": coefficients,
    "cggm/encoder_gradient_scaling": encoder_gradients,
    "cggm/official_Lgm_on_weights": weight_direction,
    "cggm/paper_Lgm_on_gradients_ce": gradient_direction,
    "cggm/official_seg_loss": segmentation_loss,
    "cggm/official_train_eval_seg": region_scores,
    "cggm/official_dice_empty": empty_regions,
    "cggm/official_cosine_scheduler": schedule,
    "ogm_ge/audio_dominant": ogm,
    "ogm_ge/equal_scores": ogm,
    "ogm_ge/three_modalities_MLA_repo": ogm,
    "ogm_ge/regression_generalisation": ogm_regression,
    "agm/two_mod_first_iteration": agm_first,
    "agm/shapley_three_modalities": agm_responses,
    "agm/backward_hook_equivalence": agm_gradient,
    "mslr/keep": learning_rates,
    "mslr/dynamic_third_party": dynamic_rate,
    "mmpareto/conflict": pareto,
    "mmpareto/agree": pareto,
}
