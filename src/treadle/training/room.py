"""Room on the disk: a warning when it runs low, and no new jobs before there is none left.

A disk that is full fails everything at once: the jobs that run, their logs, the database. So new jobs are refused
while what is there can still come to its end.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from treadle.errors import ServiceError

__all__ = ["Room", "RoomLimits"]

_log: Final = logging.getLogger(__name__)

_GIB: Final = 1 << 30
_ADVICE: Final = "Make room with treadle jobs prune and treadle data rm."


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Bytes that must be free: below `refuse` there are no new jobs, below `warn` the log of the service says so."""

    refuse: int = _GIB
    warn: int = 5 * _GIB


@dataclass(slots=True)
class Room:
    """Looks at the disk below `directory`; for a burst of jobs once in `fresh` seconds."""

    directory: Path
    limits: RoomLimits = field(default_factory=RoomLimits)
    free: Callable[[Path], int] = lambda directory: shutil.disk_usage(directory).free
    fresh: float = 1.0
    _low: bool = False
    _seen: int = 0
    _stale_at: float = 0.0

    def check(self) -> None:
        """Refuse a new job when there is too little room. Raises `ServiceError`."""
        now = time.monotonic()
        if now >= self._stale_at:
            self._seen, self._stale_at = self.look(), now + self.fresh
        if (free := self._seen) < self.limits.refuse:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"New training jobs are refused because the disk of this service has {_size(free)} left, and "
                f"{_size(self.limits.refuse)} must stay free. {_ADVICE}",
            )

    def look(self) -> int:
        """Give the bytes that are free; the first time that they are few, and when they are many again, is logged."""
        free = self.free(self.directory)
        low = free < self.limits.warn
        if low and not self._low:
            _log.warning(
                "the disk of %s has %s left; below %s new jobs are refused. %s",
                self.directory,
                _size(free),
                _size(self.limits.refuse),
                _ADVICE,
            )
        elif self._low and not low:
            _log.info("the disk of %s has %s left again", self.directory, _size(free))
        self._low = low
        return free

    async def watch(self, period: float = 30.0) -> None:
        """Look every `period` seconds."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(period)


def _size(size: int) -> str:
    return f"{size / _GIB:.1f} GB" if size >= _GIB // 10 else f"{size / (1 << 20):.1f} MB"
