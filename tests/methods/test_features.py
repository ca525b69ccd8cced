"""Masked features, padding and pooled vectors."""

import pytest
import torch

from cggm.models import SegmentationNetwork, TransformerNetwork
from cggm.pipelines.balancing.features import batch_size, masked, pooled

KEEP = torch.tensor([True, False, True])


def sequences() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    lengths = torch.tensor([4, 2, 3])
    return {name: (torch.randn(3, 4, 5), lengths) for name in ("audio", "text")}


def transformer() -> TransformerNetwork:
    torch.manual_seed(0)
    network = TransformerNetwork({"audio": 5, "text": 5}, 2, width=8, heads=2, layers=1)
    return network.eval()


def segmentation() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(["flair", "t1"], encoder="tu-test_resnet", channels=8).eval()


def test_a_masked_sequence_is_absent_for_a_transformer() -> None:
    network, inputs = transformer(), sequences()
    features = network.encode(inputs)
    expected = network(inputs | {"text": (inputs["text"][0], inputs["text"][1] * KEEP)})
    found = network.fuse(features | {"text": masked(features["text"], KEEP)})
    torch.testing.assert_close(found, expected)


def test_masking_a_whole_batch_equals_leaving_the_modality_out() -> None:
    network, inputs = transformer(), sequences()
    features = network.encode(inputs)
    nobody = torch.zeros(3, dtype=torch.bool)
    found = network.fuse(features | {"text": masked(features["text"], nobody)})
    torch.testing.assert_close(found, network.fuse({"audio": features["audio"]}))


def test_masked_maps_are_zeros_and_the_others_as_they_were() -> None:
    features = segmentation().encode(torch.randn(3, 2, 32, 32))
    for part, before in zip(masked(features["t1"], KEEP), features["t1"], strict=True):
        assert torch.equal(part[KEEP], before[KEEP])
        assert part[1].abs().sum() == 0


def test_no_gradient_and_no_infinity_leaves_what_is_masked() -> None:
    feature = torch.tensor([[1.0], [float("inf")], [2.0]], requires_grad=True)
    found = masked({"a": [feature, "a name"]}, KEEP)
    assert found["a"][1] == "a name"
    found["a"][0].sum().backward()
    assert found["a"][0].flatten().tolist() == [1, 0, 2]
    assert feature.grad is not None
    assert feature.grad.flatten().tolist() == [1, 0, 1]


def test_pooled_vector_of_a_sequence_does_not_depend_on_its_padding() -> None:
    values, lengths = torch.randn(3, 4, 5), torch.tensor([4, 2, 0])
    padded = torch.cat([values, torch.full((3, 2, 5), float("nan"))], dim=1)
    found = pooled((padded, lengths))
    torch.testing.assert_close(found[0], values[0].mean(0))
    torch.testing.assert_close(found[1], values[1, :2].mean(0))
    assert found[2].tolist() == [0] * 5


def test_pooled_vector_of_maps_and_of_vectors() -> None:
    high, low = torch.randn(3, 6, 2, 2), torch.randn(3, 4, 8, 8)
    torch.testing.assert_close(pooled((high, low)), high.mean((2, 3)))
    torch.testing.assert_close(pooled(high), high.mean((2, 3)))
    assert pooled(high[:, :, 0, 0]).shape == (3, 6)


@pytest.mark.parametrize("feature", [(), "text", torch.zeros(3), None])
def test_what_is_no_feature_is_refused(feature: object) -> None:
    with pytest.raises(ValueError, match=r"a feature is a tensor \(B, D, ...\), a tuple of them"):
        pooled(feature)


def test_batch_size_of_every_kind() -> None:
    assert batch_size(torch.zeros(3, 2)) == 3
    assert batch_size({"a": (torch.zeros(4, 2, 1), torch.zeros(4))}) == 4
