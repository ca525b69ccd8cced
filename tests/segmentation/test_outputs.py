"""Outputs as regions: the decision, probabilities, loss, scores and task, each against a loop."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from cggm.data.brats.conventions import REGION_CLASSES
from cggm.data.errors import InputError
from cggm.pipelines.segmentation import (
    RegionDice,
    RegionLoss,
    SliceBatchInferer,
    output_channels,
    segmentation_loss,
    segmentation_task,
)
from cggm.pipelines.segmentation.outputs import (
    class_probabilities,
    classes_of,
    mask_convention,
    mean_logits,
)

REGIONS = list(REGION_CLASSES.values())


@pytest.fixture
def logits() -> Tensor:
    return 2 * torch.randn(3, 3, 7, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def label() -> Tensor:
    return torch.randint(0, 4, (3, 1, 7, 5), generator=torch.Generator().manual_seed(1))


def membership(label: Tensor) -> Tensor:
    """1 where a pixel is of a region, (B, 3, H, W)."""
    return torch.cat([sum((label == c).float() for c in classes) for classes in REGIONS], 1)


def test_a_region_is_kept_within_the_one_around_it(logits: Tensor) -> None:
    classes = classes_of(logits)
    for pixel in range(35):
        whole, core, enhancing = (logits[0].flatten(1)[:, pixel] > 0).tolist()
        expected = 0 if not whole else 2 if not core else 1 if not enhancing else 3
        assert classes[0].flatten()[pixel] == expected
    assert len(classes.unique()) == 4


def test_certain_regions_are_their_label(label: Tensor) -> None:
    certain = 40 * membership(label) - 20
    assert torch.equal(classes_of(certain), label[:, 0])
    assert RegionLoss()(certain, label) < 1e-3
    assert RegionDice()(certain, label).tolist() == [1, 1, 1]
    expected = nn.functional.one_hot(label[:, 0], 4).movedim(-1, 1).float()
    torch.testing.assert_close(class_probabilities(certain), expected)


def test_probabilities_of_classes_add_up_to_those_of_regions(logits: Tensor) -> None:
    classes = class_probabilities(logits)
    assert bool((classes >= 0).all())
    torch.testing.assert_close(classes.sum(1), torch.ones(3, 7, 5))
    capped = logits.sigmoid()
    capped[:, 1] = torch.minimum(capped[:, 1], capped[:, 0])
    capped[:, 2] = torch.minimum(capped[:, 2], capped[:, 1])
    for number, group in enumerate(REGIONS):
        torch.testing.assert_close(classes[:, group].sum(1), capped[:, number])


def test_the_mean_is_that_of_sigmoids(logits: Tensor) -> None:
    expected = (logits.sigmoid() + logits.flip(2).sigmoid()) / 2
    torch.testing.assert_close(mean_logits([logits, logits.flip(2)]).sigmoid(), expected)


def test_loss_is_dice_and_cross_entropy_of_each_region(logits: Tensor, label: Tensor) -> None:
    truth, probability = membership(label), logits.sigmoid()
    dice = [
        2 * (probability[:, r] * truth[:, r]).sum() / (probability[:, r] + truth[:, r]).sum()
        for r in range(3)
    ]
    ce = -(truth * probability.log() + (1 - truth) * (1 - probability).log()).mean()
    expected = 1 - sum(dice) / 3 + 0.5 * ce
    torch.testing.assert_close(
        RegionLoss(lambda_ce=0.5)(logits, label), expected, atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("soft", [False, True])
def test_scores_are_dice_of_each_region(soft: bool, logits: Tensor, label: Tensor) -> None:
    found = RegionDice(soft=soft).regions(logits, label)
    truth = membership(label)
    predicted = logits.sigmoid() if soft else membership(classes_of(logits)[:, None])
    overlap = (predicted * truth).flatten(2).sum(2)
    expected = 2 * overlap / (predicted + truth).flatten(2).sum(2)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_the_task_takes_each_yes_or_no_as_a_class(logits: Tensor, label: Tensor) -> None:
    label[0] = 0  # no tumor: only "no" is averaged
    task = segmentation_task("regions", RegionLoss(), RegionDice())
    truth, probability = membership(label), logits.sigmoid()
    for i in range(3):
        loss = binary_cross_entropy_with_logits(logits[i], truth[i])
        torch.testing.assert_close(task.sample_losses(logits, label)[i], loss)
        means = []
        for r in range(3):
            inside = truth[i, r].bool()
            means += [probability[i, r][inside].mean(), (1 - probability[i, r])[~inside].mean()]
        expected = torch.stack([m for m in means if not m.isnan()]).mean()
        torch.testing.assert_close(task.truth(logits, label)[i], expected)
    choices, true = task.choices(logits, label)
    torch.testing.assert_close(choices.softmax(1)[:, 1], probability)
    torch.testing.assert_close(
        cross_entropy(choices, true), binary_cross_entropy_with_logits(logits, truth)
    )
    assert task.kind == "segmentation"


class Fixed(nn.Module):
    """Logits of regions that are the image itself; tumor everywhere where it is above 0."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, [0, 1, 0]]


def test_inference_decides_by_region_and_only_in_the_brain() -> None:
    volume = torch.ones(1, 2, 8, 9, 6)
    volume[0, 1, :4] = -1
    volume[0, :, 7:] = 0  # outside the brain
    classes = SliceBatchInferer(2)(volume, Fixed())[0, 0]
    assert bool((classes[:4] == 2).all()) and bool((classes[4:7] == 3).all())
    assert not classes[7:].any()


def test_what_does_not_exist_is_refused() -> None:
    assert [output_channels(kind) for kind in ("classes", "regions", "cavity")] == [4, 3, 5]
    message = r"'outputs' is 'region'; it must be one of \['classes', 'regions', 'cavity'\]"
    with pytest.raises(InputError, match=message):
        segmentation_loss("region")
    message = r"'class_weights' is \[1, 1, 1, 1\]; with outputs cavity it must be 5 numbers"
    with pytest.raises(InputError, match=message):
        segmentation_loss("cavity", [1, 1, 1, 1])
    with pytest.raises(InputError, match="the method qmf weighs predictions by the energy of"):
        output_channels("regions", "confidence")


def test_masks_with_a_cavity_are_in_a_convention_that_has_it() -> None:
    assert mask_convention("classes", None, "brats2021") == "brats2021"
    assert mask_convention("cavity", None, "brats2021") == "brats2024"
    assert mask_convention("cavity", "brats2024", "brats2021") == "brats2024"
    with pytest.raises(
        InputError, match="label_convention is 'msd', .* choose brats2024, or leave"
    ):
        mask_convention("cavity", "msd", "brats2021")
