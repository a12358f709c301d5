"""The job machine: its table, its folding of hosts, and what no order of events can break."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.seams import HostEvent, StagedOutput
from treadle.training import job as machine
from treadle.training.job import (
    FINAL,
    INTERNAL_ERROR,
    TABLE,
    Announced,
    Claimed,
    Event,
    HostLost,
    HostReported,
    InterruptRequested,
    Job,
    Launched,
    LaunchedAgain,
    LaunchFailed,
    LimitReached,
    Placed,
    Settled,
    StopRequested,
    Tagged,
    Updated,
    Waiting,
    advance,
    commands,
    created,
)


def new(*, retries: int = 0, max_runtime: int = 86400) -> Job:
    request: dict[str, Any] = {"StoppingCondition": {"MaxRuntimeInSeconds": max_runtime}}
    if retries:
        request["RetryStrategy"] = {"MaximumRetryAttempts": retries}
    return created(name="j", arn="arn:j", request=request, image={}, command=["train"], at=100.0)


def after(job: Job, *events: Event) -> Job:
    for event in events:
        job = advance(job, event)
    return job


def placed(job: Job, at: float = 101.0, hosts: tuple[str, ...] = ("algo-1",)) -> Job:
    job = advance(job, Placed(at, f"hash-{job.attempt + 1}", hosts))
    for host in hosts:
        job = after(job, Launched(at, job.attempt, host, f"handle-{host}"), Claimed(at + 1, job.attempt, host, "agent"))
    return job


def told(job: Job, at: float, kind: Any, host: str = "algo-1", **more: Any) -> Event:
    its = job.host(host)
    seq = its.seq + 1 if its else 1
    return HostReported(at, job.attempt, host, HostEvent(seq=seq, kind=kind, at=at, **more))


def ran(job: Job, kinds: Sequence[tuple[float, str]], host: str = "algo-1", **more: Any) -> Job:
    for at, kind in kinds:
        job = advance(job, told(job, at, kind, host, **(more if kind == "ended" else {})))
    return job


ALL = ((105.0, "downloading"), (110.0, "training"), (120.0, "uploading"), (125.9, "ended"))


def story(job: Job) -> list[tuple[str, float, float | None, str]]:
    return [(each.status, each.start, each.end, each.message) for each in job.transitions]


def names(job: Job) -> list[str]:
    return [each.status for each in job.transitions]


def test_a_job_that_completes_tells_aws_story() -> None:
    """Statuses, messages and times of a job on one host, from creation to the end."""
    output = StagedOutput(bucket="b", staged="s", target="t")
    job = ran(placed(new()), ALL, outcome="completed", exit_code=0, outputs=[output], metrics={"auc": [0.5, 119.0]})
    assert (job.status, job.secondary_status, job.outcome) == ("InProgress", "Uploading", "completed")
    job = advance(job, Settled(126.5))
    assert story(job) == [
        ("Starting", 100.0, 105.0, "Preparing the instances for training"),
        ("Downloading", 105.0, 110.0, "Downloading input data"),
        ("Training", 110.0, 120.0, "Training image download completed. Training in progress."),
        ("Uploading", 120.0, 126.5, "Uploading generated training model"),
        ("Completed", 126.5, 126.5, "Training job completed"),
    ]
    assert (job.status, job.secondary_status) == ("Completed", "Completed")
    assert (job.training_started_at, job.training_ended_at, job.training_seconds) == (105.0, 126.5, 21)
    assert job.outputs == (output,)
    assert job.metrics == {"auc": (0.5, 119.0)}


def test_messages_of_starting_change_inside_one_entry() -> None:
    """Placing and claiming do not add entries."""
    job = new()
    assert story(job) == [("Starting", 100.0, None, "Starting the training job")]
    job = advance(job, Placed(101.0, "h", ("algo-1",)))
    assert story(job) == [("Starting", 100.0, None, "Launching requested ML instances")]
    job = advance(job, Claimed(102.0, 1, "algo-1", "a"))
    assert story(job) == [("Starting", 100.0, None, "Preparing the instances for training")]


def test_a_job_without_room_is_pending_until_it_is_placed() -> None:
    """Waiting twice changes nothing; when there is room it prepares while still Pending."""
    job = advance(new(), Waiting(101.0))
    assert advance(job, Waiting(102.0)) is job
    assert story(job)[-1] == ("Pending", 101.0, None, "Training job waiting for capacity")
    job = advance(job, Placed(103.0, "h", ("algo-1",)))
    assert story(job)[-1] == ("Pending", 101.0, None, "Preparing the instances for training")
    assert names(ran(placed(job), ALL[:1])) == ["Starting", "Pending", "Downloading"]


@pytest.mark.parametrize(
    ("phases", "outcome", "statuses", "end"),
    [
        pytest.param(
            ALL, "failed", ["Starting", "Downloading", "Training", "Uploading", "Failed"], "Failed", id="algo"
        ),
        pytest.param((ALL[0], ALL[3]), "failed", ["Starting", "Downloading", "Failed"], "Failed", id="download"),
        pytest.param(
            ALL,
            "max-runtime",
            ["Starting", "Downloading", "Training", "Uploading", "MaxRuntimeExceeded"],
            "Stopped",
            id="max-runtime",
        ),
        pytest.param((ALL[3],), "failed", ["Starting", "Failed"], "Failed", id="before anything"),
        pytest.param((ALL[3],), "no such outcome", ["Starting", "Failed"], "Failed", id="unknown outcome"),
    ],
)
def test_ends(phases: Sequence[tuple[float, str]], outcome: str, statuses: list[str], end: str) -> None:
    """How a host ends is how its job ends."""
    job = ran(placed(new()), phases, outcome=outcome, failure_reason="AlgorithmError: , exit code: 1")
    job = advance(job, Settled(130.0))
    assert names(job) == statuses
    assert job.status == end
    assert job.failure_reason == ("AlgorithmError: , exit code: 1" if end == "Failed" else "")
    assert (job.training_seconds is None) == (len(phases) == 1)


@pytest.mark.parametrize("reached", [0, 1, 2, 3])
@pytest.mark.parametrize("outcome", ["stopped", "completed", "max-runtime"])
def test_a_stop_in_each_phase_ends_stopped(reached: int, outcome: str) -> None:
    """Stopping is one entry, whatever the host still does, and the host is told to stop until it has ended."""
    job = ran(placed(new()), ALL[:reached])
    assert commands(job, "algo-1") == []
    job = advance(job, StopRequested(121.0))
    assert (job.status, job.secondary_status) == ("Stopping", "Stopping")
    assert advance(job, StopRequested(122.0)) is job
    assert commands(job, "algo-1") == ["stop"]
    job = ran(job, [(123.0, "uploading"), (124.0, "ended")], outcome=outcome)
    assert commands(job, "algo-1") == []
    job = advance(job, Settled(125.0))
    assert names(job)[-2:] == ["Stopping", "Stopped"]
    assert (job.status, job.training_ended_at) == ("Stopped", 125.0 if reached else None)


def test_a_stop_before_placing_needs_no_host() -> None:
    """Nothing runs, so it can be settled at once; it is not placed any more."""
    job = advance(new(), StopRequested(101.0))
    assert job.outcome == "stopped"
    assert advance(job, Placed(102.0, "h", ("algo-1",))) is job
    job = advance(job, Settled(102.0))
    assert names(job) == ["Starting", "Stopping", "Stopped"]
    assert job.training_started_at is None
    assert job.training_seconds is None


def test_a_stop_that_comes_after_the_end_was_decided_changes_nothing() -> None:
    """Outputs are on their way to their place: the job completes."""
    job = ran(placed(new()), ALL, outcome="completed")
    assert advance(job, StopRequested(130.0)) is job


def test_a_lost_host_without_retries_fails_the_job() -> None:
    """AWS's text, then the reason; the handle is given up."""
    job = ran(placed(new()), ALL[:2])
    job = advance(job, HostLost(150.0, 1, "algo-1", "The agent is gone."))
    assert job.outcome == "failed"
    assert job.failure_reason == f"{INTERNAL_ERROR} The agent is gone."
    assert job.abandoned == ("handle-algo-1",)
    assert names(advance(job, Settled(151.0))) == ["Starting", "Downloading", "Training", "Failed"]


def test_a_lost_host_is_replaced_while_retries_are_left() -> None:
    """The job starts again with a new attempt, less runtime, and the old attempt's events mean nothing."""
    job = ran(placed(new(retries=1, max_runtime=100)), ALL[:2])
    late = told(job, 152.0, "uploading")
    job = advance(job, HostLost(150.5, 1, "algo-1", "gone"))
    assert (job.secondary_status, job.outcome, job.retries_left, job.hosts) == ("Starting", "", 0, ())
    assert job.transitions[-1].message == "Launched instance was unhealthy, replacing it!"
    job = placed(job, at=151.0)
    assert job.attempt == 2
    assert job.runtime_left == 60
    assert advance(job, late) is job
    assert advance(job, HostLost(153.0, 1, "algo-1", "gone")) is job
    job = advance(ran(job, [(160.0, kind) for _, kind in ALL], outcome="completed"), Settled(161.0))
    assert names(job) == [
        *("Starting", "Downloading", "Training"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert job.training_started_at == 105.0


def test_an_agent_that_reports_an_internal_error_is_retried_too() -> None:
    """RetryStrategy is about InternalServerError, whoever says it."""
    job = ran(placed(new(retries=1)), ALL[:1])
    job = ran(job, [ALL[3]], outcome="failed", failure_reason="InternalServerError: disk")
    assert (job.secondary_status, job.hosts) == ("Starting", ())


def test_attempts_share_the_maximum_runtime() -> None:
    """When earlier attempts have used it up there is no other one."""
    job = ran(placed(new(retries=3, max_runtime=10)), ALL[:2])
    job = advance(job, HostLost(150.0, 1, "algo-1", "gone"))
    assert job.outcome == "max-runtime"


@pytest.mark.parametrize("reached", [0, 1, 2, 3])
def test_a_host_lost_while_stopping(reached: int) -> None:
    """Stopped, which was promised, and no retry: what it had not saved is gone, and its agent may say nothing more."""
    job = advance(ran(placed(new(retries=5)), ALL[:reached]), StopRequested(121.0))
    job = advance(job, HostLost(122.0, 1, "algo-1", "gone"))
    assert (job.hosts[0].agent, job.abandoned) == ("", ("handle-algo-1",))
    job = advance(job, Settled(123.0))
    assert (names(job)[-2:], job.failure_reason) == (["Stopping", "Stopped"], "")


@pytest.mark.parametrize("reason", ["InternalServerError: no room", ""])
def test_what_the_other_hosts_save_at_a_stop_is_kept(reason: str) -> None:
    """One is lost, or its agent has a fault of its own; the others end in their time."""
    job = advance(ran(placed(new(retries=1), hosts=("algo-1", "algo-2")), ALL[:2]), StopRequested(121.0))
    job = ran(job, ALL[:2], "algo-2")
    if reason:
        job = ran(job, [(122.0, "ended")], outcome="failed", failure_reason=reason)
    else:
        job = advance(job, HostLost(122.0, 1, "algo-1", "gone"))
    assert (job.outcome, commands(job, "algo-2")) == ("", ["stop"])
    output = StagedOutput(bucket="b", staged="s", target="t", model=True)
    job = ran(job, [(130.0, "uploading"), (131.0, "ended")], "algo-2", outcome="stopped", outputs=[output])
    assert (job.outcome, job.outputs) == ("stopped", (output,))


@pytest.mark.parametrize("order", [StopRequested(121.0), InterruptRequested(121.0), LimitReached(121.0, "max-wait")])
def test_an_agent_that_has_not_heard_of_an_order_may_not_say_that_its_host_is_lost(order: Any) -> None:
    """The order came first: it will hear of it, and then says what it has kept."""
    job = ran(placed(new()), ALL[:2])
    lost = told(job, 122.0, "ended", outcome="failed", failure_reason="InternalServerError: x", note="lost")
    assert advance(job, lost).outcome == "failed"
    job = advance(job, order)
    assert advance(job, lost) is job
    job = advance(job, told(job, 123.0, "ended", outcome="stopped"))
    assert job.hosts == () or job.hosts[0].outcome == "stopped"


def test_a_host_that_is_lost_after_another_has_failed_changes_nothing() -> None:
    """The job fails for the reason that it has, and is not tried again: it was no fault of the platform."""
    job = placed(new(retries=3), hosts=("algo-1", "algo-2"))
    job = ran(job, [(130.0, "ended")], outcome="failed", failure_reason="AlgorithmError: x")
    job = advance(job, HostLost(131.0, 1, "algo-2", "gone"))
    assert (job.outcome, job.failure_reason) == ("failed", "AlgorithmError: x")


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize(
    ("reached", "heard", "outcome"),
    [
        pytest.param(2, None, "max-runtime", id="training"),
        pytest.param(2, 130.0, "failed", id="heard-of-before"),
        pytest.param(3, None, "failed", id="uploading"),
    ],
)
def test_a_host_lost_when_its_runtime_is_over(reached: int, heard: float | None, outcome: str, retries: int) -> None:
    """MaxRuntimeInSeconds was reached, as far as anybody knows; the time of uploading is not in it."""
    job = ran(placed(new(retries=retries, max_runtime=30)), ALL[:reached])
    job = advance(job, HostLost(150.0, 1, "algo-1", "gone", heard))
    assert job.outcome == (outcome if outcome != "failed" or not retries else "")


def test_a_launch_that_fails_is_an_internal_error() -> None:
    """It is retried, and then it fails the job."""
    job = advance(new(retries=1), Placed(101.0, "h", ("algo-1",)))
    job = advance(job, LaunchFailed(102.0, 1, "no python"))
    assert job.outcome == ""
    job = after(job, Placed(103.0, "i", ("algo-1",)), LaunchFailed(104.0, 2, "no python"))
    assert job.failure_reason == f"{INTERNAL_ERROR} no python"


def test_a_launch_that_is_placed_again_gives_up_the_old_handle() -> None:
    """A supervisor that cannot know whether a launch happened begins a new attempt without using up a retry."""
    job = after(
        new(), Placed(101.0, "h", ("algo-1",)), Launched(101.0, 1, "algo-1", "x"), Placed(105.0, "i", ("algo-1",))
    )
    assert (job.attempt, job.tokens, job.abandoned) == (2, ("h", "i"), ("x",))


def test_several_hosts_move_the_job_together() -> None:
    """It downloads when one does, trains and uploads when all do, ends when all have."""
    job = placed(new(), hosts=("algo-1", "algo-2"))
    job = ran(job, ALL[:3])
    assert job.secondary_status == "Downloading"
    job = ran(job, ALL[:2], "algo-2")
    assert job.secondary_status == "Training"
    job = ran(job, ALL[3:], outcome="completed")
    assert job.outcome == ""
    job = ran(job, ALL[2:], "algo-2", outcome="completed")
    assert (job.secondary_status, job.outcome) == ("Uploading", "completed")


def test_the_first_failure_of_a_host_is_the_jobs_and_stops_the_others() -> None:
    """By the hosts' own times."""
    job = placed(new(), hosts=("algo-1", "algo-2", "algo-3"))
    job = ran(job, [(130.0, "ended")], "algo-2", outcome="failed", failure_reason="second")
    assert commands(job, "algo-1") == ["stop"]
    assert commands(job, "algo-2") == []
    job = ran(job, [(129.0, "ended")], "algo-1", outcome="failed", failure_reason="first")
    job = ran(job, [(131.0, "ended")], "algo-3", outcome="stopped")
    assert (job.outcome, job.failure_reason) == ("failed", "first")


def test_a_job_that_fails_has_no_model() -> None:
    """Hosts that were stopped because another failed have uploaded theirs; their other outputs are kept."""
    job = placed(new(), hosts=("algo-1", "algo-2"))
    job = ran(job, [(130.0, "ended")], "algo-2", outcome="failed", failure_reason="x")
    outputs = [StagedOutput(bucket="b", staged=each, target=each, model=each == "m") for each in ("m", "o")]
    job = ran(job, [(131.0, "ended")], "algo-1", outcome="stopped", outputs=outputs)
    assert [each.target for each in job.outputs] == ["o"]


def test_hosts_begin_to_train_together() -> None:
    """Each is told to start when all are ready, also one that says so again; the job goes on downloading till then."""
    job = placed(new(), hosts=("algo-1", "algo-2"))
    job = ran(job, [(105.0, "downloading"), (106.0, "ready")], "algo-1")
    assert (commands(job, "algo-1"), job.secondary_status) == ([], "Downloading")
    job = ran(job, [(105.0, "downloading"), (108.0, "ready")], "algo-2")
    assert [commands(job, each) for each in ("algo-1", "algo-2")] == [["start"], ["start"]]
    job = ran(job, [(109.0, "training")], "algo-1")
    assert [commands(job, each) for each in ("algo-1", "algo-2")] == [[], ["start"]]
    job = ran(job, [(110.0, "training")], "algo-2")
    assert job.secondary_status == "Training"
    assert advance(job, StopRequested(111.0)).stop_requested


def test_a_stop_outranks_a_start() -> None:
    """A host that waits for the others is stopped where it is."""
    job = placed(new(), hosts=("algo-1", "algo-2"))
    for each in ("algo-1", "algo-2"):
        job = ran(job, [(105.0, "downloading"), (106.0, "ready")], each)
    assert commands(advance(job, StopRequested(107.0)), "algo-1") == ["stop"]


def test_repeats_and_gaps_change_nothing() -> None:
    """An event counts once and in its order."""
    job = placed(new())
    first = told(job, 105.0, "downloading")
    job = advance(job, first)
    assert advance(job, first) is job
    assert advance(job, HostReported(106.0, 1, "algo-1", HostEvent(seq=3, kind="uploading", at=106.0))) is job


def test_the_first_claim_wins() -> None:
    """Another agent's claim changes nothing."""
    job = placed(new())
    assert advance(job, Claimed(103.0, 1, "algo-1", "other")) is job
    assert advance(job, Claimed(103.0, 1, "algo-9", "other")) is job


def test_clocks_of_hosts_cannot_turn_time_back() -> None:
    """Entries stay in order when a host's clock is slow, and none lies in the future when it is fast."""
    job = placed(new())
    job = advance(job, HostReported(105.0, 1, "algo-1", HostEvent(seq=1, kind="downloading", at=7.0)))
    job = advance(job, HostReported(106.0, 1, "algo-1", HostEvent(seq=2, kind="training", at=9e9)))
    assert [(each.start, each.end) for each in job.transitions] == [(100.0, 100.0), (100.0, 106.0), (106.0, None)]
    assert job.training_started_at == 100.0


def test_outputs_that_cannot_be_put_in_their_place_fail_the_job() -> None:
    """A decided outcome turns into a failure at the very end."""
    job = advance(ran(placed(new()), ALL, outcome="completed"), Settled(130.0, failure=f"{INTERNAL_ERROR} disk full"))
    assert (job.status, job.failure_reason) == ("Failed", f"{INTERNAL_ERROR} disk full")


def test_a_reason_has_at_most_1024_characters() -> None:
    """It is cut, and one sees that."""
    job = ran(placed(new()), ALL, outcome="failed", failure_reason="x" * 5000)
    assert len(job.failure_reason) == 1024
    assert job.failure_reason.endswith("…")


def test_a_job_survives_its_store() -> None:
    """Writing and reading gives an equal value."""
    job = ran(placed(new()), ALL, outcome="completed", metrics={"m": [1.5, 2.0]})
    stored = machine.record(job)
    assert machine.decode(stored) == job
    assert (stored.name, stored.status, stored.secondary_status, stored.version) == (
        "j",
        "InProgress",
        "Uploading",
        job.version,
    )


def test_an_interrupted_job_begins_again_from_its_checkpoints() -> None:
    """§1.9: Training → Interrupted → Starting → Downloading → Training → Uploading; what was uploaded does not count."""
    job = ran(placed(new()), ALL[:2])
    job = advance(job, InterruptRequested(111.0))
    assert job.secondary_status == "Training"
    assert commands(job, "algo-1") == ["interrupt"]
    output = StagedOutput(bucket="b", staged="s", target="t")
    job = ran(job, [(115.0, "ended")], outcome="stopped", exit_code=143, outputs=[output])
    assert (job.status, job.secondary_status, job.hosts, job.outputs) == ("InProgress", "Interrupted", (), ())
    assert job.abandoned == ("handle-algo-1",)
    assert job.notes == ("Attempt 1 ended because its instances were taken away.",)
    job = ran(placed(job, at=120.0), [(each + 20, kind) for each, kind in ALL], outcome="completed", exit_code=0)
    job = advance(job, Settled(150.0))
    assert names(job) == [
        "Starting",
        "Downloading",
        "Training",
        "Interrupted",
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]


def test_training_time_is_the_sum_of_the_attempts() -> None:
    """The time without instances, between an interruption and the next download, is not in it."""
    job = advance(ran(placed(new()), ALL[:2]), InterruptRequested(111.0))
    job = ran(job, [(115.0, "ended")], outcome="interrupted")
    job = ran(placed(job, at=1020.0), [(at + 1000, kind) for at, kind in ALL], outcome="completed")
    job = advance(job, Settled(1126.0))
    assert (job.training_started_at, job.training_ended_at) == (105.0, 1126.0)
    assert job.training_seconds == (115 - 105) + (1126 - 1105)


def test_an_interruption_costs_runtime_and_no_retry() -> None:
    """MaxRuntimeInSeconds covers all attempts; RetryStrategy is for faults of the platform."""
    job = ran(placed(new(retries=1, max_runtime=60)), ALL[:2])
    job = after(job, InterruptRequested(111.0), HostLost(115.0, 1, "algo-1", "gone"))
    assert (job.secondary_status, job.runtime_left, job.retries_left) == ("Interrupted", 55, 1)
    job = ran(placed(job, at=120.0), [(125.0, "downloading"), (130.0, "training")])
    job = after(job, InterruptRequested(190.0), told(job, 191.0, "ended", outcome="failed", failure_reason="x"))
    job = advance(job, Settled(192.0))
    assert (job.status, job.secondary_status) == ("Stopped", "MaxRuntimeExceeded")


def test_a_job_that_was_done_is_not_interrupted() -> None:
    """The program ended by itself before the instances were gone; and without instances there is nothing to take."""
    job = advance(ran(placed(new()), ALL[:3]), InterruptRequested(121.0))
    job = after(job, told(job, 125.9, "ended", outcome="completed", exit_code=0), Settled(126.0))
    assert job.status == "Completed"
    fresh = new()
    assert advance(fresh, InterruptRequested(101.0)) is fresh


def test_a_stop_outranks_an_interruption() -> None:
    """The model that the program saves is kept."""
    job = after(ran(placed(new()), ALL[:2]), InterruptRequested(111.0), StopRequested(112.0))
    assert commands(job, "algo-1") == ["stop"]
    job = after(job, told(job, 113.0, "ended", outcome="stopped"), Settled(114.0))
    assert names(job)[-2:] == ["Stopping", "Stopped"]


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_host_lost_while_interrupted_lets_the_others_keep_theirs(lost: bool, stopped: bool) -> None:
    """Their checkpoints, or, when a stop overtakes the interruption, their models."""
    job = ran(placed(new(retries=1), hosts=("algo-1", "algo-2")), ALL[:2])
    job = advance(ran(job, ALL[:2], "algo-2"), InterruptRequested(111.0))
    if lost:
        job = advance(job, HostLost(112.0, 1, "algo-1", "gone"))
    else:
        job = ran(job, [(112.0, "ended")], outcome="failed", failure_reason="InternalServerError: x")
    assert commands(job, "algo-2") == ["interrupt"]
    if stopped:
        job = ran(advance(job, StopRequested(113.0)), [(114.0, "ended")], "algo-2", outcome="stopped")
        assert job.outcome == "stopped"
    else:
        job = ran(job, [(114.0, "ended")], "algo-2", outcome="interrupted")
        assert (job.secondary_status, job.retries_left, job.hosts) == ("Interrupted", 1, ())


@pytest.mark.parametrize(
    ("limit", "secondary"), [("max-wait", "MaxWaitTimeExceeded"), ("max-pending", "Stopped")], ids=str
)
def test_a_limit_on_waiting_stops_a_job(limit: Any, secondary: str) -> None:
    """At once when nothing runs; else as a stop does, and what was saved is kept; a job that was done stays done."""
    job = after(new(), Waiting(101.0), LimitReached(200.0, limit), Settled(201.0))
    assert (job.status, job.secondary_status) == ("Stopped", secondary)
    job = advance(ran(placed(new()), ALL[:2]), LimitReached(200.0, limit))
    assert commands(job, "algo-1") == ["stop"]
    ended = after(job, told(job, 201.0, "ended", outcome="stopped"), Settled(202.0))
    assert (ended.status, ended.secondary_status) == ("Stopped", secondary)
    ended = after(job, told(job, 201.0, "ended", outcome="completed", exit_code=0), Settled(202.0))
    assert ended.status == "Completed"
    lost = after(job, HostLost(201.0, 1, "algo-1", "gone"), Settled(202.0))
    assert lost.secondary_status == secondary


CPU = {"InstanceType": "ml.m5.large"}
GPU = {"InstanceType": "ml.g5.xlarge"}


@pytest.mark.parametrize(
    ("resources", "condition", "moment", "limit"),
    [
        (GPU, {}, 1e9, ""),
        (CPU, {"MaxWaitTimeInSeconds": 50}, 149.9, ""),
        (CPU, {"MaxWaitTimeInSeconds": 50}, 150.0, "max-wait"),
        (GPU, {"MaxPendingTimeInSeconds": 1800}, 2900.0, ""),
        (GPU, {"MaxPendingTimeInSeconds": 1800}, 2910.0, "max-pending"),
        (CPU, {"MaxPendingTimeInSeconds": 1800}, 1e9, ""),
        ({"InstanceType": "ml.p99.xlarge"}, {"MaxPendingTimeInSeconds": 1800}, 2910.0, "max-pending"),
        ({"InstancePreferences": [CPU, GPU]}, {"MaxPendingTimeInSeconds": 1800}, 2910.0, "max-pending"),
        ({"InstanceGroups": [CPU]}, {"MaxPendingTimeInSeconds": 1800}, 2910.0, ""),
    ],
)
def test_limits_on_waiting(resources: dict[str, Any], condition: dict[str, int], moment: float, limit: str) -> None:
    """MaxWaitTime counts from the creation, MaxPendingTime from the beginning of Pending, of accelerated types only."""
    job = advance(new(), Waiting(1110.0))
    job = msgspec.structs.replace(job, request={"StoppingCondition": condition, "ResourceConfig": resources})
    assert job.limit_reached(moment) == limit


def test_what_is_said_about_a_job_is_heard_after_its_end() -> None:
    """Tags and announcements change a finished job, but not when it was last modified; an update does not."""
    job = after(new(), StopRequested(101.0), Settled(102.0))
    tagged = advance(job, Tagged(110.0, {"a": "1"}))
    assert (tagged.tags, tagged.modified_at, tagged.version) == ({"a": "1"}, 102.0, job.version + 1)
    assert advance(tagged, Announced(111.0, 2)).announced == 2
    assert advance(job, Updated(110.0, {"ProfilerConfig": {}})) is job
    assert advance(new(), Updated(110.0, {"x": 1})).modified_at == 110.0


STATUS_OF = {
    **dict.fromkeys(("Starting", "Pending", "Downloading", "Training", "Uploading", "Interrupted"), "InProgress"),
    "Stopping": "Stopping",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
    "Completed": "Completed",
    "Failed": "Failed",
}


@pytest.mark.parametrize(("state", "trigger"), [(s, t) for s in STATUS_OF for t in get_args(machine.Trigger)])
def test_the_table_is_consistent(state: machine.Secondary, trigger: machine.Trigger) -> None:
    """Nothing leaves an end; each secondary status has one status; every decided outcome leads to an end."""
    to = TABLE.get((state, trigger))
    if STATUS_OF[state] in FINAL:
        assert to is None
        return
    if to is not None:
        assert to.status == STATUS_OF[to.secondary]
        assert to.message
    if trigger in get_args(machine.Outcome):
        assert to is not None
        assert to.status in FINAL


HOSTS = ("algo-1", "algo-2")
TIMES = st.floats(min_value=0.0, max_value=1000.0)


def _host_event() -> st.SearchStrategy[HostEvent]:
    return st.builds(
        HostEvent,
        seq=st.integers(1, 5),
        kind=st.sampled_from(["downloading", "ready", "training", "stopping", "uploading", "ended"]),
        at=TIMES,
        outcome=st.sampled_from(["", "completed", "failed", "stopped", "interrupted", "max-runtime"]),
        failure_reason=st.sampled_from(["", "AlgorithmError: x", "InternalServerError: y"]),
        note=st.sampled_from(["", "lost"]),
    )


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Waiting, TIMES),
    st.builds(Placed, TIMES, st.text(min_size=1, max_size=2), st.just(HOSTS) | st.just(HOSTS[:1])),
    st.builds(Launched, TIMES, st.integers(1, 3), st.sampled_from(HOSTS), st.text(min_size=1, max_size=2)),
    st.builds(
        LaunchedAgain, TIMES, st.integers(1, 3), st.sampled_from(HOSTS), st.just("0"), st.sampled_from(["0", "1"])
    ),
    st.builds(Claimed, TIMES, st.integers(1, 3), st.sampled_from(HOSTS), st.sampled_from(["a", "b"])),
    st.builds(HostReported, TIMES, st.integers(1, 3), st.sampled_from(HOSTS), _host_event()),
    st.builds(StopRequested, TIMES),
    st.builds(InterruptRequested, TIMES),
    st.builds(LimitReached, TIMES, st.sampled_from(["max-wait", "max-pending"])),
    st.builds(Updated, TIMES, st.just({"ProfilerConfig": {"DisableProfiler": True}})),
    st.builds(Tagged, TIMES, st.dictionaries(st.just("key"), st.sampled_from(["a", "b"]))),
    st.builds(Announced, TIMES, st.integers(0, 3)),
    st.builds(HostLost, TIMES, st.integers(1, 3), st.sampled_from(HOSTS), st.just("gone")),
    st.builds(LaunchFailed, TIMES, st.integers(1, 3), st.just("no")),
    st.builds(Settled, TIMES, st.just("") | st.just("disk")),
)


def _hold(job: Job) -> None:
    """What is true of every job at every moment."""
    entries = job.transitions
    assert entries[-1].status == job.secondary_status
    assert job.status == STATUS_OF[job.secondary_status]
    for one, next_one in itertools.pairwise(entries):
        assert one.end == next_one.start
        assert one.end >= one.start
        assert one.status != next_one.status
        assert STATUS_OF[one.status] not in FINAL
    assert (entries[-1].end == entries[-1].start) if job.finished else (entries[-1].end is None)
    assert job.training_seconds is None or (job.finished and job.training_seconds >= 1)
    assert bool(job.failure_reason) == (job.outcome == "failed") or not job.failure_reason
    assert not job.finished or job.outcome
    # A stop that was accepted is kept, whatever becomes of hosts; "disk" is what was asked for in vain at the very end.
    assert not (job.stop_requested and job.failure_reason.startswith("InternalServerError"))
    assert job.runtime_left <= job.max_runtime


@given(st.lists(EVENTS, max_size=25), st.integers(0, 2))
def test_no_order_of_events_breaks_a_job(events: list[Event], retries: int) -> None:
    """Late, repeated, contradictory and senseless events: the invariants hold, and an end is an end."""
    job = new(retries=retries)
    for event in events:
        before, job = job, advance(job, event)
        _hold(job)
        if before.finished and not isinstance(event, Tagged | Announced):
            assert job is before
        if job is not before:
            assert job.version == before.version + 1
            assert job.modified_at >= before.modified_at
            assert job.attempt >= before.attempt
            # The same event once more changes nothing, except that every Placed is a new attempt by definition.
            repeated = advance(job, event)
            assert repeated is job or isinstance(
                event, Placed | HostLost | LaunchFailed | LaunchedAgain | Settled | Updated
            )
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job
