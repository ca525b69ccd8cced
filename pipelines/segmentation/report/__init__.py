"""Pages of segmented cases: one for the batch, and one per case with its sequences and mask."""

from .batch import write_reports
from .pages import write_case_page
from .records import record_of

__all__ = ["record_of", "write_case_page", "write_reports"]
