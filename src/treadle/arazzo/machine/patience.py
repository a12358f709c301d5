"""How long things may take: deadlines of the run, of its steps and of workflows that they call; faults that pass."""

from __future__ import annotations

from typing import Final

from treadle.arazzo import pacing
from treadle.arazzo.machine.judging import Failure, Judging, Seen
from treadle.seams import Answer

__all__ = ["Patience", "throttled"]

_PASSING: Final = frozenset({"refused", "reset", "timeout", "dns", "credentials"})

# Clocks of a loop and of a wall are not the same: what is over within this time is over.
_A_MOMENT: Final = 0.005


class Patience(Judging):
    """What a turn knows about time."""

    def _limit(self) -> float:
        """Give the moment at which the run, or a workflow that a step called, has taken long enough."""
        limit = self.state.deadline
        for frame in self.state.frames:
            if frame.expires is not None and frame.expires < limit:
                limit = frame.expires
        return limit

    def _late(self) -> int | None:
        """Give the outermost workflow that has taken longer than the step that called it wants to wait."""
        for index, frame in enumerate(self.state.frames):
            if frame.expires is not None and self.now >= frame.expires - _A_MOMENT:
                return index
        return None

    def _over(self) -> Failure:
        seconds = self.step.timeout or 0.0
        return Failure(f"it took longer than its timeout of {seconds:g} s", Seen(self.context()), final=True)

    def _left(self) -> float:
        """Give the seconds that the step may still take."""
        timeout, limit = self.step.timeout, self._limit() - self.now
        return limit if timeout is None else min(limit, self.frame.attempt_at + timeout - self.now)

    def _timed_out(self) -> bool:
        """Tell whether the step's own timeout is over."""
        timeout = self.step.timeout
        return timeout is not None and self.now >= self.frame.attempt_at + timeout - _A_MOMENT

    def _patience(self) -> float:
        """Give how long one request may take: what the step still has, or what requests have."""
        limit = self._left()
        return max(0.001, limit if self.step.timeout is not None else min(limit, self.options.request_timeout))

    def _in_loop(self) -> bool:
        return self.frame.visits.get(self.frame.step, 0) > 1

    def _worth_resuming(self) -> bool:
        return self.state.effects or self._in_loop()

    def _passing(self, failure: Failure) -> bool:
        """Tell whether the fault is one that passes, and patience is left for it."""
        slowed = throttled(failure.seen.answer)
        # A certificate that is wrong, an answer that is too large or no HTTP at all will be so the next time too.
        broken = failure.fault in _PASSING and (failure.read_only or not failure.sent)
        if not slowed and not broken:
            return False
        if failure.final:
            return False
        since = self.state.trouble_since
        limit = pacing.patience(in_loop=self._in_loop(), throttled=slowed)
        return since is None or self.now - since < limit


def throttled(answer: Answer | None) -> bool:
    """Tell whether an answer only asks to slow down."""
    return answer is not None and pacing.is_throttled(answer)
