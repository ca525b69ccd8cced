"""Speech and sound models of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from torch import nn

from ...data.errors import InputError
from .encoder import NetworkEncoder
from .hub import ModelFolder, find_model
from .media import first_line, read_audio, seconds_of
from .network import Network, check_class_token, load_module, pooled, prefix_of
from .options import Options


class AudioEncoder(NetworkEncoder):
    """wav2vec2, HuBERT, AST or the like.

    Recordings are padded to one length only for models that mask what was padded; for all others,
    such as wav2vec2-base, whose first layer normalizes over time, a batch has one length.
    """

    def __init__(self, folder: ModelFolder, module: nn.Module, options: Options) -> None:
        self.max_seconds = options.max_seconds
        self.extractor = _load_extractor(folder.path)
        self.rate = int(self.extractor.sampling_rate)
        self.prefix = prefix_of(module)
        check_class_token(options.pooling_of("audio"), self.prefix, folder.name)
        self.masks = _masks(module, self.extractor)
        network = Network(module, options.device, options.precision)
        versions = {"transformers": transformers.__version__}
        super().__init__("audio", folder.name, folder.revision, network, options, versions)
        self.about["max_seconds"] = self.max_seconds
        self.about["rate"] = self.rate
        self.try_out()

    def example(self) -> np.ndarray:
        """See :class:`.NetworkEncoder`: a second of silence."""
        return np.zeros(self.rate, dtype=np.float32)

    def read(self, source: Any) -> np.ndarray:
        """See :class:`.Encoder`."""
        return read_audio(Path(source), self.rate, self.max_seconds)

    def size(self, source: Any) -> float:
        """Give the seconds that the file says it has."""
        return seconds_of(Path(source))

    def encode(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See :class:`.Encoder`."""
        length = (lambda sound: 0) if self.masks else len
        return in_groups(inputs, length, self._encode_group)

    def _encode_group(self, sounds: list[np.ndarray]) -> list[np.ndarray]:
        batch = self.extractor(
            sounds,
            sampling_rate=self.rate,
            padding=True,
            return_attention_mask=self.masks,
            return_tensors="pt",
        )
        name = self.extractor.model_input_names[0]
        inputs = {name: batch[name]}
        if self.masks:
            inputs["attention_mask"] = batch["attention_mask"]
        hidden = self.network(**inputs)
        counts = [hidden.shape[1]] * len(sounds)
        if self.masks:
            module: Any = self.network.module
            lengths = batch["attention_mask"].sum(1)
            counts = module._get_feat_extract_output_lengths(lengths).tolist()
        return [
            pooled(states[:count], self.pooling, self.prefix).numpy()
            for states, count in zip(hidden, counts, strict=True)
        ]


class WhisperEncoder(AudioEncoder):
    """The encoder of Whisper on the seconds that there are, unless its whole window is asked for.

    Whisper masks nothing: a recording is filled with silence to whole seconds (or all 30), a batch
    has one length, and steps (of 20 ms) behind the end of the sound are dropped.
    """

    def __init__(self, folder: ModelFolder, module: Any, options: Options) -> None:
        self._positions = module.embed_positions.weight.detach().clone()
        self._longest = int(module.config.max_source_positions)
        self._whole = options.whole_window
        super().__init__(folder, module, options)
        if self.max_seconds > self._longest / 50:
            raise InputError(
                f"max_seconds is {self.max_seconds:g}, but {self.name} takes at most "
                f"{self._longest / 50:g}"
            )
        self.about["whole_window"] = self._whole

    def encode(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See :class:`.Encoder`."""
        return in_groups(inputs, self._seconds, self._encode_group)

    def _seconds(self, sound: np.ndarray) -> int:
        return self._longest // 50 if self._whole else ceil(len(sound) / self.rate)

    def _encode_group(self, sounds: list[np.ndarray]) -> list[np.ndarray]:
        seconds = self._seconds(sounds[0])
        silence = [np.zeros(seconds * self.rate - len(s), dtype=np.float32) for s in sounds]
        padded = [np.concatenate(pair) for pair in zip(sounds, silence, strict=True)]
        features = self.extractor(
            padded, sampling_rate=self.rate, padding=False, truncation=False, return_tensors="pt"
        )["input_features"]
        self._set_length(features.shape[-1] // 2)
        hidden = self.network(features)
        counts = [ceil(len(sound) / self.rate * 50) for sound in sounds]
        return [
            pooled(states[:count], self.pooling).numpy()
            for states, count in zip(hidden, counts, strict=True)
        ]

    def _set_length(self, steps: int) -> None:
        """Keep the positions of the first steps; the encoder refuses any other length."""
        module: Any = self.network.module
        module.config.max_source_positions = steps
        module.embed_positions = nn.Embedding.from_pretrained(
            self._positions[:steps].to(self.network.device)
        )


def load_audio_encoder(model: str, options: Options) -> AudioEncoder:
    """Load a model of transformers for recordings.

    Raises:
        InputError: it cannot be found, loaded or used.
    """
    folder = find_model(model, options.revision)
    module, config = load_module(folder.path, "audio")
    whisper = config.model_type == "whisper"
    return (WhisperEncoder if whisper else AudioEncoder)(folder, module, options)


def in_groups(
    inputs: Sequence[np.ndarray],
    length: Callable[[np.ndarray], int],
    encode: Callable[[list[np.ndarray]], list[np.ndarray]],
) -> list[np.ndarray]:
    """Encode inputs of one length together, and give the results in the order of the inputs."""
    order = sorted(range(len(inputs)), key=lambda i: length(inputs[i]))
    results: dict[int, np.ndarray] = {}
    for _, members in groupby(order, key=lambda i: length(inputs[i])):
        group = list(members)
        results |= zip(group, encode([inputs[i] for i in group]), strict=True)
    return [results[i] for i in range(len(inputs))]


def _masks(module: Any, extractor: Any) -> bool:
    """Whether what is padded has no influence on the rest."""
    layerwise = getattr(module.config, "feat_extract_norm", "") == "layer"
    counts = hasattr(module, "_get_feat_extract_output_lengths")
    return bool(layerwise and counts and getattr(extractor, "return_attention_mask", False))


def _load_extractor(folder: Path) -> Any:
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # missing or damaged
        raise InputError(
            f"the feature extractor in {folder} (preprocessor_config.json) cannot be loaded "
            f"({first_line(error)}); the folder may be of a model that is not for sound"
        ) from error
    if not hasattr(extractor, "sampling_rate"):
        raise InputError(f"the model in {folder} is not for sound; choose another for audio")
    return extractor
