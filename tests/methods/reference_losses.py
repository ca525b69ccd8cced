"""Cases of cases.json for methods that change losses, features or predictions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cggm.models import LateFusion
from cggm.pipelines.balancing.class_means import similarities_by_image
from cggm.pipelines.balancing.features import masked, nonempty_subsets, scaled
from cggm.pipelines.balancing.modality_dropout import subset_probabilities
from cggm.pipelines.methods import (
    gblending,
    greedy,
    opm,
    passion,
    pmr,
    qmf,
    reconboost,
    relearning,
    umt,
)
from cggm.pipelines.methods.discrepancy import discrepancy_ratios

from .reference_gradients import Case, tensor


def mask(given: Case) -> Case:
    rows = zip(given["features"], given["keep"], strict=True)
    return {"features": [masked(tensor([f]), torch.tensor([bool(k)]))[0].tolist() for f, k in rows]}


def subsets(given: Case) -> Case:
    probabilities = subset_probabilities(given["M"], 0.5, "subsets")
    kept = nonempty_subsets(given["M"]).float()
    return {"n_subsets": len(probabilities), "p_modality_kept": (probabilities @ kept)[0]}


def learning_speeds(given: Case) -> Case:
    parts = given["weights_and_grads"]

    def speed(*names: str) -> Tensor:
        squares = [sum(tensor(parts[n][key]).square().sum() for n in names) for key in "gw"]
        return greedy.learning_speed(*squares)

    own = torch.stack([speed("net_view_0"), speed("net_view_1")])
    across = torch.stack([speed("fc_squeeze", "fc_visual"), speed("fc_squeeze", "fc_skeleton")])
    found = {f"M_main{i}": value for i, value in enumerate(own)}
    found |= {f"M_bypass{i}": value for i, value in enumerate(across)}
    # The released logarithm is that to base 10.
    return found | {"d_after_first": greedy.speed_differences(across, own)[0] / math.log(10)}


def prototypes(given: Case) -> Case:
    label, losses, scores = torch.tensor(given["labels"]), [], []
    for name in "av":
        log_p = pmr.prototype_log_probabilities(
            tensor(given[f"z_{name}"]), tensor(given[f"proto_{name}"])
        )
        truth = log_p.gather(1, label[:, None])
        losses.append(-truth.mean())
        scores.append(truth.exp().mean())
    push, calm = pmr.coefficients(torch.stack(scores), "released")
    push, calm = given["alpha"] * push, given["alpha"] * calm
    terms = (push * torch.stack(losses)).sum()
    return {
        "rho_a_over_v": scores[0] / scores[1],
        "L_pce_a": losses[0],
        "L_pce_v": losses[1],
        "beta_code": push[0],
        "lam_code": calm[0],
        "loss": cross_entropy(tensor(given["fused_logits"]), label) + terms,
    }


def prototype_momentum(given: Case) -> Case:
    new, old = tensor([given["new"]]), tensor([given["old"]])
    return {"proto": pmr.moved(old, new, torch.ones(1), given["momentum_coef"])[0]}


def ranking(given: Case) -> Case:
    past = qmf.normalized(tensor(given["cumulative_loss"]))
    difference = past - past.roll(-1)
    loss = qmf.ranking_loss(past, tensor(given["confidence"]), margin="released")
    return {"target": difference.sign(), "margin": difference.abs(), "rank_loss": loss}


def boosting(given: Case) -> Case:
    logits = tensor(given["logits_current"]).requires_grad_()
    others, label = tensor(given["logits_others_sum"]), torch.tensor(given["labels"])
    weights = given["weight1"], given["weight2"]
    form = reconboost.released_residual_loss
    loss = form(logits, others, label, *weights)
    loss.backward()
    singles = [
        form(logits[i : i + 1], others[i : i + 1], label[i : i + 1], *weights)
        for i in range(len(label))
    ]
    return {"per_sample": torch.stack(singles), "mean": loss, "grad_logits": logits.grad}


def boosting_by_pixel(given: Case) -> Case:
    logits, label = tensor(given["logits_current"]), torch.tensor(given["labels"])
    others = tensor(given["p_others_per_voxel"]).log()
    weights = given["weight1"], given["weight2"]
    image = [x.T.reshape(1, 4, 1, 2) for x in (logits, others)]
    loss = reconboost.released_residual_loss(*image, label.view(1, 1, 2), *weights)
    singles = [
        reconboost.released_residual_loss(x[None], o[None], y[None], *weights)
        * len(x)
        / cross_entropy(x[None], y[None])
        for x, o, y in zip(logits, others, label, strict=True)
    ]
    return {"voxel_weight": torch.stack(singles), "loss_mean": loss}


def memory(given: Case) -> Case:
    same = given["logits_current"], given["logits_others_sum"]
    return {"ga_loss": reconboost.memory_loss(*(tensor(x) for x in same))}


def boosted_regression(given: Case) -> Case:
    prediction = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    rest = tensor(given["y"]) - tensor(given["others_sum"])
    reconboost.residual_error(prediction, rest, "l2").backward()
    assert prediction.grad is not None
    return {"residual": -prediction.grad * len(prediction) / 2}


def distillation(given: Case) -> Case:
    pairs = zip(given["student"], given["teacher"], strict=True)
    mse = [umt.distance(tensor(s), tensor(t), normalize=False) for s, t in pairs]
    total = given.get("task_loss", 0) + given.get("scale", 1) * sum(mse)
    return {"mse": mse if len(mse) > 1 else mse[0], "total": total}


def ensemble(*predictions: Tensor) -> Tensor:
    fusion = LateFusion({f"m{i}": nn.Identity() for i in range(len(predictions))}, "mean")
    here = torch.ones(len(predictions[0]), dtype=torch.bool)
    return fusion.combine(list(predictions), [here] * len(predictions))


def mean_of_logits(given: Case) -> Case:
    return {"mean_of_logits": ensemble(tensor(given["logits_1"]), tensor(given["logits_2"]))}


def mean_of_values(given: Case) -> Case:
    return {"pred": ensemble(*(tensor(values)[:, None] for values in given["pred"]))[:, 0]}


def blending(given: Case) -> Case:
    rows = given["losses"].values()
    before, after = (
        tensor([[row[f"train_{time}"], row[f"val_{time}"]] for row in rows]) for time in ("N", "Nn")
    )
    weights = gblending.blend_weights(before, after)
    assert weights is not None
    return {"clamped_at_zero": dict(zip(given["losses"], weights.tolist(), strict=True))}


def relearned(given: Case) -> Case:
    gap = abs(given["purity_train"] - given["purity_val"])
    alpha = relearning.strength(tensor(gap), given["move_lambda"])
    weight = tensor([given["w_now"]])
    relearning.move_back([weight], [tensor([given["w_init"]])], alpha.item())
    return {"alpha": alpha, "w_new": weight[0]}


def dropped(given: Case) -> Case:
    ratios = discrepancy_ratios(tensor([given["score_1"], given["score_2"]]))
    first, second = opm.drop_probabilities(ratios, given["q_base"], given["lam"])
    return {"q_1": first, "q_2": second}


def compensated(given: Case) -> Case:
    factor = opm.compensation(tensor(given["q"]))
    return {"features": scaled(tensor(given["kept_features"]), factor)}


def preferences(given: Case) -> Case:
    distances, beta = tensor(given["epoch_dist"]), tensor(given["beta"])
    found = passion.relative_preferences(distances, torch.ones(4, dtype=torch.bool))
    rate = (
        passion.rate_of(given["eta"], given["epoch"] + 1) / 1.5
    )  # before the factor of this epoch
    return {"rp_epoch": found, "beta_new": passion.moved_weights(beta, found, rate)}


def softened(given: Case) -> Case:
    student, teacher = (tensor(given[key])[None] for key in ("student", "teacher"))
    return {"kl": passion.distillation(student, teacher, given["temperature"])[0]}


def similar(given: Case) -> Case:
    label = torch.tensor([given["label"]])
    pair = (
        similarities_by_image(tensor(given[key]).view(1, 2, 2, 2), label)
        for key in ("student", "teacher")
    )
    squared, absolute = passion.prototype_distances(*pair)
    return {"proto_loss": squared[0], "dist": absolute[0]}


CHECKS = {
    "mrd/mask_zero_fill": mask,
    "mrd/prob_all_subsets": subsets,
    "greedy/conditional_learning_speed": learning_speeds,
    "opm/drop_probability": dropped,
    "opm/drop_probability_of_the_other": dropped,
    "opm/drop_probability_at_most_1": dropped,
    "opm/equal_scores": dropped,
    "opm/compensation": compensated,
    "passion/relative_preference_update": preferences,
    "passion/distillation": softened,
    "passion/distillation_at_the_floor": softened,
    "passion/prototype_distances": similar,
    "pmr/released_code_loss": prototypes,
    "pmr/prototype_momentum": prototype_momentum,
    "qmf/rank_loss": ranking,
    "reconboost/boosting_loss_released": boosting,
    "reconboost/memory_consolidation_value": memory,
    "reconboost/regression_generalisation": boosted_regression,
    "reconboost/segmentation_per_voxel": boosting_by_pixel,
    "umt/feature_distillation": distillation,
    "umt/feature_map_distillation": distillation,
    "ume/logit_mean_vs_prob_mean": mean_of_logits,
    "ume/average_of_unimodal_predictions": mean_of_values,
    "gblending/negative_generalisation": blending,
    "relearning/reinit_strength": relearned,
}
