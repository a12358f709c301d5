"""What a person wants to hear of a run: a line where something changed, silence where nothing did.

A run that polls for hours makes the same seven events again and again. The story remembers, for each step, what it
last said about each side of it (the request, the answer, the criteria, the action). An event that says the same as
last time makes no line; it is only counted. So the first look at a training job, each change of its status and the end
are lines, and the thousand looks between them are not.

A log without a terminal would then be silent for hours, and be taken for dead. With `heartbeat` the story says "still
…" when as much time has passed since its last line as the state is old: after 10 s, 20 s, 40 s … and every ten minutes
in the end.

The story does no output. `tell` gives lines, `now` is what a live view shows. All times come from the events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from treadle.arazzo.criteria import Verdict
from treadle.arazzo.events import (
    ActionTaken,
    AnswerReceived,
    CriteriaJudged,
    Event,
    MessageReceived,
    RequestSent,
    Resumed,
    RunStarted,
    StepFailed,
    StepStarted,
    StepSucceeded,
    Trouble,
    Unchanged,
    Waiting,
    Warned,
)
from treadle.reporters.text import duration, shorten, value
from treadle.seams import Json

__all__ = ["Line", "Now", "Story", "Tone", "status_of"]

Tone: TypeAlias = Literal["plain", "good", "bad", "warn", "faint"]

_VALUE_WIDTH: Final = 90
_REASON_WIDTH: Final = 160
_FIRST_HEARTBEAT: Final = 10.0
_SLOWEST_HEARTBEAT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story; `after` is seconds since the run began or was taken up again."""

    after: float
    step: str
    text: str
    tone: Tone = "plain"


class Now(msgspec.Struct, frozen=True):
    """What the run does at the moment. `since` is when the step was first entered; all times in Unix seconds."""

    step: str = ""
    visit: int = 1
    attempt: int = 1
    since: float = 0.0
    status: str = ""
    trouble: str = ""
    until: float = 0.0
    why: str = ""


@dataclass(slots=True)
class _Memory:
    """What was said about one step, by topic, and since when it has been the same."""

    first_at: float
    said: dict[str, object] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    given: dict[str, Json] | None = None
    """The outputs as they came: a poll that gives the same again needs no words."""
    status: str = ""
    changed_at: float = 0.0
    spoke_at: float = 0.0
    visits: int = 0
    troubled_since: float = 0.0
    tries: int = 0

    def news(self, topic: str, what: object) -> bool:
        """Tell whether this is not what was last said about the topic, and remember it."""
        if topic in self.said and self.said[topic] == what:
            return False
        self.said[topic] = what
        return True


_Told: TypeAlias = list[tuple[str, Tone]]


class Story:
    """Turns events into lines, and keeps what is going on now."""

    def __init__(self, *, explain: bool = False, heartbeat: bool = False) -> None:
        self.now = Now()
        self.started_at = 0.0
        self.run_id = ""
        self._explain = explain
        self._heartbeat = heartbeat
        self._steps: dict[tuple[tuple[str, ...], str], _Memory] = {}
        self._warned: set[tuple[str, str, str]] = set()

    def tell(self, event: Event) -> list[Line]:
        """Take notice of an event; give the lines that it is worth."""
        if not self.started_at:
            self.started_at = event.at
            self.run_id = event.run_id
        teller = _OF_STEPS.get(event.__class__)
        return self._of_run(event) if teller is None else self._of_step(event, teller)

    def _of_run(self, event: Event) -> list[Line]:
        match event:
            case RunStarted():
                return [Line(0.0, "", f"{event.workflow_id} of {event.document}, run {event.run_id}")]
            case Resumed():
                return [Line(self._after(event.at), "", f"run {event.run_id} goes on at {event.step_id}")]
            case Warned(severity="note") if not self._explain:
                return []
            case Warned() if (event.step_id, event.rule, event.message) not in self._warned:
                self._warned.add((event.step_id, event.rule, event.message))
                text = f"{event.severity}: {event.message} [{event.rule}]"
                return [Line(self._after(event.at), event.step_id, text, "warn")]
            case _:
                return []

    def _of_step(self, event: Any, teller: Callable[[Story, Any, _Memory], _Told]) -> list[Line]:
        key = (event.path, event.step_id)
        memory = self._steps.get(key)
        if memory is None:
            memory = self._steps[key] = _Memory(event.at, changed_at=event.at)
        told = teller(self, event, memory)
        if not told:
            return []
        memory.spoke_at = event.at
        name = "/".join((*event.path[1:], event.step_id))
        return [Line(self._after(event.at), name, text, tone) for text, tone in told]

    def _after(self, at: float) -> float:
        return max(0.0, at - self.started_at)

    def _sent(self, event: RequestSent, memory: _Memory) -> _Told:
        if self.now.why:
            self.now = replace(self.now, until=0.0, why="")
        sent = (event.method, event.url)
        return [(f"{event.method} {event.url}", "faint")] if memory.news("request", sent) else []

    def _answered(self, event: AnswerReceived, memory: _Memory) -> _Told:
        self._no_trouble()
        memory.said["seconds"] = event.seconds
        said = memory.news("problem", event.problem) and event.problem
        return [(f"{event.status}, unusable: {event.problem}", "warn")] if said else []

    def _unchanged(self, event: Unchanged, memory: _Memory) -> _Told:
        memory.said["seconds"] = event.seconds
        if self.now.status != memory.status:
            self.now = replace(self.now, status=memory.status)
        return self._still(event.at, memory)

    def _received(self, event: MessageReceived, memory: _Memory) -> _Told:
        self._no_trouble()
        text = f"a message came on {event.channel} after {duration(event.seconds)}"
        return [(text, "faint")] if memory.news("message", event.channel) else []

    def _no_trouble(self) -> None:
        if self.now.trouble:
            self.now = replace(self.now, trouble="")

    def _acted(self, event: ActionTaken, memory: _Memory) -> _Told:
        taken = (event.type, event.name, event.target)
        return [(_action(event), "plain")] if memory.news("action", taken) else []

    def _enter(self, event: StepStarted, memory: _Memory) -> _Told:
        memory.visits += event.attempt == 1
        name = "/".join((*event.path[1:], event.step_id))
        status = self.now.status if self.now.step == name else ""
        since = memory.first_at
        self.now = Now(step=name, visit=memory.visits, attempt=event.attempt, since=since, status=status)
        return []

    def _trouble(self, event: Trouble, memory: _Memory) -> _Told:
        self.now = replace(self.now, trouble=shorten(event.message, _VALUE_WIDTH), until=event.again_at, why="trouble")
        first = memory.tries == 0
        memory.tries += 1
        if first:
            memory.troubled_since = event.at
        if not first and not self._due(event.at, memory.troubled_since, memory):
            return []
        count = "" if first else f" ({memory.tries} tries in {duration(event.at - memory.troubled_since)})"
        wait = duration(event.again_at - event.at)
        return [(f"{shorten(event.message, 300)}{count}; trying again in {wait}", "warn")]

    def _recovered(self, at: float, memory: _Memory) -> _Told:
        if not memory.tries:
            return []
        told = f"answers again after {duration(at - memory.troubled_since)}"
        memory.tries = 0
        return [(told, "plain")]

    def _judged(self, event: CriteriaJudged, memory: _Memory) -> _Told:
        told = self._recovered(event.at, memory)
        if not memory.news(f"criteria of {event.action}", event.verdicts):
            return told
        whose = f"action {event.action}" if event.action else "success"
        shown = event.verdicts if self._explain else [each for each in event.verdicts if each.problem]
        return [*told, *(line for verdict in shown for line in _verdict(whose, verdict))]

    def _ended(self, event: StepSucceeded | StepFailed, memory: _Memory) -> _Told:
        if event.status is None and isinstance(event, StepFailed):
            memory.tries = 0  # it failed because nothing answered
        return [*self._recovered(event.at, memory), *self._done(event, memory)]

    def _done(self, event: StepSucceeded | StepFailed, memory: _Memory) -> _Told:
        reason = event.reason if isinstance(event, StepFailed) else ""
        if event.outputs == memory.given and memory.said.get("end") == (event.status, reason):
            if self.now.trouble or self.now.status != memory.status:
                self.now = replace(self.now, status=memory.status, trouble="")
            return self._still(event.at, memory)
        memory.given = event.outputs
        memory.status = status_of(event.outputs) or self.now.status
        self.now = replace(self.now, status=memory.status, trouble="")
        outputs = {name: shorten(value(each), _VALUE_WIDTH) for name, each in event.outputs.items()}
        changed = {name: each for name, each in outputs.items() if memory.outputs.get(name) != each}
        memory.outputs = outputs
        end = memory.news("end", (event.status, reason))
        if not end and not changed:
            return self._still(event.at, memory)
        memory.changed_at = event.at
        # The end of the run gives the whole reason; where an action recovers, the beginning of it is enough.
        parts = [f"failed: {shorten(reason, _REASON_WIDTH)}"] if isinstance(event, StepFailed) else []
        parts += [_answered(event.status, memory.said.get("seconds"))] if end and event.status is not None else []
        parts += [f"{name}: {each}" for name, each in changed.items()]
        return [("  ".join(parts) or "done", "bad" if isinstance(event, StepFailed) else "good" if end else "plain")]

    def _still(self, at: float, memory: _Memory) -> _Told:
        if not self._due(at, memory.changed_at, memory):
            return []
        what = self.now.status or "the same"
        return [(f"still {what} after {duration(at - memory.changed_at)} (visit {memory.visits})", "faint")]

    def _due(self, at: float, unchanged_since: float, memory: _Memory) -> bool:
        pause = min(max(at - unchanged_since, 2 * _FIRST_HEARTBEAT) / 2, _SLOWEST_HEARTBEAT)
        return self._heartbeat and at - memory.spoke_at >= pause

    def _wait(self, event: Waiting, memory: _Memory) -> _Told:
        self.now = replace(self.now, until=event.until, why=event.why)
        pause = duration(event.until - event.at)
        if event.why == "retry":
            return [(f"trying again in {pause}", "plain")]
        if event.why == "Retry-After" and memory.news("Retry-After", pause):
            return [(f"the server asks to wait {pause}", "plain")]
        return []


def _answered(status: int | None, seconds: object) -> str:
    return f"{status} in {duration(seconds)}" if isinstance(seconds, float) else f"{status}"


def _action(event: ActionTaken) -> str:
    name = f" ({event.name})" if event.name else ""
    return f"{event.type} {event.target}{name}" if event.target else f"{event.type}{name}"


def _verdict(whose: str, verdict: Verdict) -> Iterable[tuple[str, Tone]]:
    judged = "could not be evaluated" if verdict.problem else "holds" if verdict.passed else "does not hold"
    rules = f" [{', '.join(verdict.rules)}]" if verdict.rules else ""
    tone: Tone = "warn" if verdict.problem else "faint"
    yield f"{whose}: {shorten(verdict.condition, 200)} {judged}{rules}", tone
    for reason in (*verdict.reasons, *([verdict.problem] if verdict.problem else [])):
        yield f"    {shorten(reason, 300)}", tone


def status_of(outputs: Mapping[str, Json]) -> str:
    """Give what the outputs say about a status, in a few words: the values of the members whose names end in `status`.

    >>> status_of({"trainingJobStatus": "InProgress", "secondaryStatus": "Training", "name": "x"})
    'InProgress, Training'
    """
    found = [each for name, each in outputs.items() if name.lower().endswith("status") and isinstance(each, str)]
    return shorten(", ".join(dict.fromkeys(found)), 60)


_OF_STEPS: Final[Mapping[type, Callable[[Story, Any, _Memory], _Told]]] = {
    StepStarted: Story._enter,  # noqa: SLF001  (the table is the story's own)
    RequestSent: Story._sent,  # noqa: SLF001
    AnswerReceived: Story._answered,  # noqa: SLF001
    MessageReceived: Story._received,  # noqa: SLF001
    Trouble: Story._trouble,  # noqa: SLF001
    CriteriaJudged: Story._judged,  # noqa: SLF001
    StepSucceeded: Story._ended,  # noqa: SLF001
    StepFailed: Story._ended,  # noqa: SLF001
    Unchanged: Story._unchanged,  # noqa: SLF001
    ActionTaken: Story._acted,  # noqa: SLF001
    Waiting: Story._wait,  # noqa: SLF001
}
"""What each event of a step tells."""
