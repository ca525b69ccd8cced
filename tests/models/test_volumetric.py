"""The volumetric network: shapes, subsets, what a fusion sees, export, late fusion."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cggm.models import (
    SegmentationLateFusion,
    VolumetricNetwork,
    segmentation_classifiers,
    segmentation_network,
)
from cggm.pipelines.balancing.features import masked

SEQUENCES = ["flair", "t1", "t1ce", "t2"]


def build(sequences: list[str] = SEQUENCES) -> VolumetricNetwork:
    torch.manual_seed(7)
    return VolumetricNetwork(sequences, channels=8).eval()


@pytest.fixture(scope="module")
def network() -> VolumetricNetwork:
    return build()


def volumes(batch: int = 2, sides: tuple[int, int, int] = (16, 8, 24), count: int = 4) -> Tensor:
    return torch.randn(batch, count, *sides)


@pytest.mark.parametrize("sides", [(16, 16, 16), (9, 17, 20), (1, 5, 30)])
def test_logits_have_the_resolution_of_the_image(
    network: VolumetricNetwork, sides: tuple[int, int, int]
) -> None:
    assert network(volumes(2, sides)).shape == (2, 4, *sides)


def test_features_are_three_levels_the_deepest_first(network: VolumetricNetwork) -> None:
    features = network.encode(volumes(2, (17, 16, 8)))
    assert list(features) == network.modalities == SEQUENCES
    shapes = [level.shape for level in features["t1ce"]]
    assert shapes == [(2, 32, 3, 2, 1), (2, 16, 6, 4, 2), (2, 8, 12, 8, 4)]


def test_forward_is_fuse_of_encode(network: VolumetricNetwork) -> None:
    image = volumes()
    assert torch.equal(network(image), network.fuse(network.encode(image)))


@pytest.mark.parametrize("value", [100.0, float("nan")])
def test_content_of_an_absent_sequence_does_not_matter(
    network: VolumetricNetwork, value: float
) -> None:
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    image = volumes(3)
    other = torch.where(present[:, :, None, None, None], image, value)
    assert torch.equal(network(image, present), network(other, present))


def test_an_absent_sequence_is_zeros_in_the_fusion(network: VolumetricNetwork) -> None:
    image = volumes()
    features = network.encode(image)
    present = torch.tensor([False, True, False, True])
    zeros = {
        name: tuple(level if name in ("t1", "t2") else 0 * level for level in levels)
        for name, levels in features.items()
    }
    chosen = network(image, present)
    assert torch.allclose(chosen, network.fuse(zeros), atol=1e-6)
    assert torch.equal(chosen, network.fuse({name: features[name] for name in ("t1", "t2")}))


def test_what_modality_dropout_hides_is_what_a_sample_does_not_have(
    network: VolumetricNetwork,
) -> None:
    keep = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0]], dtype=torch.bool)
    image = volumes()
    features = network.encode(image)
    hidden = {name: masked(features[name], keep[:, i]) for i, name in enumerate(SEQUENCES)}
    assert torch.allclose(network.fuse(hidden), network(image, keep), atol=1e-6)


def test_each_sample_has_its_own_sequences(network: VolumetricNetwork) -> None:
    image = volumes(3)
    present = torch.tensor([[1, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0]], dtype=torch.bool)
    together = network(image, present)
    for row in range(3):
        alone = network(image[row : row + 1], present[row])
        assert torch.allclose(together[row : row + 1], alone, atol=1e-5)


def test_a_batch_of_one_trains_every_parameter() -> None:
    network = build().train()
    network(volumes(1)).square().sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in network.parameters() if p.grad is not None)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_in_training_a_sequence_nobody_has_gives_zeros_and_learns_nothing() -> None:
    """But it has gradients: several processes exchange one for each parameter."""
    network, image = build().train(), volumes()
    image[:, 1] = torch.nan
    present = torch.tensor([True, False, True, True])
    features = network.encode(image, present)
    assert not any(bool(level.any()) for level in features["t1"])
    network.fuse(features, present).sum().backward()
    gradients = [parameter.grad for parameter in network.encoders["t1"].parameters()]
    assert gradients and all(g is not None and not bool(g.any()) for g in gradients)
    assert "t1" not in network.eval().encode(image, present)


def test_state_dict_holds_only_the_network(network: VolumetricNetwork) -> None:
    state = network.state_dict()
    assert {key.partition(".")[0] for key in state} == {"encoders", "fusion", "head"}
    other = VolumetricNetwork(SEQUENCES, channels=8).eval()
    other.load_state_dict(state)
    image = volumes()
    assert torch.equal(other(image), network(image))


def test_script_gives_the_same_for_every_shape_and_subset(
    network: VolumetricNetwork, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch announces an end of TorchScript
        torch.jit.script(network).save(str(tmp_path / "model.ts"))
        scripted = torch.jit.load(str(tmp_path / "model.ts"))
    rows = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    with torch.no_grad():
        for sides in [(16, 16, 16), (9, 17, 20)]:
            image = volumes(2, sides)
            for present in (None, rows, torch.tensor([True, False, False, True])):
                expected = network(image, present)
                assert torch.allclose(scripted(image, present), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "present", "message"),
    [
        ((1, 1, 8, 8, 8), None, r"\['flair', 't1', 't1ce', 't2'\] \(4 channels\), got 1 channel$"),
        ((1, 4, 8, 8), None, r"volumes of shape \(B, 4, X, Y, Z\), got .* \(1, 4, 8, 8\)"),
        ((2, 4, 8, 8, 8), torch.zeros(4), "at least one sequence must be present in every volume"),
        ((2, 4, 8, 8, 8), torch.ones(3), r"shape \(4,\) or \(2, 4\), got \[3\]"),
    ],
)
def test_wrong_inputs_are_refused(
    network: VolumetricNetwork, shape: tuple[int, ...], present: Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(shape), present)


def test_features_of_an_unknown_sequence_and_of_none_are_refused(
    network: VolumetricNetwork,
) -> None:
    features = network.encode(volumes(1))
    with pytest.raises(ValueError, match="no sequence is called 't1c'"):
        network.fuse({"t1c": features["t1ce"]})
    with pytest.raises(ValueError, match="features of none"):
        network.fuse({})


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="channels is 12; it must be a multiple of 8"):
        VolumetricNetwork(SEQUENCES, channels=12)
    with pytest.raises(ValueError, match=r"architecture is 'unet'; it is one of \['deeplabv3plus'"):
        segmentation_network(SEQUENCES, architecture="unet")
    with pytest.raises(ValueError, match="segresnet starts at random: leave weights out"):
        segmentation_network(SEQUENCES, architecture="segresnet", weights="imagenet")
    with pytest.raises(ValueError, match="neighbors is 1; segresnet sees whole volumes: leave"):
        segmentation_network(SEQUENCES, architecture="segresnet", neighbors=1)


def test_settings_of_the_other_architecture_say_nothing() -> None:
    network = segmentation_network(
        SEQUENCES, architecture="segresnet", encoder="resnet18", rates=(1, 2, 3), channels=8
    )
    assert isinstance(network, VolumetricNetwork)
    assert isinstance(network.head, nn.Conv3d)
    assert network.head.weight.shape == (4, 8, 1, 1, 1)


def test_late_fusion_averages_the_networks_of_single_sequences() -> None:
    torch.manual_seed(0)
    network = segmentation_network(
        SEQUENCES, architecture="segresnet", late_fusion="mean", channels=8
    ).eval()
    assert isinstance(network, SegmentationLateFusion)
    image, present = volumes(), torch.tensor([True, False, True, False])
    alone = [network.members[name](image[:, i : i + 1]) for i, name in enumerate(SEQUENCES)]
    assert torch.allclose(network(image, present), (alone[0] + alone[2]) / 2, atol=1e-6)
    assert segmentation_classifiers(network) is None


def test_classifiers_end_like_the_head_and_predict_at_full_resolution(
    network: VolumetricNetwork,
) -> None:
    classifiers = segmentation_classifiers(network)
    assert classifiers is not None
    assert list(classifiers) == network.modalities
    features = network.encode(volumes(2, (9, 16, 20)))
    for name, classifier in classifiers.items():
        assert classifier.get_parameter("head.weight").shape == network.head.weight.shape
        assert classifier.get_parameter("head.bias").shape == network.head.bias.shape
        levels = tuple(level.detach() for level in features[name])
        assert classifier(levels, size=(9, 16, 20)).shape == (2, 4, 9, 16, 20)
        assert classifier(levels).shape == (2, 4, 16, 16, 24)
        classifier(levels).sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.grad is not None for parameter in classifiers.parameters())
