"""What tests of methods and of the handler share."""

import pytest

from .toy import ToyRun


@pytest.fixture
def toy_run() -> type[ToyRun]:
    """A small network in MONAI's own trainer: `toy_run(method, ...)`."""
    return ToyRun
