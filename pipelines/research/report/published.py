"""The paper's own Tables 2 to 7, and the data that they are of."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import pandas as pd

_IEMOCAP_NAME = r"IEMOCAP(, fold \d+)?"
# The data's own name, as conversion writes it; BraTS is a folder and has its official name.
_COMPARISONS = {
    r"UPMC-Food 101": "table2",
    r"RSNA_ASNR_MICCAI_BraTS2021_Training_?Data|BraTS2021_Training_Data": "table3",
    r"CMU-MOSI": "table4_mosi",
    _IEMOCAP_NAME: "table4_iemocap",
}


def paper_table(name: str) -> pd.DataFrame:
    """A table of the paper, under our names: its video is the bundles' vision.

    Of the three ways to take two sides of a sentiment, Table 4 has the one of the authors' code.

    Args:
        name: "table2", "table3", "table4_mosi", "table4_iemocap", "table5", "table6" or "table7".

    Returns:
        A line per method, modality or hyperparameter; a column per figure, training or bundle.
        Numbers, but texts in Table 7, with "–" where the paper has none.
    """
    path = Path(__file__).parent / "paper_tables" / f"{name}.csv"
    return pd.read_csv(path, index_col=0, dtype=str if name == "table7" else None)


def comparison_of(data: str) -> str | None:
    """Which of the paper's Tables 2 to 4 is of data with this name; None where it has no such data.

    Args:
        data: the name that the evaluation reports; of BraTS, the folder.
    """
    name = PurePath(data.replace("\\", "/")).name if "/" in data or "\\" in data else data
    tables = [table for pattern, table in _COMPARISONS.items() if re.fullmatch(pattern, name)]
    return tables[0] if tables else None


def is_iemocap(data: str) -> bool:
    """Whether data of this name are those of the paper's Tables 5 and 6."""
    return re.fullmatch(_IEMOCAP_NAME, data) is not None
