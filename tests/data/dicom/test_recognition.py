"""Sequences told from the words and times that scanners of several makers write."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pydicom", reason="extra dicom")

from cggm.data.dicom.headers import Frame, Header  # noqa: E402
from cggm.data.dicom.recognition import recognize  # noqa: E402

HEADER = Header("p", (), "1", "", "2", "1", "MR", "", "", "", None, None, "", "", "", "", False)
FRAME = Frame(Path("x"), 0, "3", None, None, None, (8, 8), image_type="ORIGINAL PRIMARY M")


def proposed(description: str, tr=None, te=None, ti=None, agent: str = "", protocol: str = ""):
    header = replace(
        HEADER, description=description, protocol=protocol, repetition_time=tr, contrast=agent
    )
    return recognize(header, replace(FRAME, echo_time=te, inversion_time=ti))


@pytest.mark.parametrize(
    ("description", "sequence"),
    [
        ("t2_space_dark-fluid_sag_p2_iso", "flair"),
        ("t2_tirm_tra_dark-fluid_4mm", "flair"),
        ("Ax T2 FLAIR", "flair"),
        ("3D FLAIR post gd", "flair"),
        ("Sag CUBE FLAIR +C", "flair"),
        ("AX T1 FLAIR", "t1"),
        ("t1_mprage_sag_p2_iso", "t1"),
        ("T1 MPRAGE nativ", "t1"),
        ("3D T1 ohne KM", "t1"),
        ("T1 non-contrast", "t1"),
        ("T1 pre contrast", "t1"),
        ("BRAVO T1 pre", "t1"),
        ("T1w_3D_TFE post-op", "t1"),
        ("t1_mprage_sag_KM", "t1ce"),
        ("Ax T1+C", "t1ce"),
        ("AX T1 C+", "t1ce"),
        ("T1 post", "t1ce"),
        ("sT1W_3D_TFE_Gd T1", "t1ce"),
        ("Ax T1 FSPGR POST GAD", "t1ce"),
        ("t1_vibe_tra_post-contrast", "t1ce"),
        ("t2_tse_tra_512", "t2"),
        ("Ax T2 PROPELLER", "t2"),
        ("T2W_TSE", "t2"),
        ("localizer", ""),
        ("3-plane loc T1", ""),
        ("ep2d_diff_b1000_ADC", ""),
        ("Ax DWI T2 trace", ""),
        ("t2_swi_tra", ""),
        ("Ax T2* GRE", ""),
        ("T1 subtraction", ""),
        ("T2 cervical spine", ""),
        ("TOF_3D_multi-slab", ""),
        ("DSC perfusion", ""),
        ("T2 STIR cor", ""),
        ("", ""),
    ],
)
def test_words(description: str, sequence: str) -> None:
    found = proposed(description)
    assert (found.sequence, found.sure) == (sequence, True), found


@pytest.mark.parametrize(
    ("times", "sequence"),
    [
        ((9000, 120, 2500), "flair"),
        ((5000, 380, 1700), "flair"),
        ((500, 10, None), "t1"),
        ((2300, 3, 900), "t1"),
        ((4500, 100, None), "t2"),
        ((4500, 45, None), ""),
    ],
)
def test_times_alone_are_never_sure(times: tuple, sequence: str) -> None:
    found = proposed("Ax brain", *times)
    assert found.sequence == sequence
    assert found.sure is (sequence == "")


def test_words_and_times_that_contradict_each_other_are_asked_about() -> None:
    found = proposed("t1_se_tra", 4500, 100)
    assert (found.sequence, found.sure) == ("t1", False)
    assert found.reason.startswith("its words say T1, its times T2 (TR 4500 TE 100)")
    assert proposed("FLAIR", 9000, 120).sure  # a header that leaves the inversion time out


def test_an_agent_in_the_header_decides_where_words_are_silent() -> None:
    assert proposed("t1_se", agent="Gadovist").sequence == "t1ce"
    assert proposed("t1_se", agent="NONE").sequence == "t1"
    assert proposed("t1_se nativ", agent="Gadovist").sequence == "t1"
    assert proposed("t2_tse", agent="Gadovist").sequence == "t2"


def test_the_protocol_counts_where_the_description_says_nothing() -> None:
    assert proposed("Series 5", protocol="t2_tse_tra").sequence == "t2"
    assert proposed("Series 6", protocol="ep2d_diff t2").sequence == ""
