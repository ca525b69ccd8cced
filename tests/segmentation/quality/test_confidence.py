"""Confidence by hand and by draws, entropy in bits, and both of a network's mask."""

from __future__ import annotations

import numpy as np
import pytest

from cggm import Segmenter
from cggm.data.brats.cases import SEQUENCES
from cggm.pipelines.segmentation.quality import confidence, entropy

from ..test_inference import TURNED, Thresholds


def test_by_hand() -> None:
    p = np.zeros((4, 2), np.float32)
    p[:, 0] = 0.1, 0.2, 0.3, 0.4
    p[:, 1] = 0.8, 0.0, 0.2, 0.0
    found = confidence(p, np.array([3, 0]))
    assert found["WT"] == pytest.approx(2 * 0.9 / (1 + 1.1), abs=1e-4)
    assert found["TC"] == pytest.approx(2 * 0.6 / (1 + 0.6), abs=1e-4)
    assert found["ET"] == pytest.approx(2 * 0.4 / (1 + 0.4), abs=1e-4)


def test_certain_is_1_and_what_the_mask_lacks_is_none() -> None:
    classes = np.array([0, 1, 2, 2])
    p = np.eye(4)[classes].T
    assert confidence(p, classes) == {"WT": 1, "TC": 1, "ET": None}


def test_it_is_the_dice_that_calibrated_probabilities_expect() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 0.5, 0.7, 0.6], size=20_000).T
    classes = p.argmax(axis=0)
    truth = (p.cumsum(axis=0) > rng.random(p.shape[1])).argmax(axis=0)
    for region, members in {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}.items():
        mask, true = np.isin(classes, members), np.isin(truth, members)
        dice = 2 * (mask & true).sum() / (mask.sum() + true.sum())
        assert confidence(p, classes)[region] == pytest.approx(dice, abs=0.01)


def test_entropy_in_bits() -> None:
    p = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4]).T
    assert entropy(p) == pytest.approx([0, 1, 2], abs=1e-6)


def test_a_segmentation_carries_it() -> None:
    rng = np.random.default_rng(0)
    images = {name: rng.uniform(1, 9, (8, 8, 6)) for name in SEQUENCES}
    for image in images.values():
        image[[0, -1]] = image[:, [0, -1]] = 0
    segmenter = Segmenter(Thresholds(), SEQUENCES, device="cpu")
    result = segmenter.segment(images, TURNED, probabilities=True)
    assert result.probabilities is not None and result.classes.any()
    assert result.confidence == confidence(result.probabilities, result.classes)
    del images["t1ce"]
    assert segmenter.segment(images, TURNED).confidence["ET"] is None
