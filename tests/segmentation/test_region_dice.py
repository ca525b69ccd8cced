"""Dice of regions and losses against the released code's values, MONAI's and cases by hand."""

import pytest
import torch
from monai.losses import DiceLoss
from monai.metrics import compute_dice

from cggm.pipelines.segmentation import DiceCELoss, RegionDice, region_score
from cggm.pipelines.segmentation.region_dice import region_counts

# Two images of 3 x 3 pixels, four classes; values of the released code for them below.
LOGITS = torch.tensor(
    [
        [
            [[-0.22, 0.15, 0.67], [-0.51, -1.59, -0.75], [0.65, 0.91, 0.15]],
            [[-0.81, 1.59, -0.35], [0.55, 1.15, -0.12], [0.55, -0.46, 1.06]],
            [[-2.22, -0.47, -1.35], [-0.28, 0.17, 0.76], [0.18, 0.63, 1.0]],
            [[-0.22, -0.58, -1.22], [-0.27, 0.2, -0.09], [-0.35, -0.42, -1.66]],
        ],
        [
            [[-0.35, -0.77, -0.7], [-1.91, -0.03, 0.29], [0.33, -1.08, 0.54]],
            [[0.79, -0.91, -1.1], [-0.46, -0.19, -0.95], [-0.98, 1.11, -0.77]],
            [[0.98, 1.42, 0.38], [2.14, -1.61, 0.47], [1.27, 1.18, -0.05]],
            [[-0.15, -1.35, 1.84], [-2.07, -0.33, -0.5], [0.06, 0.14, 0.06]],
        ],
    ]
)
LABEL = torch.tensor([[[[0, 0, 0], [0, 3, 1], [3, 0, 0]]], [[[0, 0, 2], [0, 3, 0], [1, 2, 2]]]])


def test_scores_are_those_of_the_released_code() -> None:
    dice = RegionDice()
    wt, tc, et = dice.regions(LOGITS, LABEL).mean(0).tolist()
    assert (wt, tc, et) == pytest.approx((0.5001041441, 0.1432922658, 0.000999000999), abs=1e-6)
    assert dice(LOGITS, LABEL).mean().item() == pytest.approx(0.2147984654, abs=1e-6)


def test_empty_regions() -> None:
    nothing = torch.zeros(1, 1, 3, 3, dtype=torch.long)
    background = torch.zeros(1, 4, 3, 3)
    background[:, 0] = 1
    assert RegionDice()(background, nothing).item() == 1.0
    one_pixel = nothing.clone()
    one_pixel[0, 0, 0, 0] = 3
    assert RegionDice()(background, one_pixel).item() == pytest.approx(0.001996008, abs=1e-6)


def test_scores_agree_with_monai() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(5, 4, 16, 16), torch.randint(0, 4, (5, 1, 16, 16))
    enhancing = compute_dice(logits.argmax(1, keepdim=True) == 3, label == 3)
    ours = RegionDice(smooth=1e-9).regions(logits, label)[:, 2:]
    torch.testing.assert_close(ours, enhancing)


def test_score_of_a_batch_is_the_mean_over_its_samples() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(4, 4, 8, 8), torch.randint(0, 4, (4, 1, 8, 8))
    alone = [RegionDice()(logits[i : i + 1], label[i : i + 1]).item() for i in range(4)]
    assert RegionDice()(logits, label).tolist() == pytest.approx(alone)


def test_soft_dice_is_the_hard_one_where_probabilities_are_0_and_1_and_moves_elsewhere() -> None:
    hard, soft = (region_score(name) for name in ("dice", "soft_dice"))
    torch.manual_seed(0)
    certain = 1e6 * torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(soft(certain, LABEL), hard(certain, LABEL))
    # All classes alike: WT is predicted with 3/4, TC with 1/2, ET with 1/4 at each of 9 pixels.
    regions = RegionDice(smooth=1e-9, soft=True).regions(torch.zeros(2, 4, 3, 3), LABEL)
    expected = [2 * share * n / (9 * share + n) for share, n in ((0.75, 3), (0.5, 3), (0.25, 2))]
    assert regions[0].tolist() == pytest.approx(expected)
    # A class that is a little more probable, but not the most probable one.
    logits = torch.zeros(2, 4, 3, 3)
    logits[:, 0] = 2
    more = logits.clone()
    more[:, 1:] += LABEL > 0
    assert torch.equal(hard(logits, LABEL), hard(more, LABEL))
    assert (soft(more, LABEL) > soft(logits, LABEL)).all()


def test_region_counts() -> None:
    counts = region_counts(LOGITS.argmax(1), LABEL[:, 0])
    assert counts.shape == (2, 3, 3)
    assert counts[:, 0, 2].tolist() == [3, 5]  # whole tumor: every pixel with a class
    assert counts[:, 2, 2].tolist() == [2, 1]  # enhancing tumor


def test_pooled_loss_is_the_papers_sum_and_not_the_released_half() -> None:
    assert DiceCELoss(dice="pooled")(LOGITS, LABEL).item() == pytest.approx(2.586585074, abs=1e-6)
    assert DiceCELoss(dice="pooled", lambda_ce=0)(LOGITS, LABEL).item() == (
        pytest.approx(0.847255914, abs=1e-6)
    )


def test_class_loss_is_monais_dice_plus_weighted_cross_entropy() -> None:
    dice = DiceLoss(
        include_background=False,
        softmax=True,
        to_onehot_y=True,
        batch=True,
        smooth_nr=0.0,
        smooth_dr=0.01,
    )(LOGITS, LABEL)
    assert DiceCELoss()(LOGITS, LABEL).item() == pytest.approx(dice.item() + 1.73932916, abs=1e-6)


def test_unknown_kind_of_dice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dice is 'classes'; it is one of \['class', 'pooled'\]"):
        DiceCELoss(dice="classes")


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no score 'mae' for segmentation; choose one of"):
        region_score("mae")
