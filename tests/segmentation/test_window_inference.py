"""Windows of volumes: the same masks as by slices where neighbors do not matter; every subset."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cggm.models import VolumetricNetwork, segmentation_network
from cggm.pipelines.segmentation import SliceBatchInferer, WindowInferer, averaged
from cggm.pipelines.segmentation.window_inference import (
    SubsetInferer,
    WindowSubsetInferer,
    case_inferer,
    evaluation_inferer,
)

SEQUENCES = ("flair", "t1ce")


class Thresholds(nn.Module):
    """Classes that follow from each voxel alone; it takes slices as well as volumes."""

    def __init__(self) -> None:
        super().__init__()
        self.present: list[list[bool] | None] = []
        self.sides: list[tuple[int, ...]] = []

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:
        self.present.append(None if present is None else present.tolist())
        self.sides.append(tuple(image.shape[2:]))
        flair, t1ce = image[:, 0], image[:, 1]
        return torch.stack([torch.full_like(flair, 0.5), t1ce, flair, t1ce + flair - 0.4], dim=1)


@pytest.fixture
def volume() -> Tensor:
    """Two volumes with a brain in the middle, a corner of which is a speck alone."""
    draws = torch.Generator().manual_seed(0)
    image = torch.zeros(2, 2, 26, 30, 20)
    image[:, :, 4:23, 3:26, 2:17] = 0.1 + torch.rand(2, 2, 19, 23, 15, generator=draws)
    image[:, :, 4:10, 3:9, 2:8] = 0
    image[:, :, 5, 4, 3] = 3.0
    return image


@pytest.mark.parametrize("window", [8, 16, 32])
def test_a_network_of_single_voxels_gives_the_masks_of_slices(volume: Tensor, window: int) -> None:
    by_slice, by_window = SliceBatchInferer(4), WindowInferer(window, 3)
    network = Thresholds()
    expected = by_slice(volume, network)
    assert torch.equal(by_window(volume, network), expected) and expected.any()
    assert by_window.removed == by_slice.removed == [1, 1]  # the speck
    assert network.sides[-1] == (window,) * 3


def test_a_result_does_not_depend_on_where_the_brain_lies(volume: Tensor) -> None:
    torch.manual_seed(0)
    network = segmentation_network(list(SEQUENCES), architecture="segresnet", channels=8).eval()
    moved = torch.zeros(2, 2, 40, 33, 31)
    moved[:, :, 7:33, 2:32, 11:31] = volume
    with torch.no_grad():
        here, there = (WindowInferer(16)(image, network) for image in (volume, moved))
    assert torch.equal(there[:, :, 7:33, 2:32, 11:31], here) and here.any()


def test_what_is_absent_is_told_to_the_network(volume: Tensor) -> None:
    network = Thresholds()
    present = torch.tensor([[True, False], [True, True]])
    WindowInferer(32)(volume, network, present=present)
    assert network.present == [[True, False], None]


@pytest.mark.parametrize(
    "inferers",
    [
        (SliceBatchInferer(), WindowInferer(16)),
        (SubsetInferer(SEQUENCES), WindowSubsetInferer(SEQUENCES, 16)),
    ],
)
def test_calibration_is_that_of_slices(
    volume: Tensor, inferers: tuple[SliceBatchInferer, SliceBatchInferer]
) -> None:
    truth = (volume[:, :1] > 0.6) * 3
    here = torch.tensor([[True, False], [True, True]])
    for inferer in inferers:
        inferer(volume, Thresholds(), present=here, truth=truth)
    expected, errors = (np.stack(inferer.calibration) for inferer in inferers)
    assert (expected[:, -1] > 0).all()
    np.testing.assert_allclose(errors, expected, atol=1e-6)


def test_a_brain_that_is_known_is_not_found_again(volume: Tensor) -> None:
    network, inferer = Thresholds(), WindowInferer(16)
    box = (slice(None), slice(None), slice(4, 23), slice(3, 26), slice(2, 17))
    brain = volume[box].any(1)
    found = inferer(volume, network)[box]
    brain[:, 1, 1, 1] = False  # the speck
    assert torch.equal(inferer(volume[box], network, brain=brain), found)
    brain[:, 9:] = False
    assert not inferer(volume[box], network, brain=brain)[:, :, 9:].any() and found[:, :, 9:].any()


@torch.no_grad()
def test_flips_and_several_networks_are_averaged_in_every_window(volume: Tensor) -> None:
    torch.manual_seed(0)
    networks = [VolumetricNetwork(SEQUENCES, classes=3, channels=8).eval() for _ in range(2)]
    image = volume[:, :, 4:20, 3:19, 2:18]
    for network in networks:  # so that each region is somewhere
        network.head.get_parameter("bias").sub_(network(image).mean((0, 2, 3, 4)))
    mean = averaged(networks, flips=True)
    ways: list[tuple[int, ...]] = [(), (2,), (3,), (2, 3)]
    parts = [one(image.flip(w)).sigmoid().flip(w) for one in networks for w in ways]
    torch.testing.assert_close(mean(image).sigmoid(), torch.stack(parts).mean(0))
    inferer = WindowSubsetInferer(SEQUENCES, 16)
    masks = inferer(volume[:1], mean)
    for number, subset in enumerate(inferer.subsets):
        present = torch.tensor([[name in subset for name in SEQUENCES]])
        alone = WindowInferer(16)(volume[:1], mean, present=present)
        assert torch.equal(masks[:, number : number + 1], alone), subset
    assert len(masks.unique()) == 4


def test_a_case_is_segmented_in_the_subsets_that_it_has(volume: Tensor) -> None:
    torch.manual_seed(0)
    network = segmentation_network(list(SEQUENCES), architecture="segresnet", channels=8).eval()
    volume[:, 1] = 0
    present = torch.tensor([[True, False]] * 2)
    with torch.no_grad():
        only_t1ce, only_flair, all_it_has = WindowSubsetInferer(SEQUENCES, 16)(
            volume, network, present=present
        ).unbind(1)
        alone = WindowInferer(16)(volume, network, present=present)[:, 0]
    assert not only_t1ce.any() and alone.any()
    assert torch.equal(only_flair, alone) and torch.equal(all_it_has, alone)


def test_an_empty_volume_is_background() -> None:
    assert not WindowInferer(8)(torch.zeros(1, 2, 9, 9, 9), Thresholds()).any()


@pytest.mark.parametrize("late_fusion", [None, "mean"])
def test_every_subset_is_what_it_is_alone(volume: Tensor, late_fusion: str | None) -> None:
    torch.manual_seed(0)
    network = segmentation_network(
        list(SEQUENCES), architecture="segresnet", late_fusion=late_fusion, channels=8
    ).eval()
    encoded = []
    for encoder in network.encoders.values():
        encoder.register_forward_hook(lambda *_: encoded.append(1))
    inferer = WindowSubsetInferer(SEQUENCES, 16, 2)
    with torch.no_grad():
        masks = inferer(volume[:1], network)
        runs = len(encoded)
        for number, subset in enumerate(inferer.subsets):
            present = torch.tensor([[name in subset for name in SEQUENCES]])
            alone = WindowInferer(16, 2)(volume[:1], network, present=present)
            assert torch.equal(masks[:, number : number + 1], alone), subset
    if late_fusion is None:
        assert runs == 2 * 2 * 1  # each sequence of the four windows once, two at a time


def test_the_side_of_a_window_decides_what_segments() -> None:
    assert type(case_inferer(None)) is SliceBatchInferer and case_inferer(None).batch_size == 32
    assert type(case_inferer(16)) is WindowInferer and case_inferer(16).batch_size == 2
    assert type(evaluation_inferer(SEQUENCES, subsets=True)) is SubsetInferer
    assert type(evaluation_inferer(SEQUENCES, subsets=True, window=8)) is WindowSubsetInferer
    assert type(evaluation_inferer(SEQUENCES, subsets=False, window=8)) is WindowInferer
    assert evaluation_inferer(SEQUENCES, subsets=True, window=8, batch_size=5).batch_size == 5
    for side in (0, 20):
        with pytest.raises(ValueError, match=f"patch_size is {side}; it must be a multiple of 8"):
            WindowInferer(side)
