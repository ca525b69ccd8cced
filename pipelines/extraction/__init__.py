"""Features of texts, images, recordings and clips; the command is ``cggm extract``."""

from .encoder import Encoder
from .encoders import load_encoder
from .options import Options
from .run import Plan, Result, extract
from .table import Sample, list_folder, read_table

__all__ = [
    "Encoder",
    "Options",
    "Plan",
    "Result",
    "Sample",
    "extract",
    "list_folder",
    "load_encoder",
    "read_table",
]
