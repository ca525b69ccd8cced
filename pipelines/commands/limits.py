"""The range of each setting of a bundle, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...data.device import device_named
from ...data.errors import InputError


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_range(value: Any) -> bool:
    ends = _listed(value)
    return value is None or (len(ends) == 2 and all(map(_is_number, ends)) and ends[0] < ends[1])


def _is_text_or_list(value: Any) -> bool:
    return all(isinstance(part, str) for part in _listed(value))


Limit = tuple[str, Callable[[Any], bool]]

COUNT: Limit = ("a whole number, 1 or more", lambda v: isinstance(v, int) and v >= 1)
NUMBER: Limit = ("a whole number, 0 or more", lambda v: isinstance(v, int) and v >= 0)
POSITIVE: Limit = ("a number above 0", lambda v: _is_number(v) and v > 0)
SHARE: Limit = ("a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1)

BELOW_ONE: Limit = ("a number from 0 up to, not including, 1", lambda v: SHARE[1](v) and v < 1)
FRACTION: Limit = ("a number above 0 and below 1", lambda v: _is_number(v) and 0 < v < 1)

TEXTS = ("dataset_dir", "cache_dir", "output_dir", "split_file", "weights")
NAMES: Limit = (
    "a list of names such as \"['text']\"",
    lambda v: v is None or (isinstance(v, list | tuple) and all(isinstance(n, str) for n in v)),
)

LIMITS: dict[str, Limit] = {
    **dict.fromkeys(("modalities", "sequences"), NAMES),
    **dict.fromkeys(
        ("fold", "test_fold"), ("a whole number, 0 or more", lambda v: v is None or NUMBER[1](v))
    ),
    "limits": ("two numbers in rising order, such as \"[-3, 3]\", or '$None'", _is_range),
    **dict.fromkeys(
        ("epochs", "batch_size", "accumulation_steps", "val_interval", "channels", "draws"), COUNT
    ),
    **dict.fromkeys(("slices_per_case", "patches_per_case", "lr_step"), COUNT),
    **dict.fromkeys(("width", "heads", "layers", "fusion_layers"), COUNT),
    "classifier_layers": ("1 or 2", lambda v: v in (1, 2)),
    **dict.fromkeys(("dropout", "embedding_dropout", "output_dropout"), BELOW_ONE),
    **dict.fromkeys(("val_fraction", "test_fraction"), FRACTION),
    "lr_gamma": ("a number above 0, at most 1", lambda v: _is_number(v) and 0 < v <= 1),
    "max_length": (
        "'$None', a whole number above 0, or such numbers by modality",
        lambda v: (
            v is None or all(COUNT[1](n) for n in (v.values() if isinstance(v, dict) else [v]))
        ),
    ),
    **dict.fromkeys(("modality_dropout", "dropout_complete"), SHARE),
    "missing": (
        "'$None', or numbers from 0 to 1 by modality, such as \"{t1ce: 0.5}\"",
        lambda v: v is None or (isinstance(v, dict) and all(map(SHARE[1], v.values()))),
    ),
    **dict.fromkeys(
        ("num_workers", "warmup_epochs", "seed", "split_seed", "dropout_ramp", "neighbors"), NUMBER
    ),
    **dict.fromkeys(("lr", "classifier_lr"), POSITIVE),
    **dict.fromkeys(("momentum", "start_factor", "final_factor"), SHARE),
    **dict.fromkeys(
        ("weight_decay", "smallest_et"), ("a number, 0 or more", lambda v: _is_number(v) and v >= 0)
    ),
    "ckpt_path": ("the path of weights, or a list of such paths in quotes", _is_text_or_list),
    "ema": BELOW_ONE,
    "outputs": (
        "'classes', 'regions' or 'cavity'",
        lambda v: v in ("classes", "regions", "cavity"),
    ),
    "flips": ("True or False", lambda v: isinstance(v, bool)),
    "max_norm": ("a number above 0, or '$None'", lambda v: v is None or POSITIVE[1](v)),
    "size": (
        "a multiple of 16, or two in a list such as [160, 192]",
        lambda v: all(isinstance(s, int) and s > 0 and s % 16 == 0 for s in _listed(v)),
    ),
    "patch_size": (
        "a multiple of 8, or '$None' for slices",
        lambda v: v is None or (isinstance(v, int) and v > 0 and v % 8 == 0),
    ),
    "rates": ("a list of three whole numbers", lambda v: len(_listed(v)) == 3),
    "class_weights": (
        "a list of four numbers, or of five with outputs cavity",
        lambda v: len(_listed(v)) in (4, 5),
    ),
    "part": ("'train', 'val', 'test' or 'all'", lambda v: v in ("train", "val", "test", "all")),
}


def check_limits(name: str, value: Any) -> None:
    """Refuse a value that the setting of this name cannot have.

    Raises:
        InputError: it is out of range, or a device that this machine does not have.
    """
    if name in TEXTS and not isinstance(value, str | None):
        raise InputError(
            f"""'{name}' is {value!r}; it must be a text: pass --{name} "'{value}'\""""
        )
    if name in LIMITS and not LIMITS[name][1](value):
        raise InputError(f"'{name}' is {value!r}; it must be {LIMITS[name][0]}")
    if name == "device" and isinstance(value, str):
        device_named(value)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
