"""What several processes of one training run must agree on."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn


def is_distributed() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_main_process() -> bool:
    """Whether this process is the one that writes files and talks."""
    return not is_distributed() or dist.get_rank() == 0


def broadcast(tensor: Tensor) -> None:
    """Overwrite a tensor with that of the first process."""
    if is_distributed():
        dist.broadcast(tensor.data, src=0)


def summed_over_ranks(values: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place.

    Scores are summed before factors are formed from them: factors of each rank's own would let
    the replicas drift apart.
    """
    if is_distributed():
        dist.all_reduce(values)
    return values


def average_gradients(module: nn.Module) -> None:
    """Average the gradients of a module that is not inside DistributedDataParallel."""
    if not is_distributed():
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad.div_(dist.get_world_size())
