"""Classifiers: light, comparable with the network's head, without effect on it."""

import pytest
import torch

from cggm.models import (
    SegmentationClassifier,
    SegmentationNetwork,
    TransformerNetwork,
    segmentation_classifiers,
    transformer_classifiers,
)
from cggm.models.classifiers import token_alone
from cggm.models.transformer import padding_mask


@pytest.fixture
def network() -> SegmentationNetwork:
    return SegmentationNetwork(["t1", "t1ce"], encoder="tu-test_resnet", channels=16, classes=3)


def test_last_layers_have_the_shape_of_the_head(network: SegmentationNetwork) -> None:
    classifiers = segmentation_classifiers(network)
    assert list(classifiers) == network.modalities
    for classifier in classifiers.values():
        assert classifier.get_parameter("head.weight").shape == network.head.weight.shape
        assert classifier.get_parameter("head.bias").shape == network.head.bias.shape


def test_predictions_have_the_resolution_of_the_image(network: SegmentationNetwork) -> None:
    classifiers = segmentation_classifiers(network)
    for name, features in network.encode(torch.randn(2, 2, 32, 48)).items():
        assert classifiers[name](features).shape == (2, 3, 32, 48)
    for name, features in network.encode(torch.randn(2, 2, 33, 40)).items():
        assert classifiers[name](features, size=(33, 40)).shape == (2, 3, 33, 40)


def test_nothing_reaches_encoders_through_detached_features(network: SegmentationNetwork) -> None:
    classifiers = segmentation_classifiers(network)
    for name, (high, low) in network.encode(torch.randn(2, 2, 32, 32)).items():
        classifiers[name]((high.detach(), low.detach())).sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.grad is not None for parameter in classifiers.parameters())


def test_classifiers_draw_nothing_from_the_random_stream(network: SegmentationNetwork) -> None:
    features = network.encode(torch.randn(2, 2, 32, 32))
    before = torch.get_rng_state()
    classifiers = segmentation_classifiers(network)
    classifiers["t1"](features["t1"])
    assert torch.equal(torch.get_rng_state(), before)


def test_classifiers_start_differently_and_repeatably(network: SegmentationNetwork) -> None:
    state = torch.get_rng_state()
    first = segmentation_classifiers(network)
    torch.set_rng_state(state)
    second = segmentation_classifiers(network)
    assert not torch.equal(
        first["t1"].get_parameter("head.weight"), first["t1ce"].get_parameter("head.weight")
    )
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_classifiers_are_no_part_of_the_network(network: SegmentationNetwork) -> None:
    keys = list(network.state_dict())
    segmentation_classifiers(network)
    assert list(network.state_dict()) == keys


def test_four_classifiers_at_the_papers_size_are_light() -> None:
    """Widths of ResNet-101; the paper reports +24 MB for four in training."""
    classifier = SegmentationClassifier(256, 256, channels=256, classes=4)
    assert 4 * sum(p.numel() for p in classifier.parameters()) < 5_200_000


@pytest.fixture
def reader() -> TransformerNetwork:
    return TransformerNetwork({"text": 3, "audio": 2}, 5, width=8, heads=2, layers=1)


def sequences() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    lengths = torch.tensor([4, 2])
    return {"text": (torch.randn(2, 4, 3), lengths), "audio": (torch.randn(2, 4, 2), lengths)}


def test_a_classifier_of_sequences_ends_like_the_head(reader: TransformerNetwork) -> None:
    for layers in (1, 2):
        classifiers = transformer_classifiers(reader, layers)
        assert list(classifiers) == reader.modalities
        for name, features in reader.encode(sequences()).items():
            classifier = classifiers[name]
            assert classifier.get_parameter("head.weight").shape == reader.head.weight.shape
            assert len(classifier.attention.transformer.layers) == layers
            assert classifier(features).shape == (2, 5)


def test_a_classifier_of_sequences_ignores_padding(reader: TransformerNetwork) -> None:
    (values, lengths) = reader.encode(sequences())["text"]
    classifier = transformer_classifiers(reader)["text"]
    expected = classifier((values, lengths))
    changed = values.masked_fill(torch.arange(4)[None, :, None] >= lengths[:, None, None], 7.0)
    torch.testing.assert_close(classifier((changed, lengths)), expected)
    assert not torch.allclose(classifier((values.flip(2), lengths)), expected, atol=1e-3)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_token_alone_is_what_all_steps_would_give(
    reader: TransformerNetwork, layers: int
) -> None:
    attention = transformer_classifiers(reader, layers)["text"].attention
    values, lengths = reader.encode(sequences())["text"]
    padded = padding_mask(lengths, values.shape[1])
    gradients = []
    for summary in (attention(values, padded), token_alone(attention, values, padded)):
        summary.square().sum().backward(retain_graph=True)
        gradients.append([parameter.grad.clone() for parameter in attention.parameters()])
        attention.zero_grad()
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-4)
    assert all(gradient.any() for gradient in gradients[1])


def test_classifiers_of_sequences_draw_nothing(reader: TransformerNetwork) -> None:
    features = {n: (v.detach(), k) for n, (v, k) in reader.encode(sequences()).items()}
    before = torch.get_rng_state()
    for name, classifier in transformer_classifiers(reader).items():
        classifier.train()(features[name]).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in reader.parameters())
