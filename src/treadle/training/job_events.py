"""What can happen to a training job: the events that `job.advance` takes. `at` is when, in seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from treadle.seams import HostEvent, Json

__all__ = [
    "Announced",
    "Claimed",
    "Event",
    "HostLost",
    "HostReported",
    "InterruptRequested",
    "LaunchFailed",
    "Launched",
    "LaunchedAgain",
    "Limit",
    "LimitReached",
    "Placed",
    "Settled",
    "StopRequested",
    "Tagged",
    "Updated",
    "Waiting",
]

Limit = Literal["", "max-wait", "max-pending"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """There is no room for the job now; `why`, where there is more to be said than that."""

    at: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A new attempt begins: its hosts are about to be launched. `token_hash` is its token's; `gpus` by host.

    `selected` are the members of ResourceConfig that say which of the InstancePreferences it is; `notes` are for the
    log. `addresses` are those of the hosts' machines, on a cluster.
    """

    at: float
    token_hash: str
    hosts: tuple[str, ...]
    gpus: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    selected: Mapping[str, Json] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launched:
    """The launcher has started a host's agent."""

    at: float
    attempt: int
    host: str
    handle: str


@dataclass(frozen=True, slots=True)
class LaunchedAgain:
    """The launcher has started another agent in the place of one that was lost, whose handle was `before`."""

    at: float
    attempt: int
    host: str
    before: str
    handle: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """An agent asked for its host; the first one has it."""

    at: float
    attempt: int
    host: str
    agent: str


@dataclass(frozen=True, slots=True)
class HostReported:
    """An agent told what happened on its host."""

    at: float
    attempt: int
    host: str
    event: HostEvent


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody called StopTrainingJob."""

    at: float


@dataclass(frozen=True, slots=True)
class InterruptRequested:
    """The instances of a spot job are taken away; it begins again from its checkpoints."""

    at: float


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The job has waited for as long as its StoppingCondition lets it; see `Job.limit_reached`."""

    at: float
    limit: Limit


@dataclass(frozen=True, slots=True)
class Updated:
    """Somebody called UpdateTrainingJob: members of the request with their new values."""

    at: float
    members: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Tagged:
    """Somebody called AddTags or DeleteTags: the tags that the job has now."""

    at: float
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Announced:
    """The webhook has been told the first `count` transitions."""

    at: float
    count: int


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host's agent is gone, or silent for too long. `heard` is when it was last heard of, if that is known."""

    at: float
    attempt: int
    host: str
    reason: str
    heard: float | None = None


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """The launcher could not start a host."""

    at: float
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Outputs and logs are in their places: the decided outcome may be seen. `failure` says why they are not."""

    at: float
    failure: str = ""


Event: TypeAlias = (
    Waiting
    | Placed
    | Launched
    | LaunchedAgain
    | Claimed
    | HostReported
    | StopRequested
    | InterruptRequested
    | LimitReached
    | Updated
    | Tagged
    | Announced
    | HostLost
    | LaunchFailed
    | Settled
)
