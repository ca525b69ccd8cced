"""Where runs are done, and what each of them gets."""

from __future__ import annotations

from dataclasses import dataclass

LOCAL = "local"
DEFAULT_JOBS = 2
DEFAULT_MEMORY = 1.5  # gigabytes of a run


@dataclass(frozen=True)
class Machines:
    """Where runs are done, and what each of them gets.

    Attributes:
        address: of a Ray cluster, as ``ray.init`` takes it; "local" starts Ray on this machine.
        jobs: most runs at once; None is 2 on this machine, and no limit on a cluster.
        memory_gb: of this machine, for all runs together; None is what Ray finds free.
        run_memory_gb: that each run asks for.
        run_gpus: that each run asks for; a part of one is possible.
    """

    address: str = LOCAL
    jobs: int | None = None
    memory_gb: float | None = None
    run_memory_gb: float = DEFAULT_MEMORY
    run_gpus: float = 0

    @property
    def are_here(self) -> bool:
        """Whether this machine is the only one."""
        return self.address == LOCAL

    @property
    def at_once(self) -> int | None:
        """Most runs at once; None for no limit."""
        if not self.are_here:
            return self.jobs
        jobs = self.jobs or DEFAULT_JOBS
        if self.memory_gb is None:
            return jobs
        return max(1, min(jobs, int(self.memory_gb / self.run_memory_gb)))
