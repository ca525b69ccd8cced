"""Padding, absent modalities and the order of steps in the transformer."""

import copy

import pytest
import torch
from torch import Tensor

from cggm.models import TransformerNetwork
from cggm.models.transformer import positions

WIDTHS = {"text": 6, "audio": 3, "vision": 4}
Inputs = dict[str, tuple[Tensor, Tensor]]


@pytest.fixture
def network() -> TransformerNetwork:
    torch.manual_seed(0)
    return TransformerNetwork(WIDTHS, 4, width=20, heads=2, layers=2, fusion_layers=1).eval()


@pytest.fixture
def inputs() -> Inputs:
    generator = torch.Generator().manual_seed(1)
    lengths = {"text": [5, 1, 3], "audio": [7, 9, 2], "vision": [4, 4, 4]}
    return {
        name: (
            torch.randn(3, max(steps), WIDTHS[name], generator=generator),
            torch.tensor(steps),
        )
        for name, steps in lengths.items()
    }


def one(inputs: Inputs, sample: int) -> Inputs:
    """One sample alone, without any padding."""
    return {
        name: (values[sample : sample + 1, : int(lengths[sample])], lengths[sample : sample + 1])
        for name, (values, lengths) in inputs.items()
    }


def test_a_padded_batch_gives_what_each_sample_gives_alone(
    network: TransformerNetwork, inputs: Inputs
) -> None:
    whole = network(inputs)
    alone = torch.cat([network(one(inputs, sample)) for sample in range(3)])
    assert whole.shape == (3, 4)
    torch.testing.assert_close(whole, alone)
    assert not torch.allclose(whole[0], whole[1], atol=1e-3), "samples do differ"


def test_what_stands_in_padded_steps_does_not_matter(
    network: TransformerNetwork, inputs: Inputs
) -> None:
    expected = network(inputs)
    for name, (values, lengths) in inputs.items():
        longer = torch.nn.functional.pad(values, (0, 0, 0, 5), value=float("nan"))
        for sample, length in enumerate(lengths.tolist()):
            longer[sample, length:] = float("nan")
        inputs[name] = (longer, lengths)
    torch.testing.assert_close(network(inputs), expected)


def test_padded_steps_get_no_gradient(network: TransformerNetwork, inputs: Inputs) -> None:
    values, lengths = inputs["audio"]
    inputs["audio"] = (values.requires_grad_(), lengths)
    network(inputs).square().sum().backward()
    assert values.grad is not None
    for sample, length in enumerate(lengths.tolist()):
        assert values.grad[sample, :length].abs().min() > 0
        assert not values.grad[sample, length:].any()


def test_length_zero_means_that_the_sample_lacks_the_modality(
    network: TransformerNetwork, inputs: Inputs
) -> None:
    values, lengths = inputs["text"]
    inputs["text"] = (values, torch.tensor([5, 0, 3]))
    lacking = network(inputs)
    without = network({name: inputs[name] for name in ("audio", "vision")})
    torch.testing.assert_close(lacking[1], without[1])
    inputs["text"] = (values, lengths)
    torch.testing.assert_close(lacking[[0, 2]], network(inputs)[[0, 2]])
    assert not torch.allclose(lacking[1], network(inputs)[1], atol=1e-3)


def test_a_sample_without_anything_is_finite(network: TransformerNetwork, inputs: Inputs) -> None:
    nothing = {name: (values, torch.zeros_like(n)) for name, (values, n) in inputs.items()}
    network.train()
    network(nothing).sum().backward()
    assert network(nothing).isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_any_subset_of_modalities_predicts(network: TransformerNetwork, inputs: Inputs) -> None:
    alone = {name: network({name: inputs[name]}) for name in inputs}
    assert all(prediction.shape == (3, 4) for prediction in alone.values())
    assert not torch.allclose(alone["text"], alone["audio"], atol=1e-3)
    with pytest.raises(ValueError, match="at least one modality must be present, got none"):
        network({})
    with pytest.raises(ValueError, match=r"no modality is called 'video'; it has \['text'"):
        network({"video": inputs["vision"]})


def test_the_order_in_which_modalities_are_given_does_not_matter(
    network: TransformerNetwork, inputs: Inputs
) -> None:
    reverse = dict(reversed(list(inputs.items())))
    assert torch.equal(network(reverse), network(inputs))
    assert list(network.encode(reverse)) == network.modalities == list(WIDTHS)


def test_the_order_of_steps_matters(network: TransformerNetwork, inputs: Inputs) -> None:
    values, lengths = inputs["vision"]
    turned = inputs | {"vision": (values.flip(1), lengths)}
    assert not torch.allclose(network(turned), network(inputs), atol=1e-4)


def test_each_modality_has_its_own_projection(network: TransformerNetwork, inputs: Inputs) -> None:
    """The authors' Food-101 network sends texts through the projection of the images."""
    network(inputs).sum().backward()
    for name in WIDTHS:
        weight = network.get_parameter(f"encoders.{name}.projection.weight")
        assert weight.shape == (20, WIDTHS[name])
        assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_layers_do_not_start_with_the_same_weights(network: TransformerNetwork) -> None:
    weights = [
        network.get_parameter(f"encoders.text.transformer.layers.{i}.linear1.weight")
        for i in (0, 1)
    ]
    assert not torch.equal(*weights)


def test_standardizing_undoes_a_change_of_units(
    network: TransformerNetwork, inputs: Inputs
) -> None:
    other = copy.deepcopy(network)
    mean, std = torch.tensor([100.0, -5.0, 0.0]), torch.tensor([1000.0, 0.1, 3.0])
    other.encoders["audio"].standardize(mean, std)
    values, lengths = inputs["audio"]
    changed = inputs | {"audio": (values * std + mean, lengths)}
    torch.testing.assert_close(other(changed), network(inputs), rtol=1e-3, atol=1e-4)
    assert "encoders.audio.mean" in other.state_dict(), "kept with the weights"


def test_positions_are_those_of_the_paper() -> None:
    """Vaswani et al. 2017, section 3.5: sine and cosine of t / 10000^(2k / W)."""
    table = positions(torch.zeros(1, 50, 4, dtype=torch.float64))
    t = torch.arange(50, dtype=torch.float64)
    expected = [t.sin(), t.cos(), (t / 100).sin(), (t / 100).cos()]
    torch.testing.assert_close(table, torch.stack(expected, dim=1), atol=1e-5, rtol=0)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="width is 42; it must be a multiple of 2 and of heads, 5"):
        TransformerNetwork({"text": 3}, 1, width=42, heads=5)


def test_inputs_of_another_width_are_refused(network: TransformerNetwork, inputs: Inputs) -> None:
    with pytest.raises(ValueError, match=r"takes values of shape \(B, T, 6\)"):
        network({"text": inputs["audio"]})


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_gives_the_same(network: TransformerNetwork, inputs: Inputs) -> None:
    script = torch.jit.script(network)
    torch.testing.assert_close(script(inputs), network(inputs))
    subset = {"audio": inputs["audio"]}
    torch.testing.assert_close(script(subset), network(subset))
