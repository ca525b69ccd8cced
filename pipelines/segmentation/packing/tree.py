"""The folder of a packed bundle: configuration, weights, card and licenses, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import files, version
from pathlib import Path
from typing import Any

from ....data.errors import InputError, some
from ....data.files import digest_of, read_json, whole_folder, write_json, write_text
from ...handlers.checkpoint_file import Weights, description_of, files_of, save
from ..reliability import FILE, subset_table
from ..small_enhancing import smallest_et
from ..trained import complete_settings, trained_network, weights_in
from .card import card
from .export import export_torchscript, parity
from .metadata import Release, metadata

CONFIGURATION = Path(__file__).with_name("inference.template.json")
LARGE = 25 * 2**20  # bytes of a file that MONAI's model zoo does not want in git
_LARGE_FILES = "large_files.yml"
_PARITY = "docs/parity.json"


@dataclass(frozen=True)
class Model:
    """A trained network, as it lies in a file, and what lies beside it.

    Attributes:
        weights: the file.
        settings: all that makes the network, see :func:`.complete_settings`.
        description: what was written beside the weights.
        table: accuracy of every subset of the sequences, or {}.
        smallest_et: what ET has at least, in milliliters.
    """

    weights: Path
    settings: Mapping[str, Any]
    description: Mapping[str, Any]
    table: Mapping[str, Any]
    smallest_et: float


def read_model(path: Weights) -> Model:
    """Read a trained network for packing.

    Args:
        path: the output folder of a training, its folder ``models``, or the weights.

    Raises:
        InputError: there is no model, nothing says how it was built, or there are several.
    """
    first, *others = files_of(path)
    if others:
        raise InputError("several weights are given; a bundle holds one network: pack them apart")
    weights = weights_in(first)
    return Model(
        weights,
        complete_settings(weights),
        description_of(weights),
        subset_table(weights),
        smallest_et(weights),
    )


def pack(
    model: Model,
    folder: str | Path,
    bundle: str | Path,
    release: Release,
    *,
    torchscript: bool = False,
) -> None:
    """Write the tree of MONAI's bundle specification for a trained network.

    Args:
        model: from :func:`read_model`.
        folder: gets the tree; replaced when it holds an earlier one and nothing else.
        bundle: folder of the bundle that trained it: its ``metadata.json``, ``logging.conf`` and
            ``data_license.txt`` go into the tree.
        release: what only the packer knows.
        torchscript: also write ``models/model.ts``, and how far it is from the network.

    Raises:
        InputError: the weights are damaged, the export is not the network, or the folder holds
            other files or cannot be written.
    """
    network, _ = trained_network(model.weights)
    meta = read_json(Path(bundle, "metadata.json"))
    meta = metadata(meta, model.settings, model.table, release)
    with whole_folder(folder, replace=_is_packed) as tree:
        save(network.state_dict(), tree / "models" / "model.pt")
        write_json(tree / "models" / "model.json", model.description)
        if model.table:
            digest = digest_of(tree / "models" / "model.pt")
            write_json(tree / "models" / FILE, {**model.table, "weights": digest})
        write_json(tree / "configs" / "inference.json", configuration(model))
        write_json(tree / "configs" / "metadata.json", meta)
        for name, place in (("logging.conf", "configs"), ("data_license.txt", "docs")):
            text = Path(bundle, name).read_text(encoding="utf-8")
            write_text(tree / place / name, text)
        name = Path(folder).absolute().name
        write_text(tree / "docs" / "README.md", card(name, model, meta, release))
        if torchscript:
            exported = export_torchscript(network, tree / "models" / "model.ts", meta)
            image = meta["network_data_format"]["inputs"]["image"]
            rows = parity(network, exported, model.settings["sequences"], image)
            what = "largest difference of a logit between models/model.ts and the trained network"
            write_json(tree / _PARITY, {"what": what, "torchscript": rows})
        for name, text in licenses().items():
            write_text(tree / name, text)
        if listing := large_files(tree):
            write_text(tree / _LARGE_FILES, listing)


def configuration(model: Model) -> dict[str, Any]:
    """Fill in the settings of a network, and the version that its bundle needs."""
    config = read_json(CONFIGURATION)
    needed = version("cggm")
    config["needed"] |= {
        "version": needed,
        "descriptor": f"This bundle needs the Python package cggm {needed} or newer, as its "
        f"docs/README.md says: pip install 'cggm>={needed}' ({{}})",
    }
    settings = dict(model.settings)
    config["sequences"] = settings["sequences"]
    config["smallest_et"] = model.smallest_et
    config["network_def"] = {**config["network_def"], **settings, "trained": settings}
    config["network_def"]["sequences"] = "@sequences"
    return config


def licenses() -> dict[str, str]:
    """The texts that came with this package, by the name of the file."""
    names = ("LICENSE", "NOTICE")
    own = [file for file in files("cggm") or [] if file.name in names]
    return {file.name: file.read_text(encoding="utf-8") for file in own}


def large_files(tree: Path, limit: int = LARGE) -> str:
    """List files that are too large for git, as the zoo wants it; empty when none is.

    Args:
        tree: of a bundle.
        limit: in bytes.
    """
    large = sorted(f for f in tree.rglob("*") if f.is_file() and f.stat().st_size > limit)
    entries = [
        f'  - path: "{file.relative_to(tree).as_posix()}"\n'
        '    url: ""  # where you put the file; not needed while it lies here\n'
        f'    hash_val: "{digest_of(file)}"\n'
        '    hash_type: "sha256"\n'
        for file in large
    ]
    return "".join(["large_files:\n", *entries]) if entries else ""


def _is_packed(folder: Path) -> bool:
    """Whether a folder holds an earlier pack and nothing else.

    Raises:
        InputError: it holds other files.
    """
    ours = {
        "LICENSE",
        "NOTICE",
        _LARGE_FILES,
        _PARITY,
        "configs/inference.json",
        "configs/logging.conf",
        "configs/metadata.json",
        "docs/README.md",
        "docs/data_license.txt",
        "models/model.json",
        "models/model.pt",
        "models/model.ts",
        f"models/{FILE}",
    }
    found = {f.relative_to(folder).as_posix() for f in folder.rglob("*") if not f.is_dir()}
    if others := sorted(found - ours):
        raise InputError(
            f"{folder} holds files that no packed bundle has ({some(others, 3)}); choose another "
            "folder, or move them"
        )
    return True
