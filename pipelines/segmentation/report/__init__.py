"""Pages of segmented cases: one for the batch, and one per case with its sequences and mask."""

from .batch import OVERVIEW, write_reports
from .pages import write_case_page

__all__ = ["OVERVIEW", "write_case_page", "write_reports"]
