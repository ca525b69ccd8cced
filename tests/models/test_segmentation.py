"""The segmentation network beside a plain one, and the meaning of its outputs."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from cggm.models import SegmentationNetwork

SEQUENCES = ["flair", "t1", "t1ce", "t2"]
ENCODER = "tu-test_resnet"  # the smallest backbone that timm has


def build(sequences: list[str] = SEQUENCES, encoder: str = ENCODER) -> SegmentationNetwork:
    torch.manual_seed(7)
    return SegmentationNetwork(sequences, encoder=encoder, channels=16, rates=(1, 2, 3))


@pytest.fixture(scope="module")
def trained() -> SegmentationNetwork:
    """A network in evaluation mode whose normalizations have seen images."""
    network = build()
    for _ in range(3):
        network(images(4))
    return network.eval()


def images(batch: int = 2, height: int = 32, width: int = 48, sequences: int = 4) -> Tensor:
    return torch.randn(batch, sequences, height, width)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (16, 50), (1, 20)])
def test_logits_have_the_resolution_of_the_image(
    trained: SegmentationNetwork, size: tuple[int, int]
) -> None:
    assert trained(images(2, *size)).shape == (2, 4, *size)


@pytest.mark.parametrize(
    ("encoder", "stride"), [("resnet18", 16), ("mobilenet_v2", 16), ("tu-ghostnet_100", 32)]
)
def test_backbones_of_both_libraries(encoder: str, stride: int) -> None:
    network = build(["t1"], encoder).eval()
    assert network.stride == stride
    high, low = network.encode(images(1, 64, 64, 1))["t1"]
    assert high.shape == (1, 16, 64 // stride, 64 // stride)
    assert low.shape == (1, network.low_channels, 16, 16)
    assert network(images(1, 40, 40, 1)).shape == (1, 4, 40, 40)


def test_forward_is_fuse_of_encode(trained: SegmentationNetwork) -> None:
    image = images()
    features = trained.encode(image)
    assert list(features) == trained.modalities == SEQUENCES
    assert torch.equal(trained(image), trained.fuse(features))


def test_one_sequence_is_a_unimodal_network() -> None:
    network = build(["flair"])
    assert list(network.encoders) == ["flair"]
    assert network(images(sequences=1)).shape == (2, 4, 32, 48)


@pytest.mark.parametrize("present", [torch.ones(4), torch.ones(2, 4, dtype=torch.bool)])
def test_all_present_changes_no_bit(trained: SegmentationNetwork, present: Tensor) -> None:
    image = images()
    assert torch.equal(trained(image, present), trained(image))


@pytest.mark.parametrize("value", [100.0, float("nan")])
def test_content_of_an_absent_sequence_does_not_matter(value: float) -> None:
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    image = images(3)
    other = torch.where(present[:, :, None, None], image, value)
    results = []
    for content in (image, other):
        network = build()
        torch.manual_seed(1)
        results.append((network(content, present), network.state_dict()))
    assert torch.equal(results[0][0], results[1][0])
    for key, tensor in results[0][1].items():  # running statistics too
        assert torch.equal(tensor, results[1][1][key]), key


def test_what_is_absent_is_zeros_in_the_fusion(trained: SegmentationNetwork) -> None:
    image = images()
    features = trained.encode(image)
    zeros = {
        name: (high, low) if name in ("t1", "t2") else (0 * high, 0 * low)
        for name, (high, low) in features.items()
    }
    half = trained(image, torch.tensor([False, True, False, True]))
    assert torch.allclose(half, trained.fuse(zeros), atol=1e-6)
    assert torch.equal(half, trained.fuse({name: features[name] for name in ("t1", "t2")}))
    assert not torch.allclose(half, trained(image * torch.tensor([0, 1, 0, 1.0]).view(4, 1, 1)))


def test_each_slice_has_its_own_sequences(trained: SegmentationNetwork) -> None:
    image = images(3)
    present = torch.tensor([[1, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0]], dtype=torch.bool)
    together = trained(image, present)
    for row in range(3):
        alone = trained(image[row : row + 1], present[row])
        assert torch.allclose(together[row : row + 1], alone, atol=1e-5)


def test_encoder_of_a_sequence_nobody_has_does_not_run(trained: SegmentationNetwork) -> None:
    ran: list[str] = []
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, encoder in trained.encoders.items()
    ]
    trained(images(), torch.tensor([True, False, True, False]))
    for hook in hooks:
        hook.remove()
    assert ran == ["flair", "t1ce"]


def test_in_training_a_sequence_nobody_has_gives_zeros_and_learns_nothing() -> None:
    """But it has gradients: several processes exchange one for each parameter."""
    network, twin = build().train(), build().train()
    present = torch.tensor([True, False, True, True])
    image = images()
    image[:, 1] = torch.nan
    torch.manual_seed(1)
    features = network.encode(image, present)
    drawn = torch.rand(1)
    assert all(not bool(part.any()) for part in features["t1"])
    network.fuse(features, present).sum().backward()
    gradients = [parameter.grad for parameter in network.encoders["t1"].parameters()]
    assert gradients and all(g is not None and not bool(g.any()) for g in gradients)
    assert all(module.training for module in network.modules())
    for name, tensor in twin.encoders["t1"].state_dict().items():  # running statistics too
        assert torch.equal(network.encoders["t1"].state_dict()[name], tensor), name
    torch.manual_seed(1)
    del twin.encoders["t1"]
    twin.encode(torch.zeros_like(image))
    assert torch.equal(torch.rand(1), drawn), "its dropout draws nothing"


def test_a_batch_of_one_trains() -> None:
    network = build().train()
    network(images(1)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_seed_gives_one_network_with_encoders_that_differ() -> None:
    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    encoders = [next(encoder.parameters()) for encoder in build().encoders.values()]
    assert not any(torch.equal(encoders[0], other) for other in encoders[1:])


def test_state_dict_loads_and_holds_only_the_network(trained: SegmentationNetwork) -> None:
    state = trained.state_dict()
    assert {key.partition(".")[0] for key in state} == {"encoders", "fusion", "head"}
    other = SegmentationNetwork(SEQUENCES, encoder=ENCODER, channels=16, rates=(1, 2, 3))
    other.load_state_dict(state)
    image = images()
    assert torch.equal(other.eval()(image), trained(image))


def test_script_gives_the_same_for_every_shape_and_subset(trained: SegmentationNetwork) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch announces an end of TorchScript
        scripted = torch.jit.script(trained)
    rows = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    with torch.no_grad():
        for size in [(32, 32), (48, 32), (33, 17)]:
            image = images(2, *size)
            for present in (None, rows, torch.tensor([True, False, False, True])):
                expected = trained(image, present)
                assert torch.allclose(scripted(image, present), expected, atol=1e-6)


def test_neighbors_are_further_channels_of_a_sequence() -> None:
    torch.manual_seed(0)
    settings = {"encoder": ENCODER, "channels": 8, "rates": (1, 2, 3)}
    built = SegmentationNetwork(["flair", "t1"], neighbors=1, **settings).eval()
    image = images(2, 33, 17, sequences=6)
    with torch.no_grad():
        logits = built(image)
        assert logits.shape == (2, 4, 33, 17)
        for channel in (0, 2):  # slices before and after the one of FLAIR
            other = image.clone()
            other[:, channel] += 1
            assert not torch.equal(built(other), logits)
            absent = torch.tensor([False, True])
            assert torch.equal(built(other, absent), built(image, absent))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            scripted = torch.jit.script(built)
        torch.testing.assert_close(scripted(image), logits)
    with pytest.raises(ValueError, match=r"\(6 channels\), got 2 channels"):
        built(image[:, :2])
    with pytest.raises(ValueError, match="neighbors is -1; it is a number of slices, 0 or more"):
        SegmentationNetwork(["flair"], neighbors=-1, **settings)


@pytest.mark.parametrize(
    ("shape", "present", "message"),
    [
        ((1, 1, 32, 32), None, r"\['flair', 't1', 't1ce', 't2'\] \(4 channels\), got 1 channel$"),
        ((4, 32, 32), None, r"slices of shape \(B, 4, H, W\), got .* \(4, 32, 32\)"),
        ((1, 4, 32, 32, 32), None, r"got an image of shape \(1, 4, 32, 32, 32\)"),
        ((2, 4, 32, 32), torch.zeros(4), "at least one sequence must be present"),
        ((2, 4, 32, 32), torch.eye(4)[:2] * torch.tensor([[1], [0]]), "in every slice"),
        ((2, 4, 32, 32), torch.ones(3), r"shape \(4,\) or \(2, 4\), got \[3\]"),
        ((2, 4, 32, 32), torch.ones(3, 4), r"shape \(4,\) or \(2, 4\), got \[3, 4\]"),
    ],
)
def test_wrong_inputs_are_refused(
    trained: SegmentationNetwork, shape: tuple[int, ...], present: Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(torch.zeros(shape), present)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([], "at least one modality"),
        (["t1", "t1"], "'t1' is given 2 times"),
        (["t1", ""], "without dots, got ''"),
        ("flair", "a list of names, got the text 'flair'"),
    ],
)
def test_wrong_sequences_are_refused(sequences: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentationNetwork(sequences, encoder=ENCODER)


def test_features_of_an_unknown_sequence_are_refused(trained: SegmentationNetwork) -> None:
    features = trained.encode(images())
    features["t1c"] = features.pop("t1ce")
    with pytest.raises(ValueError, match="no sequence is called 't1c'"):
        trained.fuse(features)


def test_head_is_the_last_layer(trained: SegmentationNetwork) -> None:
    head = trained.head
    assert isinstance(head, nn.Conv2d)
    assert head.weight.shape == (4, 16, 1, 1)
