"""Batch normalization of features that are one value per channel and image."""

from torch import Tensor, nn
from torch.nn import functional as F


class PooledBatchNorm(nn.Module):
    """Batch normalization after global pooling that can also train on a batch of one.

    One value per channel has no variance and torch refuses it; the running statistics stand in.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, pooled: Tensor) -> Tensor:
        """Normalize means over whole images, shape (B, channels, 1, 1)."""
        if self.training and pooled.shape[0] == 1:
            norm = self.norm
            mean, variance = norm.running_mean, norm.running_var
            return F.batch_norm(pooled, mean, variance, norm.weight, norm.bias, eps=norm.eps)
        return self.norm(pooled)
