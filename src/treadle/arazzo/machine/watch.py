"""The visits of a poll that change nothing: whoever drives the machine makes them without it, and counts them.

Most visits of a poll are the same: the same request, the same answer, and therefore the same verdicts, outputs and
action, and another wait. A step of which that can be told beforehand (`PlannedStep.steady`) ends its turn with a `Wait`
that has a `Watch`: what the next visits ask, and the answer that changes nothing. The driver goes on by it until
something else comes, and gives that to the machine together with the number of visits (`Watched`).

The machine does without it: a driver that answers such a `Wait` with `Due`, like any other, takes more turns to the
same state. The tests hold the two together.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from treadle.arazzo import events, pacing
from treadle.arazzo.pacing import Pause
from treadle.seams import Answer, Request, Response

__all__ = ["LARGEST", "Watch"]

LARGEST: Final = 64 * 1024
"""The largest body that is kept to be compared: thousands of runs may wait at once."""


class Watch(msgspec.Struct, frozen=True, gc=False):
    """How a poll goes on while nothing changes: `request` is sent within `timeout` seconds, `known` is the answer.

    There were `visits` so far; the loop was entered at `since`, and the run has time until `deadline`. `poll` is the
    exact pause where the caller wants one. `started` and `sent` are said at each visit, with its own time and number.
    """

    request: Request
    timeout: float
    known: Response
    visits: int
    since: float
    deadline: float
    poll: float | None
    started: events.StepStarted
    sent: events.RequestSent

    def same(self, response: Response) -> bool:
        """Tell whether an answer changes nothing. Headers do not count, save what decides about the body."""
        known = self.known
        return (
            response.body == known.body
            and response.status == known.status
            and response.url == known.url
            and response.header("content-type") == known.header("content-type")
        )

    def begun(self, now: float, number: int) -> tuple[events.Event, ...]:
        """Give what is said when the visit of that number, counted from 1, begins."""
        return replace(self.started, at=now, visit=self.visits + number), replace(self.sent, at=now)

    def pause(self, response: Response, now: float, jitter: float) -> Pause:
        """Give the pause before the next visit."""
        answer = Answer(response.status, response.headers)
        return pacing.pause(answer, now, since=self.since, url=self.request.url, poll=self.poll, jitter=jitter)

    def ended(
        self, response: Response, seconds: float, now: float, pause: Pause, number: int
    ) -> tuple[events.Event, ...]:
        """Give what is said when that visit has changed nothing, and the next one is waited for."""
        first = self.started
        about: dict[str, Any] = {"at": now, "run_id": first.run_id, "path": first.path, "step_id": first.step_id}
        same = events.Unchanged(**about, status=response.status, seconds=seconds, size=len(response.body))
        if pause.until <= now:
            return (same,)
        until = min(pause.until, self.deadline)
        return same, events.Waiting(**about, until=until, why=pause.why, visit=self.visits + number + 1)
