"""The mean over flips: by hand, alike for every way to segment, and with any subset."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from cggm.models import SegmentationNetwork, segmentation_network
from cggm.pipelines.segmentation import SliceBatchInferer, SubsetInferer, averaged
from cggm.pipelines.segmentation.averaging import AveragedNetwork

SEQUENCES = ("flair", "t1ce")
ORIENTATIONS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))


def network(seed: int = 0, sequences: Sequence[str] = SEQUENCES) -> SegmentationNetwork:
    """A network that predicts every class somewhere."""
    torch.manual_seed(seed)
    built = SegmentationNetwork(
        list(sequences), encoder="tu-test_resnet", channels=8, rates=(1, 2, 3)
    ).eval()
    with torch.no_grad():
        built.head.get_parameter("bias").sub_(built(images(4, 2, 32, 32)).mean((0, 2, 3)))
    return built


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def by_hand(one: nn.Module, image: Tensor, present: Tensor | None = None) -> Tensor:
    """The mean probability over the four orientations."""
    parts = [one(image.flip(axes), present).softmax(1).flip(axes) for axes in ORIENTATIONS]
    return torch.stack(parts).mean(0)


@pytest.mark.parametrize("late_fusion", [None, "mean"])
@torch.no_grad()
def test_probabilities_are_the_mean_over_flips(late_fusion: str | None) -> None:
    settings = {"encoder": "tu-test_resnet", "channels": 8, "rates": (1, 2, 3)}
    one = segmentation_network(list(SEQUENCES), late_fusion=late_fusion, **settings).eval()
    image = images(2, 2, 21, 30)
    present = torch.tensor([[True, True], [False, True]])
    for rows in (None, present):
        expected = by_hand(one, image, rows)
        torch.testing.assert_close(averaged(one, flips=True)(image, rows).softmax(1), expected)
        assert (expected - one(image, rows).softmax(1)).abs().max() > 1e-4


@torch.no_grad()
def test_several_networks_and_flips_are_one_mean() -> None:
    first, second, image = network(0), network(1), images(2, 2, 16, 32)
    both = averaged([first, second])
    expected = (first(image).softmax(1) + second(image).softmax(1)) / 2
    torch.testing.assert_close(both(image).softmax(1), expected)
    expected = (by_hand(first, image) + by_hand(second, image)) / 2
    torch.testing.assert_close(averaged([first, second], flips=True)(image).softmax(1), expected)


def test_without_flips_the_network_is_the_same_object() -> None:
    one = network()
    assert averaged(one) is one


@torch.no_grad()
def test_a_flipped_image_has_flipped_logits() -> None:
    mean, image = averaged(network(), flips=True), images(1, 2, 16, 32)
    torch.testing.assert_close(mean(image.flip(2)), mean(image).flip(2))
    torch.testing.assert_close(mean(image.flip(3)), mean(image).flip(3))


@torch.no_grad()
def test_features_of_a_subset_fuse_to_the_mean_over_flips() -> None:
    """Also where the network pads the image, which a flip would put on another side."""
    one = network()
    mean = AveragedNetwork([one], flips=True)
    assert mean.can_fuse
    image = images(2, 2, 21, 30)
    features = mean.encode(image)
    for subset, here in ((("t1ce",), [False, True]), (SEQUENCES, [True, True])):
        logits = mean.fuse({name: features[name] for name in subset})
        assert logits.shape == (2, 4, 32, 32)
        padded = torch.nn.functional.pad(image, [0, 2, 0, 11])
        expected = by_hand(one, padded, torch.tensor(here))
        torch.testing.assert_close(logits.softmax(1), expected)


def test_subsets_are_segmented_as_each_alone() -> None:
    volume = images(1, 2, 19, 23, 3)
    mean = averaged(network(), flips=True)
    with torch.no_grad():
        every = SubsetInferer(SEQUENCES, 2)(volume, mean)
        assert len(every.unique()) == 4
        for number, here in enumerate(([False, True], [True, False], [True, True])):
            alone = SliceBatchInferer(2)(volume, mean, present=torch.tensor([here]))
            assert torch.equal(every[:, number], alone[:, 0])
