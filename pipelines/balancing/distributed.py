"""Sums, averages and copies over the processes of one training."""

from __future__ import annotations

import os

import torch
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


def make_alike(module: nn.Module) -> None:
    """Overwrite parameters and buffers of a module with those of the first process."""
    for tensor in [*module.parameters(), *module.buffers()]:
        broadcast(tensor)


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


def local_rank() -> int:
    """Number of this process among those of ``torchrun`` on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def device_of(rank: int) -> torch.device:
    """The GPU of a process, or the CPU where there is none."""
    return torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")


def join() -> None:
    """Join the processes that ``torchrun`` started: NCCL between GPUs, gloo between CPUs.

    Raises:
        ValueError: this process was not started by ``torchrun``.
    """
    if "RANK" not in os.environ:
        raise ValueError(
            "multi_gpu_train.json needs several processes: start it with "
            "`torchrun --standalone --nproc_per_node=N -m monai.bundle run ...`"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    """Leave the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()
