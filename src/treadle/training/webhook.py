"""Tells a URL of every status change of a job, in the shape of EventBridge's events (§2.6).

The outbox is the job itself: its list of transitions only ever grows, so `Job.announced` of them have been told, and
the rest has not. It is stored with the job, so an event is told at least once, whatever is killed in between, and those
of one job in their order. A repeated event has the same id.

Jobs never wait for it: each job with something to tell has a task of its own, which tries again, less and less often,
for as long as EventBridge does: 24 hours.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from treadle.errors import StoreError, TreadleError, UsageError
from treadle.seams import Json, Request, Transport
from treadle.training import describe
from treadle.training.job import Announced, Event, Job

__all__ = ["Pace", "Webhook", "as_it_was", "event"]

_log: Final = logging.getLogger(__name__)

Edit: TypeAlias = Callable[[str, Callable[[Job], Event]], Awaitable[Job | None]]
"""Changes a job by the event that is made of it: `Supervisor.edit`."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: until the first repetition, between repetitions at most, for one answer, until an event is given up."""

    first: float = 0.5
    longest: float = 60.0
    answer: float = 10.0
    give_up: float = 86_400.0


class Webhook:
    """Posts events. At most `at_once` requests are under way at a time."""

    def __init__(
        self,
        url: str,
        *,
        transport: Transport,
        edit: Edit,
        account: str,
        region: str,
        clock: Callable[[], float],
        pace: Pace | None = None,
        at_once: int = 8,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{url!r} cannot be told anything.", hint="Give a URL such as https://host/path.")
        self._url = url
        self._host = parts.hostname  # the rest of a URL may be a secret: logs do without
        self._transport = transport
        self._edit = edit
        self._account = account
        self._region = region
        self._clock = clock
        self._pace = pace or Pace()
        self._room = asyncio.Semaphore(at_once)
        self._latest: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    def changed(self, job: Job) -> None:
        """Take notice of a job as it is now, and stored."""
        if _next(job) is None:
            self._latest.pop(job.name, None)
            return
        self._latest[job.name] = job
        if not self._stopped and job.name not in self._tasks:
            self._tasks[job.name] = asyncio.create_task(self._tell(job.name))

    async def stop(self) -> None:
        """Stop telling; what has not been told stays in the jobs."""
        self._stopped = True
        tasks = list(self._tasks.values())
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, name: str) -> None:
        """Tell everything that there is to tell of a job, in order."""
        job: Job | None = None
        try:
            while (job := self._latest.pop(name, job)) is not None and (index := _next(job)) is not None:
                await self._deliver(job, index)
                job = await self._told(job, index)
        except Exception:  # noqa: BLE001  (one event's fault must not silence the other jobs; it is logged whole)
            _log.exception("%s: its events are not told any more until it changes", name)
        finally:
            del self._tasks[name]

    async def _told(self, job: Job, index: int) -> Job | None:
        """Keep that an event has been told; give the job as it is now, None when it is there no more."""

        def decide(now: Job) -> Event:
            # The name may belong to another job by now.
            same = now.created_at == job.created_at
            return Announced(self._clock(), index + 1 if same else now.announced or 0)

        wait = self._pace.first
        while True:
            try:
                return await self._edit(job.name, decide)
            except StoreError as error:
                _log.error("%s: that an event was told cannot be kept: %s", job.name, error.message)
            await asyncio.sleep(wait)
            wait = min(2 * wait, self._pace.longest)

    async def _deliver(self, job: Job, index: int) -> None:
        """Post an event until it is taken, or too old to be of use."""
        body = msgspec.json.encode(event(job, index, account=self._account, region=self._region))
        request = Request("POST", self._url, (("Content-Type", "application/json"),), body)
        wait = self._pace.first
        while problem := await self._problem(request):
            if self._clock() - job.transitions[index].start > self._pace.give_up:
                _log.error("%s: %s was never told an event, and is no longer: %s", job.name, self._host, problem)
                return
            _log.warning("%s: %s did not take an event, next try in %.1f s: %s", job.name, self._host, wait, problem)
            # With jitter, so that the tasks of many jobs do not come back all at once.
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311  (nobody must not guess it)
            wait = min(2 * wait, self._pace.longest)

    async def _problem(self, request: Request) -> str:
        async with self._room:
            try:
                response = await self._transport.send(request, timeout=self._pace.answer)
            except TreadleError as error:
                # Its text may name the URL.
                return type(error).__name__
        return "" if 200 <= response.status < 300 else f"HTTP status {response.status}"


def _next(job: Job) -> int | None:
    """Give the index of the first transition that has not been told, None when all have."""
    return job.announced if job.announced is not None and job.announced < len(job.transitions) else None


# ---------------------------------------------------------------------------------------------------------------------
# Events
# ---------------------------------------------------------------------------------------------------------------------


def event(job: Job, index: int, *, account: str, region: str) -> dict[str, Any]:
    """Give the event of a transition: times of the detail in epoch milliseconds."""
    detail = _milliseconds(describe.describe(as_it_was(job, index)))
    return {
        "version": "0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{job.arn} {job.created_at} {index}")),
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": account,
        "time": datetime.fromtimestamp(job.transitions[index].start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [job.arn],
        "detail": {**detail, "Tags": dict(job.tags)},
    }


def as_it_was(job: Job, index: int) -> Job:
    """Give the job as it was when the transition began."""
    entry = job.transitions[index]
    if index == len(job.transitions) - 1:
        return job
    started = job.training_started_at
    return msgspec.structs.replace(
        job,
        status="Stopping" if entry.status == "Stopping" else "InProgress",
        secondary_status=entry.status,
        transitions=(*job.transitions[:index], msgspec.structs.replace(entry, end=None)),
        modified_at=entry.start,
        failure_reason="",
        metrics={},
        training_started_at=started if started is not None and started <= entry.start else None,
        training_ended_at=None,
    )


_TIMES: Final = frozenset(
    {"CreationTime", "LastModifiedTime", "TrainingStartTime", "TrainingEndTime", "StartTime", "EndTime", "Timestamp"}
)


def _milliseconds(value: Json) -> Json:
    match value:
        case dict():
            return {
                name: round(item * 1000) if name in _TIMES and isinstance(item, int | float) else _milliseconds(item)
                for name, item in value.items()
            }
        case list():
            return [_milliseconds(item) for item in value]
    return value
