"""The contract of a multimodal network, and names that cannot be used."""

import pytest
import torch
from torch import Tensor, nn

from cggm.models import MultimodalNetwork


class SumNetwork(MultimodalNetwork):
    def __init__(self) -> None:
        super().__init__({"text": nn.Linear(3, 2), "audio": nn.Linear(5, 2)})
        self.head = nn.Linear(2, 1)

    def fuse(self, features: dict[str, Tensor], /) -> Tensor:
        return self.head(torch.stack(list(features.values())).sum(dim=0))


def test_forward_is_fuse_of_encode() -> None:
    network = SumNetwork()
    inputs = {"audio": torch.randn(4, 5), "text": torch.randn(4, 3)}
    features = network.encode(inputs)
    assert list(features) == network.modalities == ["text", "audio"]
    assert torch.equal(network(inputs), network.fuse(features))


def test_modality_that_is_not_in_the_inputs_is_not_encoded() -> None:
    assert list(SumNetwork().encode({"audio": torch.randn(4, 5)})) == ["audio"]


def test_unknown_modality_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no modality is called 'video'.*\['text', 'audio'\]"):
        SumNetwork().encode({"video": torch.randn(4, 5)})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["t1.post"], "without dots, got 't1.post'"),
        ([""], "without dots, got ''"),
        (["type"], "cannot be called 'type'"),
        ([], "at least one modality"),
    ],
)
def test_unusable_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultimodalNetwork({name: nn.Identity() for name in names})
