"""Vision models of timm."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import create_transform, resolve_model_data_config  # pyright: ignore
from torch import Tensor, nn

from ...data.errors import InputError, nearest
from ...data.files import digest_of
from .media import first_line
from .network import Network, check_class_token
from .options import Options
from .pictures import PictureEncoder


class TimmEncoder(PictureEncoder):
    """A timm model; features are those before its classifier."""

    def __init__(self, model: str, options: Options, kind: str = "image") -> None:
        name = f"timm:{model}"
        net: Any = _create(model, options.weights)
        self.prefix = int(getattr(net, "num_prefix_tokens", 0))
        check_class_token(options.pooling_of(kind), self.prefix, name)
        config = resolve_model_data_config(net)
        for key, value in (("mean", options.mean), ("std", options.std)):
            if value:
                config[key] = tuple(value) * (3 // len(value))
        self.transform: Any = create_transform(**config, is_training=False)
        revision = digest_of(options.weights) if options.weights else _digest(net)
        network = Network(_Features(net), options.device, options.precision)
        versions = {"timm": timm.__version__}
        super().__init__(kind, name, f"sha256:{revision}", network, options, versions)
        self.about["mean"] = list(config["mean"])
        self.about["std"] = list(config["std"])
        self.try_out()

    def prepare(self, image: Image.Image) -> Tensor:
        """See :class:`.PictureEncoder`."""
        return self.transform(image)


class _Features(nn.Module):
    """Gives what comes before the classifier, with channels at the same place for all models."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net
        self.channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, pixel_values: Tensor) -> Tensor:
        features = self.net.forward_features(pixel_values)
        return features.movedim(-1, 1) if features.ndim == 4 and self.channels_last else features


def _create(name: str, weights: str | None) -> nn.Module:
    if not timm.is_model(name):
        raise InputError(f"timm has no model {name!r}{nearest(name, timm.list_models(), 3, 0.0)}")
    if weights is not None:
        net = timm.create_model(name)
        _fill(net, _read_weights(Path(weights)), weights)
        return net
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # of the network, of whichever library carries it
        raise InputError(
            f"the weights of timm's {name} are not on this machine and cannot be downloaded "
            f"({first_line(error)}): fetch them on a connected machine and pass the file as "
            "--weights"
        ) from error


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read tensors, and nothing but tensors."""
    if not path.is_file():
        raise InputError(f"there are no weights in {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"the weights {path} cannot be read ({first_line(error)})") from error
    except Exception as error:  # UnpicklingError, whose text is several sentences of advice
        raise InputError(
            f"the weights {path} hold more than tensors, or are damaged; they are not loaded, "
            "since a pickle can run code: save them as safetensors"
        ) from error
    for key in ("state_dict_ema", "state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"the weights {path} are no table of tensors by name")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _fill(net: Any, weights: Mapping[str, Tensor], where: str) -> None:
    """Load weights by name, or, when all shapes agree one by one, in their order."""
    own = net.state_dict()
    head = net.pretrained_cfg.get("classifier") or "classifier"
    heads = tuple(f"{name}." for name in ([head] if isinstance(head, str) else head))
    needed = [n for n in own if not n.startswith(heads) and not n.endswith("num_batches_tracked")]
    wrong = [n for n in needed if n not in weights or weights[n].shape != own[n].shape]
    if not wrong:
        net.load_state_dict({n: v for n, v in weights.items() if n in needed}, strict=False)
        return
    # Ports of a model often rename its tensors and keep their order.
    if [v.shape for v in weights.values()] == [v.shape for v in own.values()]:
        net.load_state_dict(dict(zip(own, weights.values(), strict=True)))
        return
    raise InputError(
        f"the weights {where} are of another model: {len(wrong)} of {len(needed)} tensors, such as "
        f"{wrong[0]}, are missing or of another shape"
    )


def _digest(net: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
