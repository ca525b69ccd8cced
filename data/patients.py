"""The patient and the day of an examination, read from the name of its case."""

import re
from datetime import date

# BraTS-GLI-00005-001 is the second examination of patient 00005; Brats18_2013_0_1 the first of 0;
# UCSF-PDGM-0429_FU001d a later one of 0429.
_TIME_POINT = re.compile(
    r"^(?P<patient>.+-\d{4,}|[Bb]ra[Tt][Ss]1\d_.+_[^_]+|sub-[A-Za-z0-9]+)(?:[-_]\d{1,3}|_FU\w+)$"
)
_SESSION = re.compile(r"(?P<patient>.+)_ses-(?P<session>[A-Za-z0-9]+)")  # of BIDS
_DAY = re.compile(r"(?P<patient>.+)[_-](?P<day>\d{4}-\d{2}-\d{2})")
# In GBM_20240115 the digits may as well be the number of a patient: what comes before has one.
_SHORT_DAY = re.compile(r"(?P<patient>.*\d.*)[_-](?P<day>\d{8})")
_FIRST_DAY = date(1977, 1, 1)  # no MRI was taken before


def patient_of(case: str) -> str:
    """Name the patient of a case: its name without the time point, when that is part of it.

    >>> patient_of("BraTS-GLI-00005-001"), patient_of("BraTS2021_00005")
    ('BraTS-GLI-00005', 'BraTS2021_00005')
    >>> patient_of("sub-01_ses-02"), patient_of("UPENN-GBM-00001_21")
    ('sub-01', 'UPENN-GBM-00001')
    >>> patient_of("P01_2024-03-01"), patient_of("P01_20240301")
    ('P01', 'P01')
    """
    return patient_and_day(case)[0]


def patient_and_day(case: str) -> tuple[str, str | None]:
    """Say who and when, where the name of a case tells it.

    Returns:
        The patient, and the day (``2024-03-01``) or the session of BIDS (``ses-02``); None where
        the name tells neither.

    >>> patient_and_day("P01_20240301"), patient_and_day("sub-01_ses-02")
    (('P01', '2024-03-01'), ('sub-01', 'ses-02'))
    """
    if match := _SESSION.fullmatch(case):
        return match["patient"], iso_day(match["session"]) or f"ses-{match['session']}"
    for named in (_DAY, _SHORT_DAY):
        if (match := named.fullmatch(case)) and (day := iso_day(match["day"])):
            return match["patient"], day
    match = _TIME_POINT.match(case)
    return match["patient"] if match else case, None


def iso_day(text: str) -> str | None:
    """A day such as 20240301 or 2024-03-01, with dashes; None for any other text.

    No day before MRI, nor one to come: such digits are another number.
    """
    digits = text.replace("-", "")
    if text not in (digits, f"{digits[:4]}-{digits[4:6]}-{digits[6:]}") or len(digits) != 8:
        return None
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    return day.isoformat() if _FIRST_DAY <= day <= date.today() else None
