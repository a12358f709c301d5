"""The job machine: what a training job is, and what it becomes of what happens to it (`job_events`). It only decides.

A job is one frozen value. `advance(job, event)` gives the job after the event; an event that does not apply any more (a
repeat, an old attempt, anything after the end) gives the very same job back. So events may arrive late, twice, or from
an agent that should be dead, and every one of them is safe to apply.

Two layers. *Hosts* fold their agents' events into how far each has come (`Host.reached`). The *job* moves when all its
hosts have come somewhere: its moves are `TABLE`, (`SecondaryStatus`, trigger) → what follows, with AWS's own messages.
A pair that the table does not have changes nothing.

The end comes in two steps, because outputs must be visible before the status says so: an event decides the `outcome`;
the supervisor then puts the outputs in their places and says `Settled`, and only that makes the status terminal.

Rules of the list of transitions, as real answers of DescribeTrainingJob show them: a message changes inside its entry;
entries are contiguous; the last entry of a finished job has `EndTime == StartTime`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from treadle.seams import Command, HostEvent, JobRecord, Json, StagedOutput
from treadle.training.job_events import (
    Announced,
    Claimed,
    Event,
    HostLost,
    HostReported,
    InterruptRequested,
    Launched,
    LaunchedAgain,
    LaunchFailed,
    Limit,
    LimitReached,
    Placed,
    Settled,
    StopRequested,
    Tagged,
    Updated,
    Waiting,
)
from treadle.training.limits import longest_pending

__all__ = [
    "FINAL",
    "INTERNAL_ERROR",
    "TABLE",
    "Announced",
    "Claimed",
    "Event",
    "Host",
    "HostLost",
    "HostReported",
    "InterruptRequested",
    "Job",
    "LaunchFailed",
    "Launched",
    "LaunchedAgain",
    "Limit",
    "LimitReached",
    "Placed",
    "Settled",
    "StopRequested",
    "Tagged",
    "Transition",
    "Updated",
    "Waiting",
    "advance",
    "commands",
    "created",
    "decode",
    "record",
]

Status = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
Secondary = Literal[
    "Starting",
    "Pending",
    "Downloading",
    "Training",
    "Uploading",
    "Stopping",
    "Stopped",
    "MaxRuntimeExceeded",
    "MaxWaitTimeExceeded",
    "Interrupted",
    "Completed",
    "Failed",
]
Phase = Literal["placed", "downloading", "ready", "training", "uploading"]
HostOutcome = Literal["", "completed", "failed", "stopped", "interrupted", "max-runtime"]
Outcome = Literal["", "completed", "failed", "stopped", "max-runtime", "max-wait", "max-pending"]
Trigger = Literal[
    "waiting",
    "placed",
    "claimed",
    "downloading",
    "ready",
    "training",
    "uploading",
    "stop",
    "replace",
    "interrupted",
    "completed",
    "failed",
    "stopped",
    "max-runtime",
    "max-wait",
    "max-pending",
]

FINAL: Final = frozenset({"Completed", "Failed", "Stopped"})
"""The statuses that a job never leaves."""

INTERNAL_ERROR: Final = "InternalServerError: We encountered an internal error. Please try again."
"""AWS's text for a fault of the platform; the only kind of failure that `RetryStrategy` retries."""

# The statuses in which instances work for the job. It is in Starting before them, and in Interrupted without.
_WITH_INSTANCES: Final = frozenset({"Downloading", "Training", "Uploading", "Stopping"})

# FailureReason has at most so many characters.
_LONGEST_REASON = 1024


# ---------------------------------------------------------------------------------------------------------------------
# The value
# ---------------------------------------------------------------------------------------------------------------------


class Transition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of SecondaryStatusTransitions; `end` is None while it lasts. Times are Unix seconds."""

    status: Secondary
    start: float
    end: float | None = None
    message: str


class Host(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One host of the current attempt.

    `handle` is the launcher's; `agent` the id that claimed the host first, "" again when the host is lost; `seq` the
    last event taken; `reached` the furthest phase reported; `trained_for` the seconds in Training, when that is over;
    `stopping` how it will end when its program has been told to; `outcome` is set when it has ended; `gpus` are the
    machine's that only it uses. `address` is that of its machine, on a cluster. `agents` counts those it has had.
    """

    name: str
    handle: str = ""
    agent: str = ""
    seq: int = 0
    reached: Phase = "placed"
    training_since: float | None = None
    trained_for: float | None = None
    stopping: HostOutcome = ""
    outcome: HostOutcome = ""
    exit_code: int | None = None
    failure_reason: str = ""
    ended_at: float = 0.0
    gpus: tuple[int, ...] = ()
    address: str = ""
    agents: int = 1


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A training job.

    `request` is the CreateTrainingJob input with the defaults that the service adds; `image` and `command` are what its
    AlgorithmSpecification was resolved to; `notes` are lines for the start of its log. `attempt` counts from 1 and is 0
    until the job is placed; `tokens` has the hash of each attempt's token. `abandoned` are handles of hosts that must
    not live any more. `trained_before` is the seconds in Training that earlier attempts used. `interrupting` says that
    the attempt is being taken away from the job (spot), `limit` that a limit of StoppingCondition ends it. `announced`
    counts the transitions that the webhook has been told, None for a job that nobody wants to hear of.
    """

    name: str
    arn: str
    request: dict[str, Json]
    image: dict[str, Json]
    command: list[str]
    notes: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    created_at: float
    modified_at: float
    version: int = 1
    status: Status = "InProgress"
    secondary_status: Secondary = "Starting"
    transitions: tuple[Transition, ...]
    retries_left: int = 0
    max_runtime: int
    attempt: int = 0
    tokens: tuple[str, ...] = ()
    hosts: tuple[Host, ...] = ()
    abandoned: tuple[str, ...] = ()
    trained_before: float = 0.0
    stop_requested: bool = False
    interrupting: bool = False
    limit: Limit = ""
    outcome: Outcome = ""
    failure_reason: str = ""
    training_started_at: float | None = None
    training_ended_at: float | None = None
    metrics: dict[str, tuple[float, float]] = {}
    outputs: tuple[StagedOutput, ...] = ()
    announced: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the status is terminal."""
        return self.status in FINAL

    @property
    def training_seconds(self) -> int | None:
        """TrainingTimeInSeconds: whole seconds, cut, at least 1; None before the end and for a job that never began.

        The sum over all attempts, without the time in which the job had no instances.
        """
        if self.training_started_at is None or self.training_ended_at is None:
            return None
        had = [each for each in self.transitions if each.status in _WITH_INSTANCES and each.end is not None]
        return max(1, math.floor(sum((each.end or each.start) - each.start for each in had)))

    @property
    def runtime_left(self) -> int:
        """The seconds of MaxRuntimeInSeconds that earlier attempts left."""
        return max(0, math.ceil(self.max_runtime - self.trained_before))

    def limit_reached(self, now: float) -> Limit:
        """Give the limit on waiting that the job has passed.

        MaxWaitTimeInSeconds (spot only) counts all of its life, MaxPendingTimeInSeconds the time in Pending.
        """
        longest = self.request["StoppingCondition"].get("MaxWaitTimeInSeconds")
        if longest is not None and now - self.created_at >= longest:
            return "max-wait"
        if self.secondary_status != "Pending" or (longest := longest_pending(self.request)) is None:
            return ""
        return "max-pending" if now - self.transitions[-1].start >= longest else ""

    @property
    def ending(self) -> bool:
        """Whether all hosts are to end, whatever their programs have come to: by a stop, a limit, a host's failure."""
        return self.stop_requested or bool(self.limit) or any(each.outcome == "failed" for each in self.hosts)

    def host(self, name: str) -> Host | None:
        """Give the host of that name in the current attempt, or None."""
        return next((each for each in self.hosts if each.name == name), None)


def created(
    *,
    name: str,
    arn: str,
    request: dict[str, Json],
    image: dict[str, Json],
    command: list[str],
    at: float,
    notes: tuple[str, ...] = (),
) -> Job:
    """Give a new job. `request` must have its defaults: StoppingCondition.MaxRuntimeInSeconds is read from it."""
    return Job(
        name=name,
        arn=arn,
        # Tags change while the request does not.
        request={member: value for member, value in request.items() if member != "Tags"},
        tags={each["Key"]: each["Value"] for each in request.get("Tags") or ()},
        image=image,
        command=command,
        notes=notes,
        created_at=at,
        modified_at=at,
        transitions=(Transition(status="Starting", start=at, message=STARTING),),
        retries_left=request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0),
        max_runtime=request["StoppingCondition"]["MaxRuntimeInSeconds"],
    )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Job)


def record(job: Job) -> JobRecord:
    """Give the job as a store keeps it."""
    return JobRecord(
        name=job.name,
        status=job.status,
        secondary_status=job.secondary_status,
        created_at=job.created_at,
        modified_at=job.modified_at,
        version=job.version,
        body=_encoder.encode(job),
    )


def decode(stored: JobRecord) -> Job:
    """Give the job of a record."""
    return _decoder.decode(stored.body)


# ---------------------------------------------------------------------------------------------------------------------
# The table (reference §2.3)
# ---------------------------------------------------------------------------------------------------------------------


class To(msgspec.Struct, frozen=True):
    """Where a trigger leads."""

    status: Status
    secondary: Secondary
    message: str


STARTING: Final = "Starting the training job"
_LAUNCHING = To("InProgress", "Starting", "Launching requested ML instances")
_PREPARING = To("InProgress", "Starting", "Preparing the instances for training")
_WAITING = To("InProgress", "Pending", "Training job waiting for capacity")
_PREPARING_PENDING = To("InProgress", "Pending", "Preparing the instances for training")
_REPLACING = To("InProgress", "Starting", "Launched instance was unhealthy, replacing it!")
_DOWNLOADING = To("InProgress", "Downloading", "Downloading input data")
PULLING: Final = "Downloading the training image"
_TRAINING = To("InProgress", "Training", "Training image download completed. Training in progress.")
_UPLOADING = To("InProgress", "Uploading", "Uploading generated training model")
_STOPPING = To("Stopping", "Stopping", "Stopping the training job")
_COMPLETED = To("Completed", "Completed", "Training job completed")
_FAILED = To("Failed", "Failed", "Training job failed")  # [guess]: the text is not in any stored material
_STOPPED = To("Stopped", "Stopped", "Training job stopped")
# [guess] too
_EXCEEDED = To("Stopped", "MaxRuntimeExceeded", "Training job runtime exceeded MaxRuntimeInSeconds provided")
# [guess] for these as well
_INTERRUPTED = To("InProgress", "Interrupted", "Training job interrupted")
_WAITED = To("Stopped", "MaxWaitTimeExceeded", "Training job wait time exceeded MaxWaitTimeInSeconds provided")

_RUNNING: tuple[Secondary, ...] = ("Starting", "Pending", "Downloading", "Training", "Uploading", "Interrupted")

TABLE: Final[Mapping[tuple[Secondary, Trigger], To]] = {
    ("Starting", "waiting"): _WAITING,
    ("Starting", "placed"): _LAUNCHING,
    ("Pending", "placed"): _PREPARING_PENDING,
    ("Interrupted", "waiting"): _WAITING,
    ("Interrupted", "placed"): _LAUNCHING,
    ("Starting", "claimed"): _PREPARING,
    ("Pending", "claimed"): _PREPARING_PENDING,
    ("Starting", "downloading"): _DOWNLOADING,
    ("Pending", "downloading"): _DOWNLOADING,
    ("Starting", "training"): _TRAINING,
    ("Pending", "training"): _TRAINING,
    ("Downloading", "training"): _TRAINING,
    ("Starting", "uploading"): _UPLOADING,
    ("Pending", "uploading"): _UPLOADING,
    ("Downloading", "uploading"): _UPLOADING,
    ("Training", "uploading"): _UPLOADING,
    **{(each, "stop"): _STOPPING for each in _RUNNING},
    **{(each, "replace"): _REPLACING for each in _RUNNING},
    **{(each, "completed"): _COMPLETED for each in _RUNNING},
    **{(each, "failed"): _FAILED for each in _RUNNING},
    **{(each, "stopped"): _STOPPED for each in _RUNNING},
    **{(each, "max-runtime"): _EXCEEDED for each in _RUNNING},
    **{(each, "max-wait"): _WAITED for each in _RUNNING},
    **{(each, "max-pending"): _STOPPED for each in _RUNNING},
    **{(each, "interrupted"): _INTERRUPTED for each in _RUNNING if each != "Interrupted"},
    # Who asked for a stop sees the job stopped, whatever the program made of the same moment.
    ("Stopping", "completed"): _STOPPED,
    ("Stopping", "stopped"): _STOPPED,
    ("Stopping", "max-runtime"): _STOPPED,
    ("Stopping", "max-wait"): _STOPPED,
    ("Stopping", "max-pending"): _STOPPED,
    ("Stopping", "failed"): _FAILED,
}
"""(SecondaryStatus, trigger) → what follows. A pair that is not here changes nothing."""


# What is said about a job rather than done to it: it is heard after the end too, and LastModifiedTime stays.
_ASIDE: Final[frozenset[type[Event]]] = frozenset({Tagged, Announced})


def advance(job: Job, event: Event) -> Job:
    """Give the job after the event: the same object when nothing changed, else one with the next version."""
    aside = type(event) in _ASIDE
    if job.finished and not aside:
        return job
    changed = _FOLDS[type(event)](job, event)
    if changed is job:
        return job
    modified_at = job.modified_at if aside else max(event.at, job.modified_at)
    return _with(changed, version=job.version + 1, modified_at=modified_at)


def commands(job: Job, host: str) -> list[Command]:
    """Give what the agent of a host must be told, for as long as it has not ended."""
    its = job.host(host)
    if its is None or its.outcome:
        return []
    if job.ending and not job.interrupting:
        return ["stop"]
    if job.interrupting:
        return ["interrupt"]
    # All hosts begin to train together, so that none waits in vain for another's address.
    together = its.reached == "ready" and all(_ORDER.index(each.reached) >= _READY for each in job.hosts)
    return ["start"] if together else []


# ---------------------------------------------------------------------------------------------------------------------
# Folding
# ---------------------------------------------------------------------------------------------------------------------


def _with(job: Job, **changes: Any) -> Job:
    return msgspec.structs.replace(job, **changes)


def _move(job: Job, trigger: Trigger, at: float) -> Job:
    """Follow the table. An entry's time never lies before the entry that it follows (clocks of hosts differ)."""
    to = TABLE.get((job.secondary_status, trigger))
    if to is None:
        return job
    *earlier, last = job.transitions
    if to.secondary == last.status:
        if to.message == last.message:
            return job
        return _with(job, transitions=(*earlier, msgspec.structs.replace(last, message=to.message)))
    start = max(at, last.start)
    entry = Transition(status=to.secondary, start=start, end=start if to.status in FINAL else None, message=to.message)
    return _with(
        job,
        status=to.status,
        secondary_status=to.secondary,
        transitions=(*earlier, msgspec.structs.replace(last, end=start), entry),
    )


def _waiting(job: Job, event: Waiting) -> Job:
    if job.outcome:
        return job
    said = f"{_WAITING.message}: {event.why}" if event.why else _WAITING.message
    return _saying(_move(job, "waiting", event.at), "Pending", said)


def _placed(job: Job, event: Placed) -> Job:
    """Begin an attempt. It is also how a launch that nobody can find any more is given up: see `supervisor`."""
    if job.outcome or job.stop_requested or job.limit:
        return job
    given_up = tuple(each.handle for each in job.hosts if each.handle)
    placed = _with(
        job,
        attempt=job.attempt + 1,
        interrupting=False,
        tokens=(*job.tokens, event.token_hash),
        hosts=tuple(
            Host(name=each, gpus=event.gpus.get(each, ()), address=event.addresses.get(each, ""))
            for each in event.hosts
        ),
        abandoned=(*job.abandoned, *given_up),
        notes=(*job.notes, *event.notes),
    )
    if event.selected:
        resources = {**job.request["ResourceConfig"], **event.selected}
        placed = _with(placed, request={**job.request, "ResourceConfig": resources})
    return _move(placed, "placed", event.at)


def _current(job: Job, attempt: int, host: str) -> Host | None:
    """Give the host if it is one of the current attempt that has not ended, in a job that is not decided."""
    its = job.host(host) if attempt == job.attempt and not job.outcome else None
    return None if its is None or its.outcome else its


def _replace_host(job: Job, host: Host) -> Job:
    return _with(job, hosts=tuple(host if each.name == host.name else each for each in job.hosts))


def _launched(job: Job, event: Launched) -> Job:
    host = job.host(event.host) if event.attempt == job.attempt else None
    if host is None or host.handle:
        return job
    return _replace_host(job, msgspec.structs.replace(host, handle=event.handle))


def _launched_again(job: Job, event: LaunchedAgain) -> Job:
    host = _current(job, event.attempt, event.host)
    if host is None or host.handle != event.before:
        return job
    return _replace_host(job, msgspec.structs.replace(host, handle=event.handle, agents=host.agents + 1))


def _claimed(job: Job, event: Claimed) -> Job:
    host = _current(job, event.attempt, event.host)
    if host is None or host.agent:
        return job
    claimed = _replace_host(job, msgspec.structs.replace(host, agent=event.agent))
    return _move(claimed, "claimed", event.at) if all(each.agent for each in claimed.hosts) else claimed


_ORDER: tuple[Phase, ...] = ("placed", "downloading", "ready", "training", "uploading")
_READY: Final = _ORDER.index("ready")


def _reported(job: Job, report: HostReported) -> Job:
    host, event = _current(job, report.attempt, report.host), report.event
    # An event out of its order is left to be sent again, in order.
    if host is None or event.seq != host.seq + 1:
        return job
    # The host's clock says when; it cannot be later than now.
    at = min(event.at, report.at)
    host = msgspec.structs.replace(host, seq=event.seq)
    if event.kind == "ended":
        return _host_ended(job, host, event, at)
    if event.kind == "image":
        return _pulling(_replace_host(job, host), event.note)
    if event.kind == "stopping":
        ends: HostOutcome = _OUTCOMES.get(event.outcome, "failed")
        return _replace_host(job, msgspec.structs.replace(host, stopping=ends, trained_for=event.trained_for))
    return _host_reached(job, host, event.kind, at)


def _host_reached(job: Job, host: Host, phase: Phase, at: float) -> Job:
    reached = max(host.reached, phase, key=_ORDER.index)
    since, trained_for = host.training_since, host.trained_for
    if phase == "training" and since is None:
        since = at
    if phase == "uploading" and since is not None and trained_for is None:
        trained_for = max(0.0, at - since)
    host = msgspec.structs.replace(host, reached=reached, training_since=since, trained_for=trained_for)
    job = _replace_host(job, host)
    if job.training_started_at is None and not job.stop_requested and phase in {"downloading", "training"}:
        job = _with(job, training_started_at=max(at, job.transitions[-1].start))
    # The job downloads when one host does; it trains and uploads when all do.
    furthest = [_ORDER.index(each.reached) for each in job.hosts]
    together = max(furthest) if phase == "downloading" else min(furthest)
    return _move(job, phase, at) if phase != "placed" and together >= _ORDER.index(phase) else job


def _pulling(job: Job, note: str) -> Job:
    """Say in Downloading that a host fetches the image, and how far it is. It is no phase of its own."""
    return _saying(job, "Downloading", f"{PULLING}: {note}" if note else PULLING)


def _saying(job: Job, status: Secondary, message: str) -> Job:
    """Change what is said of a status, if the job is in it."""
    *earlier, last = job.transitions
    if last.status != status or last.message == message:
        return job
    return _with(job, transitions=(*earlier, msgspec.structs.replace(last, message=message)))


def _host_ended(job: Job, host: Host, event: HostEvent, at: float) -> Job:
    if event.note == "lost" and (job.ending or job.interrupting):
        return job
    outcome: HostOutcome = _OUTCOMES.get(event.outcome, "failed")
    reason = event.failure_reason if outcome == "failed" else ""
    if outcome == "failed" and reason.startswith("InternalServerError"):
        if host.trained_for is None and event.trained_for:
            host = msgspec.structs.replace(host, trained_for=event.trained_for)
        return _host_broken(job, host, at, reason)
    host = msgspec.structs.replace(host, outcome=outcome, exit_code=event.exit_code, failure_reason=reason, ended_at=at)
    metrics = dict(job.metrics)
    for name, (value, when, *_) in event.metrics.items():
        if name not in metrics or metrics[name][1] <= when:
            metrics[name] = (value, when)
    return _host_over(_with(job, metrics=metrics, outputs=(*job.outputs, *event.outputs)), host, at)


def _host_over(job: Job, host: Host, at: float) -> Job:
    """Take a host that has ended; when it is the last one, the outcome is decided."""
    job = _replace_host(job, host)
    if not all(each.outcome for each in job.hosts):
        return job
    # How a program ends that is interrupted means nothing, unless it was done.
    unfinished = any(each.outcome != "completed" for each in job.hosts)
    return _interrupted(job, at) if job.interrupting and unfinished else _decided(job)


_OUTCOMES: Mapping[str, HostOutcome] = {
    "completed": "completed",
    "failed": "failed",
    "stopped": "stopped",
    "interrupted": "interrupted",
    "max-runtime": "max-runtime",
}


def _decided(job: Job) -> Job:
    """All hosts have ended. The first failure is the job's; else the least happy end of a host is."""
    failed = sorted((each for each in job.hosts if each.outcome == "failed"), key=lambda each: each.ended_at)
    if failed:
        # The others have been stopped, and have a model; the job has none.
        without_model = tuple(each for each in job.outputs if not each.model)
        return _failed(_with(job, outputs=without_model), failed[0].failure_reason)
    # An interruption that a Stop has overtaken has become one.
    ends = {"stopped" if each.outcome == "interrupted" else each.outcome for each in job.hosts}
    order: tuple[Outcome, ...] = ("max-runtime", "stopped", "completed")
    outcome = next(each for each in order if each in ends)
    return _with(job, outcome=job.limit if job.limit and outcome == "stopped" else outcome)


def _stop(job: Job, event: StopRequested) -> Job:
    if job.outcome or job.stop_requested:
        return job
    stopped = _move(_with(job, stop_requested=True, interrupting=False), "stop", event.at)
    # What has not been placed has nothing that could still end.
    return stopped if job.hosts else _with(stopped, outcome="stopped")


def _interrupt(job: Job, _event: InterruptRequested) -> Job:
    """Take the instances away; what has none yet, or is about to end anyway, is left alone."""
    if job.outcome or job.stop_requested or job.limit or not job.hosts:
        return job
    return job if job.interrupting else _with(job, interrupting=True)


def _limit(job: Job, event: LimitReached) -> Job:
    if job.outcome or job.stop_requested or job.limit:
        return job
    limited = _with(job, limit=event.limit, interrupting=False)
    # What has not been placed has nothing that could still end.
    return limited if job.hosts else _with(limited, outcome=event.limit)


def _updated(job: Job, event: Updated) -> Job:
    return _with(job, request={**job.request, **event.members})


def _tagged(job: Job, event: Tagged) -> Job:
    return job if job.tags == event.tags else _with(job, tags=dict(event.tags))


def _announced(job: Job, event: Announced) -> Job:
    return job if job.announced == event.count else _with(job, announced=event.count)


def _lost(job: Job, event: HostLost) -> Job:
    host = _current(job, event.attempt, event.host)
    if host is None:
        return job
    if host.training_since is not None and host.trained_for is None:
        heard = event.at if event.heard is None else event.heard
        host = msgspec.structs.replace(host, trained_for=max(0.0, heard - host.training_since))
    # Without its agent's id nobody can speak for it any more, should the agent be alive after all.
    given_up = (host.handle,) if host.handle else ()
    host = msgspec.structs.replace(host, agent="", handle="")
    job = _with(_replace_host(job, host), abandoned=(*job.abandoned, *given_up))
    return _host_broken(job, host, event.at, f"{INTERNAL_ERROR} {event.reason}")


def _launch_failed(job: Job, event: LaunchFailed) -> Job:
    if event.attempt != job.attempt or job.outcome:
        return job
    return _broken(job, event.at, f"{INTERNAL_ERROR} {event.reason}")


def _host_broken(job: Job, host: Host, at: float, reason: str) -> Job:
    """End a host that the platform failed. One that was to end anyway has ended; else it takes the attempt with it."""
    used_up = host.trained_for is not None and host.trained_for >= job.runtime_left
    used_up = used_up or host.stopping == "max-runtime"
    end: HostOutcome = "max-runtime" if used_up else ""
    if job.ending or job.interrupting:
        end = "interrupted" if job.interrupting else "stopped"
    if not end:
        return _broken(_replace_host(job, host), at, reason)
    # What the others still save is kept.
    return _host_over(job, msgspec.structs.replace(host, outcome=end, ended_at=at), at)


def _broken(job: Job, at: float, reason: str) -> Job:
    """End an attempt that the platform failed: begin again where RetryStrategy allows it, else the job has failed.

    A job that was to stop has stopped, whatever became of its hosts: that was answered.
    """
    if job.interrupting:
        return _interrupted(job, at)
    over = _without_hosts(job, at)
    if job.limit or job.stop_requested:
        return _with(over, outcome=job.limit or "stopped")
    if over.runtime_left == 0:
        return _with(over, outcome="max-runtime")
    if job.retries_left == 0:
        return _failed(over, reason)
    why = f"Attempt {job.attempt} ended with {reason}"
    return _move(_with(over, retries_left=job.retries_left - 1, notes=(*job.notes, why)), "replace", at)


def _without_hosts(job: Job, at: float) -> Job:
    """Give up the attempt; what it had to show is gone, the time that it used is not."""
    used = max((_trained(each, at) for each in job.hosts), default=0.0)
    given_up = tuple(each.handle for each in job.hosts if each.handle)
    return _with(
        job,
        hosts=(),
        outputs=(),
        abandoned=(*job.abandoned, *given_up),
        trained_before=job.trained_before + used,
    )


def _trained(host: Host, now: float) -> float:
    if host.trained_for is not None:
        return host.trained_for
    return 0.0 if host.training_since is None else max(0.0, now - host.training_since)


def _interrupted(job: Job, at: float) -> Job:
    """End an attempt whose instances were taken away; a new one begins as soon as there is room (§1.9)."""
    over = _with(_without_hosts(job, at), interrupting=False)
    if over.runtime_left == 0:
        return _with(over, outcome="max-runtime")
    why = f"Attempt {job.attempt} ended because its instances were taken away."
    return _move(_with(over, notes=(*job.notes, why)), "interrupted", at)


def _settled(job: Job, event: Settled) -> Job:
    if not job.outcome:
        return job
    if event.failure:
        job = _failed(job, event.failure)
    # `outcome` is one of the triggers as soon as it is not empty.
    ended = _move(job, job.outcome or "failed", event.at)
    began = ended.training_started_at is not None
    return _with(ended, training_ended_at=ended.transitions[-1].start if began else None)


def _failed(job: Job, reason: str) -> Job:
    cut = reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"
    return _with(job, outcome="failed", failure_reason=cut)


_FOLDS: Mapping[type[Event], Callable[[Job, Any], Job]] = {
    Waiting: _waiting,
    Placed: _placed,
    Launched: _launched,
    LaunchedAgain: _launched_again,
    Claimed: _claimed,
    HostReported: _reported,
    StopRequested: _stop,
    InterruptRequested: _interrupt,
    LimitReached: _limit,
    Updated: _updated,
    Tagged: _tagged,
    Announced: _announced,
    HostLost: _lost,
    LaunchFailed: _launch_failed,
    Settled: _settled,
}
