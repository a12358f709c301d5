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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

import msgspec
from msgspec.structs import replace

from treadle.arazzo.events import (
    ActionTaken,
    AnswerReceived,
    CriteriaJudged,
    Event,
    MessageReceived,
    RequestSent,
    Resumed,
    RunFinished,
    RunStarted,
    StepFailed,
    StepStarted,
    StepSucceeded,
    Trouble,
    VerdictFact,
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


_StepEvent: TypeAlias = (
    StepStarted
    | RequestSent
    | AnswerReceived
    | MessageReceived
    | Trouble
    | CriteriaJudged
    | StepSucceeded
    | StepFailed
    | ActionTaken
    | Waiting
)


_OF_STEPS: Final = frozenset(get_args(_StepEvent))


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
        if event.__class__ in _OF_STEPS:
            return self._step(event)  # type: ignore[arg-type]
        match event:
            case RunStarted():
                return [Line(0.0, "", f"{event.workflow_id} of {event.document}, run {event.run_id}")]
            case Resumed():
                return [Line(self._after(event.at), "", f"run {event.run_id} goes on at {event.step_id}")]
            case Warned(severity="note") if not self._explain:
                return []
            case Warned() if (event.step_id, event.rule, event.message) in self._warned:
                return []
            case Warned():
                self._warned.add((event.step_id, event.rule, event.message))
                text = f"{event.severity}: {event.message} [{event.rule}]"
                return [Line(self._after(event.at), event.step_id, text, "warn")]
            case RunFinished():
                return []
            case _:
                return self._step(event)

    def _after(self, at: float) -> float:
        return max(0.0, at - self.started_at)

    def _step(self, event: _StepEvent) -> list[Line]:
        memory = self._steps.setdefault((event.path, event.step_id), _Memory(event.at, changed_at=event.at))
        told = self._told(event, memory)
        if not told:
            return []
        memory.spoke_at = event.at
        name = "/".join((*event.path[1:], event.step_id))
        return [Line(self._after(event.at), name, text, tone) for text, tone in told]

    def _told(self, event: _StepEvent, memory: _Memory) -> list[tuple[str, Tone]]:
        match event:
            case StepStarted():
                self._enter(event, memory)
                return []
            case RequestSent():
                self.now = replace(self.now, until=0.0, why="")
                sent = (event.method, event.url)
                return [(f"{event.method} {event.url}", "faint")] if memory.news("request", sent) else []
            case AnswerReceived():
                self.now = replace(self.now, trouble="")
                memory.said["seconds"] = event.seconds
                said = memory.news("problem", event.problem) and event.problem
                return [(f"{event.status}, unusable: {event.problem}", "warn")] if said else []
            case MessageReceived():
                self.now = replace(self.now, trouble="")
                text = f"a message came on {event.channel} after {duration(event.seconds)}"
                return [(text, "faint")] if memory.news("message", event.channel) else []
            case Trouble():
                return self._trouble(event, memory)
            case CriteriaJudged():
                return [*self._recovered(event.at, memory), *self._judged(event, memory)]
            case StepFailed(status=None):
                memory.tries = 0  # it failed because nothing answered
                return self._done(event, memory)
            case StepSucceeded() | StepFailed():
                return [*self._recovered(event.at, memory), *self._done(event, memory)]
            case ActionTaken():
                taken = (event.type, event.name, event.target)
                return [(_action(event), "plain")] if memory.news("action", taken) else []
            case Waiting():
                return self._wait(event, memory)

    def _enter(self, event: StepStarted, memory: _Memory) -> None:
        memory.visits += event.attempt == 1
        name = "/".join((*event.path[1:], event.step_id))
        status = self.now.status if self.now.step == name else ""
        since = memory.first_at
        self.now = Now(step=name, visit=memory.visits, attempt=event.attempt, since=since, status=status)

    def _trouble(self, event: Trouble, memory: _Memory) -> list[tuple[str, Tone]]:
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

    def _recovered(self, at: float, memory: _Memory) -> list[tuple[str, Tone]]:
        if not memory.tries:
            return []
        told = f"answers again after {duration(at - memory.troubled_since)}"
        memory.tries = 0
        return [(told, "plain")]

    def _judged(self, event: CriteriaJudged, memory: _Memory) -> list[tuple[str, Tone]]:
        topic = f"criteria of {event.action}"
        if not memory.news(topic, event.verdicts):
            return []
        whose = f"action {event.action}" if event.action else "success"
        shown = event.verdicts if self._explain else [each for each in event.verdicts if each.problem]
        return [line for verdict in shown for line in _verdict(whose, verdict)]

    def _done(self, event: StepSucceeded | StepFailed, memory: _Memory) -> list[tuple[str, Tone]]:
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

    def _still(self, at: float, memory: _Memory) -> list[tuple[str, Tone]]:
        if not self._due(at, memory.changed_at, memory):
            return []
        what = self.now.status or "the same"
        return [(f"still {what} after {duration(at - memory.changed_at)} (visit {memory.visits})", "faint")]

    def _due(self, at: float, unchanged_since: float, memory: _Memory) -> bool:
        pause = min(max(at - unchanged_since, 2 * _FIRST_HEARTBEAT) / 2, _SLOWEST_HEARTBEAT)
        return self._heartbeat and at - memory.spoke_at >= pause

    def _wait(self, event: Waiting, memory: _Memory) -> list[tuple[str, Tone]]:
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


def _verdict(whose: str, verdict: VerdictFact) -> Iterable[tuple[str, Tone]]:
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
