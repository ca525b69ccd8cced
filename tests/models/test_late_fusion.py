"""Networks of single modalities, combined as UME, QMF and ReconBoost say."""

import pytest
import torch
from torch import Tensor, nn

from cggm.models import (
    LateFusion,
    MultimodalNetwork,
    segmentation_classifiers,
    segmentation_network,
    transformer_classifiers,
    transformer_network,
)
from cggm.models.late_fusion import RULES

SIZES = {"width": 8, "heads": 2, "layers": 1, "fusion_layers": 1}
SLICES = {"encoder": "tu-test_resnet", "channels": 16, "rates": (1, 2, 3)}


def network(rule: str) -> LateFusion:
    torch.manual_seed(0)
    built = transformer_network({"text": 3, "audio": 4}, 5, late_fusion=rule, **SIZES)
    assert isinstance(built, LateFusion)
    return built.eval()


def sequences() -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    lengths = {"text": torch.tensor([3, 0]), "audio": torch.tensor([2, 4])}
    return {
        name: (torch.randn(2, 4, width, generator=generator), lengths[name])
        for name, width in (("text", 3), ("audio", 4))
    }


def alone(built: LateFusion, name: str) -> Tensor:
    return built.members[name]({name: sequences()[name]})


def test_mean_is_over_the_modalities_that_a_sample_has() -> None:
    built = network("mean")
    text, audio = alone(built, "text"), alone(built, "audio")
    prediction = built(sequences())
    torch.testing.assert_close(prediction[0], (text[0] + audio[0]) / 2)
    torch.testing.assert_close(prediction[1], audio[1])


def test_sum_adds_them_up() -> None:
    built = network("sum")
    text, audio = alone(built, "text"), alone(built, "audio")
    torch.testing.assert_close(built(sequences())[0], text[0] + audio[0])
    torch.testing.assert_close(built(sequences())[1], audio[1])


def test_confidence_is_a_tenth_of_the_energy_and_a_constant() -> None:
    """Zhang et al. 2023: w_i = logsumexp(logits) / 10, not normalized, no gradient through it."""
    built = network("confidence")
    text, audio = alone(built, "text"), alone(built, "audio")
    weights = [logits.logsumexp(1, keepdim=True) / 10 for logits in (text, audio)]
    expected = weights[0][0] * text[0] + weights[1][0] * audio[0]
    torch.testing.assert_close(built(sequences())[0], expected)
    logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
    built.combine([logits], [torch.tensor([True])])[0, 0].backward()
    energy = torch.tensor([2.0, 0.0]).logsumexp(0) / 10
    torch.testing.assert_close(logits.grad, torch.stack([energy, torch.zeros(())])[None])


@pytest.mark.parametrize("rule", ["mean", "sum"])
def test_one_modality_answers_by_itself(rule: str) -> None:
    built = network(rule)
    torch.testing.assert_close(built({"audio": sequences()["audio"]}), alone(built, "audio"))


def test_members_share_nothing() -> None:
    built = network("mean")
    built({"text": sequences()["text"]}).sum().backward()
    assert all(p.grad is None for p in built.members["audio"].parameters())
    assert list(built.encoders) == built.modalities == ["text", "audio"]
    owned = {id(p) for encoder in built.encoders.values() for p in encoder.parameters()}
    assert owned < {id(p) for p in built.parameters()}


@pytest.mark.parametrize("rule", RULES)
def test_slices_are_given_channel_by_channel(rule: str) -> None:
    built = segmentation_network(["t1", "t2"], late_fusion=rule, **SLICES).eval()
    image = torch.randn(2, 2, 32, 40)
    parts = [built.members[n](image[:, i : i + 1]) for i, n in enumerate(("t1", "t2"))]
    here = torch.tensor([True, True])
    torch.testing.assert_close(built(image), built.combine(parts, [here, here]))
    only = built(image, torch.tensor([[True, False], [True, False]]))
    torch.testing.assert_close(only, built.combine(parts, [here, ~here]))
    with pytest.raises(ValueError, match=r"images of shape \(B, 2, \.\.\.\)"):
        built(image[:, :1])


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@torch.no_grad()
def test_neighbors_belong_to_their_sequence() -> None:
    settings = {"encoder": "tu-test_resnet", "channels": 8, "rates": (1, 2, 3), "neighbors": 1}
    built = segmentation_network(["flair", "t1"], late_fusion="mean", **settings).eval()
    image = torch.randn(2, 6, 16, 16)
    members = built.members
    expected = (members["flair"](image[:, :3]) + members["t1"](image[:, 3:])) / 2
    torch.testing.assert_close(built(image), expected)


class Alone(MultimodalNetwork):
    """One linear encoder and a head."""

    def __init__(self, name: str) -> None:
        super().__init__({name: nn.Linear(3, 4)})
        self.head = nn.Linear(4, 2)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(next(iter(features.values())))


def test_inputs_may_be_one_tensor_per_modality() -> None:
    members = {name: Alone(name) for name in ("text", "audio")}
    built = LateFusion(dict(members))
    inputs = {name: -torch.rand(3, 3) for name in members}
    expected = sum(member({name: inputs[name]}) for name, member in members.items()) / 2
    torch.testing.assert_close(built(inputs), expected)
    torch.testing.assert_close(
        built({"text": inputs["text"]}), members["text"]({"text": inputs["text"]})
    )


def test_torchscript_gives_the_same() -> None:
    built = network("confidence")
    torch.testing.assert_close(torch.jit.script(built)(sequences()), built(sequences()))


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="late fusion is 'vote'; it is one of"):
        network("vote")
    with pytest.raises(ValueError, match="no modality is called 'video'"):
        network("mean")({"video": sequences()["text"]})
    with pytest.raises(ValueError, match="at least one modality must be present"):
        network("mean")({})


def test_there_are_no_classifiers_for_it() -> None:
    assert transformer_classifiers(network("mean")) is None
    assert segmentation_classifiers(network("mean")) is None
