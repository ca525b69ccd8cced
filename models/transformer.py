"""The transformer network: one encoder per sequence of feature vectors, and their fusion."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .multimodal import MultimodalNetwork


class TransformerNetwork(MultimodalNetwork):
    """A transformer encoder per modality, a transformer that fuses them, a residual head.

    The network of the CGGM paper for classification and regression (section 4.2). Where the paper
    is silent, the defaults are those of the authors' scripts, with one dropout where they have
    three. Inputs are a mapping from modality to ``(values, lengths)``: values of shape (B, T, D)
    and how many steps of each sample are real, shape (B,). A length of 0 says that a sample lacks
    the modality; a modality that is not in the mapping is lacking for all. Padded steps count for
    nothing: a sample gives the same prediction alone and in any batch.

    Args:
        widths: width D of the feature vectors of each modality, in the order of the modalities.
        outputs: number of classes, or 1 for a regression.
        width: common width inside, a multiple of 2 and of ``heads``.
        heads: attention heads.
        layers: transformer layers of each encoder.
        fusion_layers: transformer layers of the fusion.
        dropout: inside the transformers (attention, feed-forward and residual).
        embedding_dropout: on the projected inputs of each encoder.
        output_dropout: inside the residual head.

    Raises:
        ValueError: sizes that do not fit together.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        outputs: int,
        *,
        width: int = 40,
        heads: int = 5,
        layers: int = 4,
        fusion_layers: int = 2,
        dropout: float = 0.15,
        embedding_dropout: float = 0.2,
        output_dropout: float = 0.1,
    ) -> None:
        if width % 2 or width % heads:
            raise ValueError(f"width is {width}; it must be a multiple of 2 and of heads, {heads}")
        super().__init__(
            {
                name: FeatureEncoder(
                    inputs,
                    width,
                    heads=heads,
                    layers=layers,
                    dropout=dropout,
                    embedding_dropout=embedding_dropout,
                )
                for name, inputs in widths.items()
            }
        )
        self.heads = heads
        self.fusion = TokenTransformer(width, heads=heads, layers=fusion_layers, dropout=dropout)
        self.residual = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(output_dropout), nn.Linear(width, width)
        )
        self.head = nn.Linear(width, outputs)

    def encode(self, inputs: dict[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
        """Give the features h_i of every modality in `inputs`: (B, T, width), lengths (B,)."""
        for name in inputs:
            if name not in self.modalities:
                raise ValueError(f"no modality is called '{name}'; it has {self.modalities}")
        features: dict[str, tuple[Tensor, Tensor]] = {}
        for name, encoder in self.encoders.items():
            if name in inputs:
                features[name] = encoder(inputs[name])
        return features

    def fuse(self, features: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Give the prediction, shape (B, outputs), from the features of `encode`."""
        if len(features) == 0:
            raise ValueError("at least one modality must be present, got none")
        steps: list[Tensor] = []
        padded: list[Tensor] = []
        for name in self.modalities:
            if name in features:
                values, lengths = features[name]
                steps.append(values)
                padded.append(padding_mask(lengths, values.shape[1]))
        token = self.fusion(torch.cat(steps, dim=1), torch.cat(padded, dim=1))
        return self.head(token + self.residual(token))

    @torch.jit.unused
    def presence(self, inputs: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Tell which modalities each sample has, those of a length above 0; bool, (B, M)."""
        nothing = torch.zeros_like(next(iter(inputs.values()))[1])
        lengths = [inputs[name][1] if name in inputs else nothing for name in self.modalities]
        return torch.stack(lengths, dim=1) > 0

    def forward(self, inputs: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Predict from ``(values, lengths)`` by modality; logits or values, (B, outputs)."""
        return self.fuse(self.encode(inputs))


class FeatureEncoder(nn.Module):
    """Projection to a common width, sinusoidal positions, pre-norm transformer layers: phi_i.

    The inputs are standardized with ``mean`` and ``std``, buffers that are 0 and 1 until
    :meth:`standardize` fills them and that belong to the weights.

    Args:
        inputs: width of the feature vectors.
        width: width inside and of the output.
        heads: attention heads.
        layers: transformer layers.
        dropout: inside the layers.
        embedding_dropout: in front of them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        heads: int,
        layers: int,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.inputs = inputs
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.projection = nn.Linear(inputs, width)
        self.dropout = nn.Dropout(embedding_dropout)
        self.transformer = transformer_layers(width, heads=heads, layers=layers, dropout=dropout)

    def standardize(self, mean: Tensor, std: Tensor) -> None:
        """Take the statistics of the training inputs, shape (inputs,) each; std above 0."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Encode sequences.

        Args:
            inputs: values (B, T, inputs), and the length of each sample (B,), 0 where absent.

        Returns:
            Features (B, T, width), zeros at padded steps, and the lengths.
        """
        values, lengths = inputs
        if values.ndim != 3 or values.shape[2] != self.inputs:
            raise ValueError(
                f"the encoder takes values of shape (B, T, {self.inputs}), got {values.shape}"
            )
        padded = padding_mask(lengths, values.shape[1])
        # A padded step may hold anything; only zeros are certain to stay finite below.
        values = values.masked_fill(padded.unsqueeze(2), 0.0)
        hidden = self.projection((values - self.mean) / self.std) * math.sqrt(self.width)
        hidden = self.dropout(hidden + positions(hidden))
        # Attention over nothing is not a number: an absent sequence attends to its first step.
        visible = padding_mask(lengths.clamp(min=1), values.shape[1])
        hidden = self.transformer(hidden, src_key_padding_mask=visible)
        return hidden.masked_fill(padded.unsqueeze(2), 0.0), lengths


class TokenTransformer(nn.Module):
    """Transformer whose output is one learned token that attends to all steps.

    Args:
        width: width of steps and token.
        heads: attention heads.
        layers: transformer layers.
        dropout: inside the layers.
    """

    def __init__(self, width: int, *, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, width) / math.sqrt(width))
        self.transformer = transformer_layers(width, heads=heads, layers=layers, dropout=dropout)

    def forward(self, steps: Tensor, padded: Tensor) -> Tensor:
        """Summarize steps (B, T, width), of which those `padded` (B, T) do not count.

        Returns:
            The token, shape (B, width).
        """
        hidden, mask = self.with_token(steps, padded)
        return self.transformer(hidden, src_key_padding_mask=mask)[:, 0]

    def with_token(self, steps: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Put the token in front of the steps and of what tells which of them do not count."""
        token = self.token.expand(steps.shape[0], 1, -1)
        return torch.cat([token, steps], dim=1), F.pad(padded, [1, 0], value=False)


def transformer_layers(
    width: int, *, heads: int, layers: int, dropout: float
) -> nn.TransformerEncoder:
    """Build torch's pre-norm transformer encoder (Vaswani et al. 2017), feed-forward 4x wide."""
    layer = nn.TransformerEncoderLayer(
        width,
        heads,
        dim_feedforward=4 * width,
        dropout=dropout,
        batch_first=True,
        norm_first=True,
    )
    encoder = nn.TransformerEncoder(
        layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
    )
    # torch copies one layer, so that all would start with the same weights.
    for parameter in encoder.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return encoder


def padding_mask(lengths: Tensor, steps: int) -> Tensor:
    """Tell which of `steps` steps lie behind each sample's length, bool of shape (B, steps)."""
    return torch.arange(steps, device=lengths.device).unsqueeze(0) >= lengths.unsqueeze(1)


def positions(hidden: Tensor) -> Tensor:
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5) for (B, T, W), shape (T, W)."""
    steps, width = hidden.shape[1], hidden.shape[2]
    half = torch.arange(width // 2, device=hidden.device, dtype=torch.float32)
    rates = torch.exp(half * (-2 * math.log(10000.0) / width))
    angles = torch.arange(steps, device=hidden.device).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).to(hidden.dtype)
