"""Backbones of the encoders and the weights they start from."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

LOW_LEVEL = 2  # index of the features at a quarter of the resolution, as in DeepLabV3+
LOW_STRIDE = 4

# Layers of an ImageNet classifier behind the last convolution that an encoder keeps.
_CLASSIFIER_LAYERS = ("fc.", "classifier.", "head.", "last_linear.", "conv_head.", "bn2.")
_WRAPPERS = ("module.", "encoder.", "backbone.", "model.")
_FILE_ENDINGS = (".pt", ".pth", ".bin", ".safetensors")


def build_backbone(name: str, weights: str | None, channels: int = 1) -> tuple[nn.Module, int]:
    """Build a backbone of five levels and give the stride of its last level.

    The stride is 16 (the last stage dilated, as in DeepLabV3+), or 32 where the backbone cannot
    be dilated.

    Args:
        name: an encoder of segmentation-models-pytorch, or of timm as "tu-<name>".
        weights: None for a random start, a name such as "imagenet" to download, or the path of
            a state dict.
        channels: of its input.

    Raises:
        ValueError: when the name is unknown, the backbone has no features at a quarter of the
            resolution, or the weights cannot be had or do not fit.
    """
    _check_name(name)
    path = None if weights is None else _local_file(weights)
    backbone = _build(name, None if path else weights, channels)
    stride = _last_stride(name, backbone, channels)
    if path is not None:
        _load(backbone, path, f"encoder {name!r}", channels)
    return backbone, stride


def _check_name(name: str) -> None:
    known = [*smp.encoders.get_encoder_names(), *(f"tu-{model}" for model in timm.list_models())]
    if name.partition(".")[0] not in known and name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["resnet18", "tu-resnet10t"]
        raise ValueError(f"no encoder is called {name!r}; nearest names: {', '.join(near)}")


def _build(name: str, weights: str | None, channels: int) -> nn.Module:
    # segmentation-models-pytorch knows timm's weights only as "there are some".
    wanted = True if weights is not None and name.startswith("tu-") else weights
    for stride in (16, 32):
        try:
            return smp.encoders.get_encoder(
                name, in_channels=channels, depth=5, weights=wanted, output_stride=stride
            )
        except KeyError as error:
            raise ValueError(f"encoder {name!r} has no weights {weights!r}: {error}") from error
        except (AssertionError, TypeError, ValueError) as error:  # each family refuses its own way
            problem = error
        except Exception as error:
            if weights is None:
                raise
            raise ValueError(
                f"weights {weights!r} of encoder {name!r} could not be downloaded "
                f"({type(error).__name__}); give the path of a state dict instead"
            ) from error
    raise ValueError(f"encoder {name!r} cannot serve as a backbone here: {problem}") from problem


def _last_stride(name: str, backbone: nn.Module, channels: int) -> int:
    """Find the stride by running one image, which also refuses what cannot be a backbone."""
    side = 64
    backbone.eval()
    try:
        with torch.no_grad():
            levels = backbone(torch.zeros(1, channels, side, side))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(f"encoder {name!r} takes no image of {side}x{side}: {error}") from error
    backbone.train()
    low, high = side // levels[LOW_LEVEL].shape[-1], side // levels[-1].shape[-1]
    if low != LOW_STRIDE:
        raise ValueError(f"encoder {name!r} has its second level at stride {low}, not {LOW_STRIDE}")
    return high


def _local_file(weights: str) -> Path | None:
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if weights.endswith(_FILE_ENDINGS) or len(path.parts) > 1:
        raise ValueError(f"weights file {weights} does not exist")
    return None


def _load(backbone: nn.Module, path: Path, what: str, channels: int) -> None:
    """Fill a backbone from a file; layers of an ImageNet classifier are left aside."""
    expected = backbone.state_dict()
    state = _match_names(_read(path), expected)
    for key in expected.keys() & state.keys():
        shape, given = expected[key].shape, state[key].shape
        # A first convolution on colors: their sum, spread over the slices, answers to equal slices
        # as the original does to a gray image. Three slices take the places of the colors.
        if len(shape) == len(given) == 4 and shape[1] == channels != 3 == given[1]:
            gray = state[key].sum(dim=1, keepdim=True) / channels
            state[key] = gray.repeat(1, channels, 1, 1)
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    problems = {
        "missing": sorted(expected.keys() - state.keys() - counters),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape": sorted(
            key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape
        ),
    }
    if any(problems.values()):
        counts = "; ".join(
            f"{len(keys)} {kind} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
            for kind, keys in problems.items()
            if keys
        )
        raise ValueError(f"weights {path} do not fit {what}, tensors: {counts}")
    backbone.load_state_dict(state, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        raise ValueError(
            f"weights file {path} cannot be read as a state dict of tensors only: {error}"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(f"weights file {path} holds no state dict of tensors")
    return dict(content)


def _match_names(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors saved from inside another module ("encoder.conv1.weight") to their own."""
    renamed = {}
    for key, value in state.items():
        bare = key
        while bare.startswith(_WRAPPERS) and bare not in expected:
            bare = bare.partition(".")[2]
        name = bare if bare in expected or f"model.{bare}" not in expected else f"model.{bare}"
        if name in expected or not bare.startswith(_CLASSIFIER_LAYERS):
            renamed[name] = value
    return renamed
