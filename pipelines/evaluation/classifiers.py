"""Evaluation of each modality's classifier on the test part, after training (Table 5)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from ...data.errors import InputError
from ..handlers.checkpoint_file import read

FILE = "classifiers.pt"
FOLDER = "evaluation-classifiers"


class ByClassifier(nn.Module):
    """Predicts from one modality: its encoder, then its classifier (eqs. 1 and 5).

    Args:
        network: whose encoder is meant.
        modality: the one.
        classifier: of that modality.
    """

    def __init__(self, network: nn.Module, modality: str, classifier: nn.Module) -> None:
        super().__init__()
        self.network, self.modality, self.classifier = network, modality, classifier
        # Of an image, the network encodes the channels that are present.
        modalities: Any = network.modalities
        self.present = torch.tensor([name == modality for name in modalities])

    def forward(self, inputs: Any) -> Tensor:
        """Give what the network gives: logits or values, for the same inputs."""
        encode: Any = self.network.encode
        if isinstance(inputs, Mapping):
            return self.classifier(encode({self.modality: inputs[self.modality]})[self.modality])
        features = encode(inputs, self.present.to(inputs.device))[self.modality]
        # The network pads images, and the classifier has to undo it.
        return self.classifier(features, (inputs.shape[2], inputs.shape[3]))


def evaluate_classifiers(
    train: Mapping[str, Any], evaluate: Mapping[str, Any], folder: Path, given: Mapping[str, Any]
) -> dict[str, Path]:
    """Test the classifiers that a training kept beside its network, as ``evaluate.json`` tests it.

    What was evaluated before is not done again.

    Args:
        train: content of the bundle's ``train.json``.
        evaluate: content of its ``evaluate.json``.
        folder: output folder of the training.
        given: settings that the training was given, of both files.

    Returns:
        The ``evaluation.json`` of each modality.

    Raises:
        InputError: the training kept no classifiers.
    """
    weights = folder / "models" / FILE
    if not weights.is_file():
        raise InputError(
            f"{weights} is missing: a training leaves classifiers where its method needs them, or "
            "with --score_modalities True"
        )
    setting = "sequences" if "sequences" in train else "modalities"
    names = given.get(setting) or train[setting]
    written = {name: folder / FOLDER / name / "evaluation.json" for name in names}
    missing = {name: path.parent for name, path in written.items() if not _is_newer(path, weights)}
    if missing:
        _evaluate(_config(train, evaluate, folder, given), read(weights), missing)
    return written


def _is_newer(path: Path, weights: Path) -> bool:
    return path.is_file() and path.stat().st_mtime_ns >= weights.stat().st_mtime_ns


def _config(
    train: Mapping[str, Any], evaluate: Mapping[str, Any], folder: Path, given: Mapping[str, Any]
) -> dict[str, Any]:
    """``evaluate.json`` with the classifiers of ``train.json``, and the settings they need."""
    plain = {k: v for k, v in train.items() if not isinstance(v, dict | list)}
    own = {k: v for k, v in given.items() if k in evaluate or k in plain}
    # The training had them, whatever it was told in order to have them.
    classifiers = {k: v for k, v in train["classifiers"].items() if k != "_disabled_"}
    place = {"output_dir": str(folder), "part": "test", "classifiers": classifiers}
    same_epoch = {"ckpt_path": str(folder / "models" / "model.pt")}
    return {**plain, **evaluate, **own, **place, **same_epoch}


def _evaluate(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], folders: Mapping[str, Path]
) -> None:
    for modality, folder in folders.items():
        report = {"folder": str(folder), "show": False}
        handlers = [
            {**handler, **report} if "folder" in handler else handler
            for handler in config["handlers"]
        ]
        parser = ConfigParser(copy.deepcopy({**config, "handlers": handlers}))  # it changes them
        classifiers = parser.get_parsed_content("classifiers")
        classifiers.load_state_dict(weights)
        judged = ByClassifier(parser.get_parsed_content("network"), modality, classifiers[modality])
        evaluator = parser.get_parsed_content("evaluator")
        evaluator.network = judged.to(parser.get_parsed_content("device"))
        with torch.random.fork_rng(devices=[]):
            evaluator.run()
