"""What can one modality's features predict on their own? The classifiers f_i of eq. 5."""

import torch
from torch import Tensor, nn

from .segmentation import LOW_CHANNELS, SegmentationNetwork, enlarge, join, pointwise, separable


class SegmentationClassifier(nn.Module):
    """Light decoder of one sequence's features, for training only.

    Its last layer `head` has the shape of the network's, so that the gradients of both compare
    (Guo et al., eqs. 9 to 12). It has no dropout: it draws nothing from the random stream.

    Args:
        high_channels: width of the high-level features.
        low_channels: width of the low-level features.
        channels: width in front of the last layer, the same as in the network.
        classes: number of classes.
    """

    def __init__(
        self, high_channels: int, low_channels: int, *, channels: int, classes: int
    ) -> None:
        super().__init__()
        self.high = pointwise(high_channels, LOW_CHANNELS)
        self.low = pointwise(low_channels, LOW_CHANNELS)
        self.merge = separable(2 * LOW_CHANNELS, channels)
        self.head = nn.Conv2d(channels, classes, kernel_size=1)

    def forward(
        self, features: tuple[Tensor, Tensor], size: tuple[int, int] | None = None
    ) -> Tensor:
        """Predict from the features that the sequence's encoder gave.

        Args:
            features: high-level (B, high_channels, h, w), low-level (B, low_channels, H/4, W/4).
            size: height and width of the image when it was no multiple of the network's stride
                and had to be padded; the logits are cropped to it.

        Returns:
            Logits, shape (B, classes, H, W).
        """
        high, low = features
        logits = enlarge(self.head(self.merge(join(self.high(high), self.low(low)))))
        return logits if size is None else logits[:, :, : size[0], : size[1]]


def segmentation_classifiers(network: SegmentationNetwork) -> nn.ModuleDict:
    """Build one classifier per sequence on the device and in the precision of the network.

    The random state is as before afterwards: with and without classifiers, a run sees the same
    data in the same order.

    Returns:
        Classifiers by sequence name.
    """
    weight = network.head.get_parameter("weight")
    classes, channels = weight.shape[:2]
    # The classifiers are drawn on the CPU and moved, so that no device's random state is used.
    with torch.random.fork_rng(devices=[]):
        built = {
            name: SegmentationClassifier(
                network.high_channels, network.low_channels, channels=channels, classes=classes
            )
            for name in network.modalities
        }
    return nn.ModuleDict(built).to(device=weight.device, dtype=weight.dtype)
