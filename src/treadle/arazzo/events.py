"""Facts about a run: the vocabulary of the journal, the reports and the console.

Every event has `at` (Unix seconds), `run_id` and `path`: the workflow frames that lead to it, outermost first, so
that a nested workflow's steps can be told apart. Values that a document or a credential marks as secret are masked
before an event is made. On the wire an event is JSON with its name in `event`.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from treadle.arazzo.criteria.verdict import Verdict
from treadle.seams import Json

__all__ = [
    "LOOP_LEFT",
    "ActionTaken",
    "AnswerReceived",
    "CriteriaJudged",
    "Event",
    "MessageReceived",
    "RequestSent",
    "Resumed",
    "RunFinished",
    "RunStarted",
    "StepFailed",
    "StepStarted",
    "StepSucceeded",
    "Trouble",
    "Unchanged",
    "Waiting",
    "Warned",
    "decode",
    "encode",
]


class _Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event", omit_defaults=True):
    at: float
    run_id: str
    path: tuple[str, ...] = ()


class RunStarted(_Fact, frozen=True, kw_only=True, tag=True):
    """The run begins; everything that could be checked has been checked."""

    document: str
    workflow_id: str
    inputs: dict[str, Json]


class Resumed(_Fact, frozen=True, kw_only=True, tag=True):
    """A stored run goes on."""

    step_id: str


class StepStarted(_Fact, frozen=True, kw_only=True, tag=True):
    """A step is entered. `visit` counts how often, from 1; `attempt` counts retries within the visit, from 1."""

    step_id: str
    visit: int
    attempt: int = 1


class RequestSent(_Fact, frozen=True, kw_only=True, tag=True):
    """A request goes out. `url` carries no secrets.

    For a channel `method` is SEND or RECEIVE (the step begins to wait for a message) and `url` the channel's.
    """

    step_id: str
    method: str
    url: str


class AnswerReceived(_Fact, frozen=True, kw_only=True, tag=True):
    """An answer came. `seconds` from sending to the last byte; `problem` says why its body could not be decoded."""

    step_id: str
    status: int
    seconds: float
    size: int
    problem: str = ""


class MessageReceived(_Fact, frozen=True, kw_only=True, tag=True):
    """A message came that the step waited for, `seconds` after it began to wait."""

    step_id: str
    channel: str
    seconds: float


class Trouble(_Fact, frozen=True, kw_only=True, tag=True):
    """A passing fault (no connection, 429, 503, throttling): the request is sent again at `again_at`."""

    step_id: str
    message: str
    tries: int
    again_at: float


class CriteriaJudged(_Fact, frozen=True, kw_only=True, tag=True):
    """Criteria were judged: the step's own (`action` is "") or those of an action."""

    step_id: str
    action: str = ""
    passed: bool
    verdicts: tuple[Verdict, ...] = ()


class StepSucceeded(_Fact, frozen=True, kw_only=True, tag=True):
    """The success criteria hold. `outputs` that resolve to nothing are left out."""

    step_id: str
    outputs: dict[str, Json]
    status: int | None = None


class StepFailed(_Fact, frozen=True, kw_only=True, tag=True):
    """The step failed; an action may still recover it."""

    step_id: str
    reason: str
    outputs: dict[str, Json] = {}
    status: int | None = None


class Unchanged(_Fact, frozen=True, kw_only=True, tag=True):
    """A visit of a poll came to the same as the one before: answer, verdicts, outputs and action are not told again."""

    step_id: str
    status: int
    seconds: float
    size: int


class ActionTaken(_Fact, frozen=True, kw_only=True, tag=True):
    """An action matched. `target` is the step or workflow that it leads to."""

    step_id: str
    name: str
    type: Literal["end", "goto", "retry"]
    target: str = ""


class Waiting(_Fact, frozen=True, kw_only=True, tag=True):
    """The run waits until `until`. `why`: "poll" (a loop is paced), "retry", "Retry-After" or "trouble"."""

    step_id: str
    until: float
    why: Literal["poll", "retry", "Retry-After", "trouble"]
    visit: int = 1


LOOP_LEFT: Final = "loop-left"
"""The rule of a warning that a loop was left because of a value that was missing."""


class Warned(_Fact, frozen=True, kw_only=True, tag=True):
    """Something is not wrong but worth knowing; `rule` names it. A note is for those who ask why (`--explain`)."""

    rule: str
    message: str
    step_id: str = ""
    severity: Literal["warning", "note"] = "warning"


class RunFinished(_Fact, frozen=True, kw_only=True, tag=True):
    """The end, for now.

    `status`: "succeeded"; "failed" (the workflow's doing); "suspended" (a fault outlasted its patience; it can be
    resumed); "in-doubt" (a request with effects has no known outcome); "interrupted" (the user's doing; resumable).
    `handled`: it failed, and an `end` of its onFailure said so. `recovered`: it succeeded after a failure that an
    action took care of. `last_body` is the decoded body of the last answer, for reports of failures.
    """

    status: Literal["succeeded", "failed", "suspended", "in-doubt", "interrupted"]
    outputs: dict[str, Json] = {}
    reason: str = ""
    step_id: str = ""
    handled: bool = False
    recovered: bool = False
    last_body: Json = None


Event: TypeAlias = (
    RunStarted
    | Resumed
    | StepStarted
    | RequestSent
    | AnswerReceived
    | MessageReceived
    | Trouble
    | CriteriaJudged
    | StepSucceeded
    | StepFailed
    | Unchanged
    | ActionTaken
    | Waiting
    | Warned
    | RunFinished
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """Give the event as JSON."""
    return _encoder.encode(event)


def decode(data: bytes) -> Event:
    """Read an event back. Raises `msgspec.MsgspecError` for anything else."""
    return _decoder.decode(data)
