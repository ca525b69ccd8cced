"""Pages of segmented cases: one for the batch, and one per case with its sequences and mask."""

from .batch import OVERVIEW, write_reports
from .pages import write_case_page
from .records import case_folders, record_of

__all__ = ["OVERVIEW", "case_folders", "record_of", "write_case_page", "write_reports"]
