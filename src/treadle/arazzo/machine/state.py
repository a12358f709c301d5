"""Where a run is: a plain value that can be stored and read back. Members are only ever added, with a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from treadle.seams import MISSING, Answer, Json, Missing

__all__ = ["Detour", "Finished", "Frame", "Held", "State", "copied", "ended", "held", "released", "with_own_top"]


class Held(msgspec.Struct, kw_only=True, gc=False):
    """The answer of a step that waits while its retry runs something else: later actions may be judged on it."""

    status: int = 0
    headers: list[tuple[str, str]] = []
    body: Json = None
    has_body: bool = False
    url: str = ""
    message: dict[str, Json] | None = None
    """What `$message` means, where the step uses a channel: then there is no answer."""


class Detour(msgspec.Struct, kw_only=True, gc=False):
    """A retry that runs a step (`step`) or a workflow (a frame on top) before it tries `origin` again."""

    origin: str
    action: str
    step: str = ""
    reason: str = ""
    held: Held | None = None
    attempt: int = 1
    retries: dict[str, int] = {}
    """How often the origin was tried and by which action: the step that runs first has counts of its own."""


class Frame(msgspec.Struct, kw_only=True, gc=False):
    """One workflow that has begun: which step it is at, what its steps gave, how often they were visited."""

    workflow: str
    inputs: dict[str, Json]
    purpose: Literal["entry", "call", "detour", "dependency"] = "entry"
    step: str = ""
    outputs: dict[str, dict[str, Json]] = {}
    visits: dict[str, int] = {}
    entered: dict[str, float] = {}
    """Step → when it was last entered by going forward: what a loop that comes back to it counts its time from."""
    attempt: int = 1
    attempt_at: float = 0.0
    """When the attempt began: what the timeout of the step counts from."""
    expires: float | None = None
    """When the step that called this workflow has waited long enough (1.1's `timeout`)."""
    completed: list[str] = []
    """The steps that succeeded, of those that others depend on."""
    retries: dict[str, int] = {}
    """Action name → retries made in this visit."""
    detour: Detour | None = None
    recovered: bool = False
    way: dict[str, float] = {}
    """Workflow → when it was entered first, of those that went to each other until this one, which is the last."""
    last_status: int | None = None
    """The status of its last answer, for a step that calls it and looks at `$statusCode` (`workflow-step-status`)."""


class Finished(msgspec.Struct, kw_only=True, gc=False):
    """A workflow that has ended: what `$workflows.<id>` refers to."""

    inputs: dict[str, Json]
    outputs: dict[str, Json]
    succeeded: bool
    completed: list[str] = []
    reason: str = ""
    """Why it failed."""


class State(msgspec.Struct, kw_only=True, gc=False):
    """Where a run is. Everything that `resume` needs besides the plan."""

    run_id: str
    started_at: float
    deadline: float
    frames: list[Frame]
    finished: dict[str, Finished] = {}
    next: Literal["enter", "visit", "attempt", "send", ""] = "enter"
    """What `Due` does: enter the top frame, visit its step anew, try the step again, or send again."""
    due: float | None = None
    intent: bool = False
    tries: int = 0
    trouble_since: float | None = None
    effects: bool = False
    """Whether a request that may have changed something was answered."""
    recovered: bool = False
    references: list[str] = []
    """The secrets that the user gave by reference: `env:NAME`, `file:PATH`. Only these are ever looked up."""
    status: str = ""
    version: int = 1


def copied(state: State) -> State:
    """Copy what a turn may change: the state, and the top frame. Values in outputs are never changed."""
    return msgspec.structs.replace(state, frames=with_own_top(state.frames), finished=dict(state.finished))


def ended(state: State) -> State:
    """Give what is kept of a run that has ended: nothing goes on from it, and what it was given may be secret."""
    return msgspec.structs.replace(state, frames=[], finished={}, references=[])


def with_own_top(frames: list[Frame]) -> list[Frame]:
    """Copy a stack whose top frame is going to be changed."""
    frames = list(frames)
    if frames:
        top = frames[-1]
        frames[-1] = msgspec.structs.replace(
            top,
            outputs=dict(top.outputs),
            visits=dict(top.visits),
            entered=dict(top.entered),
            retries=dict(top.retries),
            completed=list(top.completed),
        )
    return frames


def held(answer: Answer | None, message: Mapping[str, Json] | None) -> Held | None:
    """Keep what a step saw, so that it can be stored."""
    if answer is None:
        return Held(message=dict(message)) if message is not None else None
    has_body = answer.body is not MISSING
    return Held(
        status=answer.status,
        headers=list(answer.headers),
        body=answer.body if has_body else None,
        has_body=has_body,
        url=answer.url,
    )


def released(kept: Held | None) -> Answer | None:
    """Give back the answer that was kept, if it was one."""
    if kept is None or kept.message is not None:
        return None
    body: Json | Missing = kept.body if kept.has_body else MISSING
    return Answer(status=kept.status, headers=tuple(kept.headers), body=body, url=kept.url)
