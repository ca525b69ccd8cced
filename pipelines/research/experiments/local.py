"""How do runs get done on this machine?"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .children import Children
from .execute import execute
from .run import Run


class Local:
    """Runs in processes of this machine; a thread for each waits for them.

    Args:
        output: folder of all runs.
        jobs: most at work at once; one thread each if there are several, since two that share
            the cores would wait for each other at every step.
    """

    def __init__(self, output: Path, *, jobs: int) -> None:
        self._output = output
        self._children = Children(threads=1 if jobs > 1 else None)
        self._pool = ThreadPoolExecutor(jobs)

    def submit(self, run: Run) -> Future[dict[str, Any]]:
        """Start a run; the future gives its record, or :class:`Stopped`."""
        self._children.welcome(run.name)
        return self._pool.submit(execute, run, self._output, self._children)

    def stop(self, run: Run) -> None:
        """End a run; it can be submitted again."""
        self._children.stop(run.name)

    def memory(self) -> dict[str, float] | None:
        """Gigabytes by name of the run; None where that is unknown."""
        return self._children.memory()

    def close(self) -> None:
        """End what is at work, for good."""
        self._children.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
