"""The agent's end of the wire (see `seams`): claim and report, wherever the control plane listens now."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from treadle.agent.post import BadAnswerError, Poster
from treadle.seams import ClaimAnswer, HostLaunch, Report, ReportAnswer

__all__ = ["ControlPlane", "OverError", "UnreachableError"]

_log = logging.getLogger(__name__)

_PATH = "/_treadle/agent/v1/"
# On top of the time for which the control plane may hold a report open.
_ANSWER_TIMEOUT = 30.0

_T = TypeVar("_T")


class UnreachableError(Exception):
    """No usable answer. Nothing is lost: try again."""


class OverError(Exception):
    """The attempt is over, or it belongs to another agent: end at once, touch nothing."""


class ControlPlane:
    """Speaks for one agent of one attempt. An async context manager."""

    def __init__(self, launch: HostLaunch, agent: str) -> None:
        self._launch = launch
        self._agent = agent
        self._endpoint = launch.endpoint
        headers = {"Authorization": f"Bearer {launch.token}", "Content-Type": "application/json"}
        self._poster = Poster(headers, certificate=launch.certificate)
        self._reachable = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._poster.close()

    async def claim(self) -> ClaimAnswer:
        """Claim the host for this agent. Raises `OverError`, `UnreachableError`."""
        body = {"job": self._launch.job, "attempt": self._launch.attempt, "host": self._launch.host}
        return await self._post("claim", {**body, "agent": self._agent}, 0.0, ClaimAnswer)

    async def report(self, report: Report) -> ReportAnswer:
        """Send a report. Raises `OverError`, `UnreachableError`."""
        return await self._post("report", report, report.wait, ReportAnswer)

    async def _post(self, name: str, value: object, held: float, answer: type[_T]) -> _T:
        url = self._endpoint.rstrip("/") + _PATH + name
        try:
            status, body = await self._poster.post(url, msgspec.json.encode(value), seconds=held + _ANSWER_TIMEOUT)
            if status == 200:
                decoded = msgspec.json.decode(body, type=answer)
                self._note(url, "")
                return decoded
            problem = f"status {status}: {body[:200].decode(errors='replace')}"
        except (OSError, TimeoutError, BadAnswerError, msgspec.DecodeError) as error:
            status, problem = 0, f"{type(error).__name__}: {error}"
        if status == 409:
            raise OverError(problem)
        self._note(url, problem)
        self._look_up()
        raise UnreachableError(problem)

    def _note(self, url: str, problem: str) -> None:
        """Write down when the control plane goes away and when it is back, not every try."""
        if problem and self._reachable:
            _log.warning("%s does not answer: %s", url, problem)
        elif not problem and not self._reachable:
            _log.info("%s answers again", url)
        self._reachable = not problem

    def _look_up(self) -> None:
        """Read the endpoint anew: the control plane may have been started again on another port."""
        if not self._launch.endpoint_file:
            return
        try:
            found = msgspec.json.decode(Path(self._launch.endpoint_file).read_bytes(), type=_Endpoint)
        except (OSError, msgspec.DecodeError):  # it is away: the file comes back with it
            return
        self._endpoint = found.url


class _Endpoint(msgspec.Struct, frozen=True):
    """The part of `endpoint.json` that an agent needs."""

    url: str
