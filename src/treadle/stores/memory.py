"""Runs and training jobs kept in memory: for tests, and as the plainest statement of what the seams mean."""

from __future__ import annotations

from collections.abc import Sequence

from treadle.seams import JobRecord, RunRecord

__all__ = ["MemoryJobStore", "MemoryRunStore"]


class MemoryRunStore:
    """A `RunStore` that forgets everything at the end of the process."""

    def __init__(self) -> None:
        self._runs: dict[str, RunRecord] = {}
        self._events: dict[str, list[bytes]] = {}

    async def save(self, record: RunRecord, events: Sequence[bytes] = ()) -> None:
        """Store the record and append the events."""
        self._runs[record.run_id] = record
        self._events.setdefault(record.run_id, []).extend(events)

    async def load(self, run_id: str) -> RunRecord | None:
        """Give a run, or None."""
        return self._runs.get(run_id)

    async def runs(self, limit: int = 100) -> Sequence[RunRecord]:
        """Give the latest runs, newest first."""
        # Of runs that started at the same moment, the one that was stored later is the newer one.
        numbered = sorted(enumerate(self._runs.values()), key=lambda each: (each[1].started_at, each[0]), reverse=True)
        return [record for _, record in numbered[:limit]]

    async def events(self, run_id: str) -> Sequence[bytes]:
        """Give the stored events of a run, oldest first."""
        return tuple(self._events.get(run_id, ()))

    async def close(self) -> None:
        """Nothing is held."""


class MemoryJobStore:
    """A `JobStore` that forgets everything at the end of the process."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobRecord] = {}

    async def insert(self, record: JobRecord) -> bool:
        """Store a new job; False when the name is taken."""
        if record.name in self._jobs:
            return False
        self._jobs[record.name] = record
        return True

    async def update(self, record: JobRecord) -> bool:
        """Replace a job; False unless the stored version is `record.version - 1`."""
        stored = self._jobs.get(record.name)
        if stored is None or stored.version != record.version - 1:
            return False
        self._jobs[record.name] = record
        return True

    async def get(self, name: str) -> JobRecord | None:
        """Give a job, or None."""
        return self._jobs.get(name)

    async def delete(self, name: str) -> bool:
        """Remove a job; its name is free again. False when there is none."""
        return self._jobs.pop(name, None) is not None

    async def all(self) -> Sequence[JobRecord]:
        """Give every job, oldest first."""
        return sorted(self._jobs.values(), key=lambda each: each.created_at)

    async def unfinished(self) -> Sequence[JobRecord]:
        """Give the jobs whose status is InProgress or Stopping, oldest first."""
        return [each for each in await self.all() if each.status in {"InProgress", "Stopping"}]

    async def close(self) -> None:
        """Nothing is held."""
