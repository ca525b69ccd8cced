"""Tests of the patient and the day in the name of a case."""

import pytest

from cggm.data.patients import patient_and_day, patient_of


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005"),
        ("BraTS-GoAT-00005", "BraTS-GoAT-00005"),
        ("UPENN-GBM-00001_21", "UPENN-GBM-00001"),
        ("UCSF-PDGM-0429", "UCSF-PDGM-0429"),
        ("UCSF-PDGM-0429_FU001d", "UCSF-PDGM-0429"),
        ("sub-01", "sub-01"),
        ("sub-01_ses-02", "sub-01"),
        ("P01_ses-02", "P01"),
        ("BraTS-MET-00005-000", "BraTS-MET-00005"),
        ("BraTS2021_00005", "BraTS2021_00005"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BRATS_001", "BRATS_001"),
        ("Brats18_2013_0_1", "Brats18_2013_0"),
        ("Brats18_CBICA_AAM_1", "Brats18_CBICA_AAM"),
        ("BraTS19_TCIA01_131_1", "BraTS19_TCIA01_131"),
        ("UCSF-PDGM-0004", "UCSF-PDGM-0004"),
        ("P-0001-2", "P-0001"),
        ("P1", "P1"),
    ],
)
def test_patient_of_a_case(case: str, patient: str) -> None:
    assert patient_of(case) == patient


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("P01_2024-03-01", ("P01", "2024-03-01")),
        ("P01_2024-13-01", ("P01_2024-13-01", None)),
        ("P01_20240301", ("P01", "2024-03-01")),
        ("P01-20240301", ("P01", "2024-03-01")),
        ("P01_20241301", ("P01_20241301", None)),
        ("P01_18990301", ("P01_18990301", None)),
        ("P01_29990301", ("P01_29990301", None)),
        ("GBM_20240115", ("GBM_20240115", None)),  # patient 115 of 2024?
        ("P20240301", ("P20240301", None)),  # a number of a patient may look like a day
        ("sub-01_ses-20240301", ("sub-01", "2024-03-01")),
        ("sub-01_ses-02", ("sub-01", "ses-02")),
        ("sub-01", ("sub-01", None)),
        ("BraTS-GLI-00005-001", ("BraTS-GLI-00005", None)),
    ],
)
def test_who_and_when(name: str, expected: tuple[str, str | None]) -> None:
    assert patient_and_day(name) == expected
