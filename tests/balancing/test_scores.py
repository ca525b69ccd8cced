"""Scores against MONAI's Dice, PyTorch's losses and cases by hand."""

import pytest
import torch
from monai.metrics import compute_dice
from torch.nn.functional import cross_entropy, l1_loss

from cggm.pipelines.balancing.scores import SCORES, Dice, most_probable, score_by_name


def test_scores_of_classes_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 1.0], [-1.0, 1.0]])
    label = torch.tensor([0, 1, 1])
    assert score_by_name("accuracy")(logits, label).tolist() == [1.0, 0.0, 1.0]
    expected = [0.5, 1 / (1 + torch.e), 1 / (1 + torch.e**-2)]
    assert score_by_name("probability")(logits, label).tolist() == pytest.approx(expected)


def test_logarithmic_score_is_minus_the_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, label = 30 * torch.randn(7, 5), torch.randint(5, (7,))
    losses = cross_entropy(logits, label, reduction="none")
    torch.testing.assert_close(score_by_name("log_probability")(logits, label), -losses)


def test_score_of_values_is_minus_the_absolute_error() -> None:
    torch.manual_seed(0)
    values, label = torch.randn(6, 1), torch.randn(6, 1)
    scores = score_by_name("mae")(values, label)
    torch.testing.assert_close(-scores.mean(), l1_loss(values, label))
    assert scores.argmax() == (values - label).abs().argmin()


def test_binary_score_counts_zero_as_not_positive() -> None:
    values = torch.tensor([[0.5], [-0.1], [0.0], [0.1], [-2.0], [1.0]])
    label = torch.tensor([[3.0], [0.0], [0.0], [0.0], [1.0], [-1.0]])
    assert score_by_name("acc2")(values, label).tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("task", SCORES)
def test_every_score_is_one_number_per_sample_in_full_precision(task: str) -> None:
    prediction, label = {
        "classification": (torch.randn(4, 3), torch.randint(3, (4,))),
        "regression": (torch.randn(4, 1), torch.randn(4, 1)),
        "segmentation": (torch.randn(4, 4, 6, 6), torch.randint(4, (4, 1, 6, 6))),
    }[task]
    prediction = prediction.half()
    for score in SCORES[task].values():
        assert score(prediction, label).shape == (4,)
        assert score(prediction, label).dtype == torch.float32


def test_unknown_scores_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no score 'loss'; choose .*\['accuracy', 'prob.*'mae"):
        score_by_name("loss")
    with pytest.raises(ValueError, match=r"'mae' for classification; choose one of \['accuracy'"):
        score_by_name("mae", task="classification")


def test_the_most_probable_class_is_that_of_argmax() -> None:
    torch.manual_seed(0)
    logits = torch.randint(0, 3, (5, 4, 9, 9)).float()  # with ties
    logits[0, 2, 0, 0] = torch.nan
    assert torch.equal(most_probable(logits), logits.argmax(1))


def test_dice_without_groups_is_the_mean_over_the_classes_but_the_background() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(5, 3, 16, 16), torch.randint(0, 3, (5, 1, 16, 16))
    predicted = logits.argmax(1, keepdim=True)
    classes = [compute_dice(predicted == number, label == number) for number in (1, 2)]
    expected = torch.cat(classes, dim=1).mean(1)
    torch.testing.assert_close(Dice(smooth=1e-9)(logits, label), expected)
    joined = Dice(smooth=1e-9, groups=[(1, 2)])(logits, label)
    torch.testing.assert_close(joined, compute_dice(predicted > 0, label > 0)[:, 0])
