"""Reference values of cases.json, reproduced: released code and papers, executed.

A case without an entry in ``CHECKS`` fails, and so does a value that is not computed, unless
``LEFT_OUT`` says why.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cggm.pipelines.methods import CATALOGUE

from . import reference_gradients, reference_losses

CASES = {row["case"]: row for row in json.loads(Path(__file__).with_name("cases.json").read_text())}
CHECKS = reference_gradients.CHECKS | reference_losses.CHECKS
LEFT_OUT = {
    "ogm_ge/split_concat_head": "scores come from classifiers, no head is split",
    "greedy/gate_replacement_in_curation": "features are replaced, there are no gates",
    "gblending/multibench_simplified": "another estimator than the paper's",
    "cggm/official_Lgm_on_weights/grad_wrt_aux_head_weights": "erased there before it acts",
    "ogm_ge/equal_scores/coeff_a": "damped there at a ratio of 1, by the paper's rule not",
    "agm/two_mod_first_iteration/train_score_a": "the input itself",
    "agm/two_mod_first_iteration/train_score_v": "the input itself",
    "greedy/conditional_learning_speed/state_after_each_backward": "in a training: test_greedy.py",
    "pmr/released_code_loss/neg_dist_a": "inside a softmax",
    "pmr/released_code_loss/neg_dist_v": "inside a softmax",
    "reconboost/memory_consolidation_value/grad_wrt_current_logits": "0 there, detached twice",
    "umt/feature_map_distillation/channel_normalised_cos": "another distance",
    "ume/logit_mean_vs_prob_mean/mean_of_softmax": "logits are averaged",
    "gblending/negative_generalisation/benchmark_abs": "third party: rewards a loss that rises",
    "mmpareto/conflict/cos": "its sign decides, it has no use of its own",
    "mmpareto/agree/cos": "its sign decides, it has no use of its own",
}


def plain(value: Any) -> Any:
    """Numbers, lists and dictionaries of what may be tensors."""
    if isinstance(value, Tensor):
        return value.detach().tolist()
    if isinstance(value, list):
        return [plain(part) for part in value]
    return {key: plain(part) for key, part in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("case", CASES)
def test_reference_case(case: str) -> None:
    row = CASES[case]
    if case in LEFT_OUT:
        return
    given = row["inputs"]
    if "same_inputs_as" in given:
        given = CASES["reconboost/boosting_loss_released"]["inputs"]
    found = CHECKS[case](given)
    for key, expected in row["expected"].items():
        if f"{case}/{key}" in LEFT_OUT:
            assert key not in found or plain(found[key]) != expected
            continue
        torch.testing.assert_close(
            plain(found[key]), expected, rtol=row["tol"], atol=row["tol"], msg=f"{case}: {key}"
        )


def test_what_is_left_out_or_checked_is_a_case() -> None:
    assert CHECKS.keys() | {key for key in LEFT_OUT if key in CASES} == CASES.keys()
    for name in LEFT_OUT.keys() - CASES.keys():
        case, key = name.rsplit("/", 1)
        assert key in CASES[case]["expected"], name


def test_cases_are_those_of_methods_of_the_catalogue() -> None:
    """The others have no arithmetic: they are nothing but a loss and a detached feature."""
    without = {"dgl", "joint", "unimodal"}
    without |= {"progress_rates", "pdmp"}  # not published, and of values that are not
    assert {case.split("/")[0] for case in CASES} | without == set(CATALOGUE)
