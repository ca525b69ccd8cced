"""Feature sets of openSMILE."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ...data.errors import InputError
from ...data.extras import optional
from .media import Unusable, first_line, read_audio, seconds_of
from .options import Options

RATE = 16_000
TERMS = (
    "openSMILE is free for research and other non-commercial use only (license of audEERING); "
    "features made with it fall under this too"
)


class AcousticEncoder:
    """A feature set of openSMILE, see :class:`.Encoder`.

    With pooling "tokens" these are its low-level descriptors, every 10 ms; with "mean" its
    functionals, statistics of them over the recording (88 of eGeMAPS, 6373 of ComParE).
    """

    kind = "audio"

    def __init__(self, name: str, options: Options) -> None:
        note = " (its license allows research and other non-commercial use only)"
        opensmile: Any = optional("opensmile", "opensmile", "acoustic features", note)
        sets = {each.name: each for each in opensmile.FeatureSet}
        if name not in sets:
            raise InputError(f"openSMILE has no feature set {name!r}; it has {', '.join(sets)}")
        self.pooling = options.pooling_of(self.kind)
        if self.pooling == "cls":
            raise InputError("openSMILE has no class token; use --pooling tokens or mean")
        levels = opensmile.FeatureLevel
        level = levels.Functionals if self.pooling == "mean" else levels.LowLevelDescriptors
        self._smile = opensmile.Smile(feature_set=sets[name], feature_level=level)
        self._lock = Lock()
        self.name = f"opensmile:{name}"
        self.width = len(self._smile.feature_names)
        self.batch_size = options.batch_size_of(self.kind)
        self.max_seconds = options.max_seconds
        self.about = {
            "kind": self.kind,
            "model": self.name,
            "revision": opensmile.__version__,
            "versions": {"opensmile": opensmile.__version__},
            "pooling": self.pooling,
            "max_seconds": self.max_seconds,
            "rate": RATE,
            "terms": TERMS,
        }
        print(f"note: {TERMS}", file=sys.stderr, flush=True)

    def read(self, source: Any) -> np.ndarray:
        """Give the features already, so that a recording it fails on is left out alone."""
        sound = read_audio(Path(source), RATE, self.max_seconds)
        try:
            with self._lock:  # one engine, which keeps its state between calls
                table = self._smile.process_signal(sound, RATE)
        except Exception as error:  # of its C library
            raise Unusable(f"openSMILE failed ({first_line(error)})") from error
        features = np.asarray(table, dtype=np.float32).reshape(-1, self.width)
        if not len(features) or not np.isfinite(features).all():
            raise Unusable("openSMILE found nothing in it, as a rule because it is too short")
        return features

    def size(self, source: Any) -> float:
        """Give the seconds that the file says it has."""
        return seconds_of(Path(source))

    def encode(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Give what `read` made."""
        return list(inputs)
