"""Folders of models, on this machine or from the Hugging Face hub, and their version."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ...data.errors import InputError
from ...data.files import digest_of

_SECONDS = 10
_DESCRIPTIONS = ["*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine.

    Args:
        name: as it is called in tables and files: the name on the hub, or that of the folder.
        path: the folder with its configuration and weights.
        revision: commit on the hub, or "sha256:" and the checksum of the weights.
    """

    name: str
    path: Path
    revision: str


def find_model(name: str, revision: str | None = None) -> ModelFolder:
    """Find a model: a folder, else the cache of downloads, else the hub, from which it is taken.

    Args:
        name: a folder, or a name on the Hugging Face hub.
        revision: branch, tag or commit on the hub.

    Raises:
        InputError: it is in none of these, or lacks its configuration or weights.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"--revision {revision} has no meaning for the folder {name}")
        _check_folder(folder)
        revision = f"sha256:{digest_of(*weight_files(folder))}"
        return ModelFolder(folder.resolve().name, folder, revision)
    if name.count("/") > 1 or name[:1] in ("/", ".", "~", os.sep):
        raise InputError(f"there is no model in {name}: no such folder")
    cached = _cached(name, revision)
    path = cached if cached is not None else _downloaded(name, revision)
    _check_folder(path)
    return ModelFolder(name, path, path.name)


def weight_files(folder: Path) -> list[Path]:
    """List the files with a model's weights: safetensors where there are any, else pickled ones."""
    safe = sorted(folder.glob("model*.safetensors"))
    return safe or sorted(folder.glob("pytorch_model*.bin"))


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no model: config.json is missing; pass the folder that "
            "save_pretrained or 'hf download' made"
        )
    if not weight_files(folder):
        raise InputError(
            f"{folder} holds no weights for PyTorch (model.safetensors or pytorch_model.bin)"
        )


def _cached(name: str, revision: str | None) -> Path | None:
    try:
        path = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except HFValidationError as error:
        raise InputError(
            f"{name!r} is neither a folder nor a name on the Hugging Face hub, such as "
            "'bert-base-uncased' or 'google/vit-base-patch16-224'"
        ) from error
    except OSError:
        return None
    return path if (path / "config.json").is_file() and weight_files(path) else None


def _downloaded(name: str, revision: str | None) -> Path:
    """Take a model from the hub, at the one commit that the revision stands for now."""
    try:
        # This fails at once where there is no network; a download would try for a minute.
        info = HfApi().model_info(name, revision=revision, timeout=_SECONDS)
        files = [file.rfilename for file in info.siblings or []]
        safe = any(f.startswith("model") and f.endswith(".safetensors") for f in files)
        weights = "model*.safetensors" if safe else "pytorch_model*.bin"
        return Path(
            snapshot_download(name, revision=info.sha, allow_patterns=[*_DESCRIPTIONS, weights])
        )
    except GatedRepoError as error:
        raise InputError(
            f"the model {name} is given only to those who accept its terms: accept them on its "
            "page, log in with 'hf auth login', then run this again"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        what = name if revision is None else f"{name} at revision {revision}"
        raise InputError(f"the Hugging Face hub has no model {what}; check the name") from error
    except Exception as error:  # of the network, of whichever library carries it
        raise InputError(
            f"the model {name} is not on this machine (tried as a folder, and the cache of "
            f"downloads) and the Hugging Face hub cannot be reached: run 'hf download {name} "
            f"--local-dir {Path(name).name}' on a connected machine, copy the folder here and pass "
            "it as --model"
        ) from error
