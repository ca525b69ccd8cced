"""A network on a device at a precision, and how its features are pooled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...data.device import device_named
from ...data.errors import InputError
from .media import first_line

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Parts that do not take part in what is stored.
_NOT_NEEDED = ("pooler", "masked_spec_embed", "decoder", "lm_head", "classifier")
_CLASS_TOKENS = ("cls_token", "class_embedding", "distillation_token")


class Network:
    """A network on a device at a precision; called with its inputs it gives its last features.

    Args:
        module: whose output is a tensor, or has `last_hidden_state`.
        device: "auto", "cpu", "cuda", …
        precision: one of :data:`options.PRECISIONS`.

    Raises:
        InputError: there is no such device, or it cannot work at this precision.
    """

    def __init__(self, module: nn.Module, device: str, precision: str) -> None:
        self.device = device_named(device)
        self.precision = pick_precision(precision, self.device)
        module = module.float().eval().requires_grad_(False)
        if self.precision == "int8":
            module = _quantized(module)
        self.module = module.to(self.device)

    @torch.inference_mode()
    def __call__(self, *args: Tensor, **inputs: Tensor) -> Tensor:
        """Give float32 features on the CPU: (B, T, D), or (B, D, H, W) of convolutions."""
        args = tuple(value.to(self.device) for value in args)
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        with self._autocast():
            output = self.module(*args, **inputs)
        features = output if isinstance(output, Tensor) else output.last_hidden_state
        return features.float().cpu()

    def _autocast(self) -> Any:
        dtype = _AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)


def pick_precision(name: str, device: torch.device) -> str:
    """Give the precision of a name on a device.

    Raises:
        InputError: the device does not have it.
    """
    if name == "auto":
        return "float16" if device.type == "cuda" else "float32"
    if name == "int8" and device.type != "cpu":
        raise InputError(f"precision int8 is for the CPU, not for {device}; use float16")
    return name


def load_module(folder: Path, kind: str) -> tuple[nn.Module, Any]:
    """Load the encoder for a kind of input from a folder; runs no code that lies in it.

    Returns:
        The encoder (of models with a decoder or a second tower, only the part for this input), and
        the configuration of the whole model.

    Raises:
        InputError: its files are damaged, of another library, or lack tensors of the encoder.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it lists missing tensors; which of them matter is said below
    try:
        # From the folder alone, and explicitly without its code: the default would ask.
        model, info = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # of safetensors, pickle, JSON, the model's own checks
        raise InputError(
            f"the model in {folder} cannot be loaded ({first_line(error)}); it may be damaged, cut "
            "short, or need a newer transformers"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    missing = [n for n in sorted(info["missing_keys"]) if not any(w in n for w in _NOT_NEEDED)]
    if missing:
        raise InputError(
            f"the weights in {folder} lack {len(missing)} tensors of the model, such as "
            f"{missing[0]}; its features would be random: take the complete model"
        )
    config = model.config
    tower = {"text": "text_model", "image": "vision_model"}.get(kind, "")
    if hasattr(model, "text_model") and hasattr(model, tower):
        return getattr(model, tower), config
    return (model.get_encoder() if config.is_encoder_decoder else model), config


def prefix_of(module: nn.Module) -> int:
    """Count the tokens that come before the patches: class tokens and registers."""
    names = [name for name, _ in module.named_parameters()]
    count = sum(any(n.endswith(token) for n in names) for token in _CLASS_TOKENS)
    registers = getattr(getattr(module, "config", None), "num_register_tokens", 0)
    return count + (registers or 0)


def flat(features: Tensor) -> Tensor:
    """Make (B, T, D) of the map (B, D, H, W) of a convolutional network."""
    return features.flatten(2).transpose(1, 2) if features.ndim == 4 else features


def pooled(tokens: Tensor, pooling: str, prefix: int = 0) -> Tensor:
    """Choose from the vectors (T, D) of one input: all, their mean, or the first.

    Args:
        tokens: without padding.
        pooling: "tokens", "mean" or "cls".
        prefix: how many of the first vectors stand for no place of the input; only "cls" uses them.
    """
    if pooling == "cls":
        return tokens[:1]
    own = tokens[prefix:]
    return own.mean(0, keepdim=True) if pooling == "mean" else own


def check_class_token(pooling: str, prefix: int, name: str) -> None:
    """Refuse "cls" for a model without a class token.

    Raises:
        InputError: it has none.
    """
    if pooling == "cls" and not prefix:
        raise InputError(f"{name} has no class token; use --pooling mean")


def stacked(inputs: Sequence[Tensor], size: int) -> list[Tensor]:
    """Split inputs of one shape into batches."""
    return [torch.stack(list(inputs[i : i + size])) for i in range(0, len(inputs), size)]


def _quantized(module: nn.Module) -> nn.Module:
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    # One scale per row of a weight: with one for all of it the features differ twice as much.
    layers = {
        name: per_channel_dynamic_qconfig
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it moves to another package some day
        return quantize_dynamic(module, layers, dtype=torch.qint8, inplace=True)
