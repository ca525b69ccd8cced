"""What does a model of timm make of images?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import create_transform, resolve_model_data_config  # pyright: ignore
from torch import Tensor, nn

from ...data.errors import InputError
from .encoders import common_about, probe
from .hub import sha256
from .media import first_line, read_image
from .network import Network, check_class_token, flat, pooled, stacked
from .options import Options


class TimmEncoder:
    """A timm model, see :class:`encoders.Encoder`; features are those before its classifier."""

    def __init__(self, model: str, options: Options, kind: str = "image") -> None:
        self.kind = kind
        self.name = f"timm:{model}"
        self.pooling = options.pooling_of(kind)
        self.batch_size = options.batch_size_of(kind)
        net: Any = _create(model, options.weights)
        self.prefix = int(getattr(net, "num_prefix_tokens", 0))
        check_class_token(self.pooling, self.prefix, self.name)
        config = resolve_model_data_config(net)
        for name, value in (("mean", options.mean), ("std", options.std)):
            if value:
                config[name] = tuple(value) * (3 // len(value))
        self.transform: Any = create_transform(**config, is_training=False)
        if options.weights is None:
            revision = f"sha256:{_digest(net)}"
        else:
            revision = f"sha256:{sha256([Path(options.weights)])}"
        self.network = Network(_Features(net), options.device, options.precision)
        versions = {"timm": timm.__version__, "torch": torch.__version__}
        self.about = common_about(kind, self.name, revision, versions) | {
            "pooling": self.pooling,
            "mean": list(config["mean"]),
            "std": list(config["std"]),
            "precision": self.network.precision,
            "device": self.network.device.type,
        }
        self.width = probe(self, lambda: self.prepare(Image.new("RGB", (96, 64))))

    def read(self, source: Any) -> Tensor:
        return self.prepare(read_image(Path(source)))

    def prepare(self, image: Image.Image) -> Tensor:
        """Give the pixels (3, H, W) that the network takes."""
        return self.transform(image)

    def size(self, source: Any) -> float:
        return 0.0

    def encode(self, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        hidden = [flat(self.network(batch)) for batch in stacked(inputs, self.batch_size)]
        return [pooled(one, self.pooling, self.prefix).numpy() for each in hidden for one in each]


class _Features(nn.Module):
    """Gives what comes before the classifier, with channels at the same place for all models."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net
        self.channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.net.forward_features(pixels)
        return features.movedim(-1, 1) if features.ndim == 4 and self.channels_last else features


def _create(name: str, weights: str | None) -> nn.Module:
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), 3, 0.0)
        raise InputError(f"timm has no model {name!r}; did you mean {' or '.join(close)}?")
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
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"the weights {path} cannot be read ({first_line(error)})") from error
    except Exception as error:  # UnpicklingError, whose text is several sentences of advice
        raise InputError(
            f"the weights {path} hold more than tensors, or are damaged; they are not loaded, "
            "since a pickle can run code: save them as safetensors"
        ) from error
    for key in ("state_dict_ema", "state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError(f"the weights {path} are no table of tensors by name")
    return {name.removeprefix("module."): value for name, value in found.items()}


def _fill(net: Any, given: Mapping[str, Tensor], where: str) -> None:
    """Load weights by name, or, when all shapes agree one by one, in their order."""
    own = net.state_dict()
    head = net.pretrained_cfg.get("classifier") or "classifier"
    heads = tuple(f"{name}." for name in ([head] if isinstance(head, str) else head))
    needed = [n for n in own if not n.startswith(heads) and not n.endswith("num_batches_tracked")]
    wrong = [n for n in needed if n not in given or given[n].shape != own[n].shape]
    if not wrong:
        net.load_state_dict({n: v for n, v in given.items() if n in needed}, strict=False)
        return
    # Ports of a model often rename its tensors and keep their order.
    if [v.shape for v in given.values()] == [v.shape for v in own.values()]:
        net.load_state_dict(dict(zip(own, given.values(), strict=True)))
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
