"""The expected calibration error by hand and on draws whose calibration is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cggm.pipelines.segmentation.scoring import expected_calibration_error


def test_by_hand() -> None:
    probability = np.array([[0.1, 0.1], [0.9, 0.9]])
    truth = np.array([[False, True], [True, True]])
    # Two bins of two voxels: 0.1 against 1 of 2, and 0.9 against 2 of 2.
    assert expected_calibration_error(probability, truth, bins=10) == pytest.approx(0.25)
    # In a single bin the errors are those of the means.
    assert expected_calibration_error(probability, truth, bins=1) == pytest.approx(0.25)
    within = np.array([[True, True], [False, False]])
    found = expected_calibration_error(probability, truth, within=within)
    assert found == pytest.approx(0.4)


def test_certain_and_right_has_no_error_and_certain_and_wrong_has_all() -> None:
    truth = np.array([True, False, True])
    assert expected_calibration_error(truth.astype(float), truth) == 0
    assert expected_calibration_error(1 - truth.astype(float), truth) == 1


def test_draws_of_known_calibration() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(200_000)
    truth = rng.random(probability.shape) < probability
    assert expected_calibration_error(probability, truth) < 0.01
    # Squares are too low by p - p², whose mean is 1/6.
    assert expected_calibration_error(probability**2, truth) == pytest.approx(1 / 6, abs=0.01)


def test_what_is_no_probability_is_refused() -> None:
    truth = np.zeros((2, 2), bool)
    with pytest.raises(ValueError, match=r"between -3 and 2; expected \[0, 1\]: are they logits"):
        expected_calibration_error(np.array([[-3.0, 2], [0, 0]]), truth)
    with pytest.raises(ValueError, match="between nan"):
        expected_calibration_error(np.full((2, 2), np.nan), truth)
    with pytest.raises(ValueError, match=r"shapes \[\(3,\), \(2, 2\)\]; they need the same one"):
        expected_calibration_error(np.zeros(3), truth)
    assert math.isnan(expected_calibration_error(truth.astype(float), truth, within=truth))
