"""The webhook: every status change told at least once, in order, and never in a job's way."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.training.control import new_job
from tests.training.world import prepared, world

from treadle.errors import StoreError, TransportError, UsageError
from treadle.http.scripted import ScriptedTransport
from treadle.seams import Request, Response
from treadle.training.job import Announced, Event, Job, Placed, Settled, StopRequested, advance
from treadle.training.webhook import Pace, Webhook, event

QUICK = Pace(first=0.01, longest=0.02, answer=5.0)


class Receiver:
    """Remembers what it is told; answers with the statuses that are given, then with 200."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.arrived = threading.Condition()

    def take(self, body: bytes) -> int:
        with self.arrived:
            status = self.statuses.pop(0) if self.statuses else 200
            if status == 200:
                self.events.append(json.loads(body))
            self.arrived.notify_all()
            return status

    def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: enough(self.events), 10), self.events
            return list(self.events)


@contextmanager
def receiving(receiver: Receiver) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook?key=secret"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def statuses(events: list[dict[str, Any]]) -> list[str]:
    return [each["detail"]["SecondaryStatus"] for each in events]


WHOLE = ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_every_status_change_is_told(tmp_path: Path) -> None:
    """In EventBridge's shape, in order, with the job as it was then; what fails is told again."""
    receiver = Receiver()
    receiver.statuses = [200, 404]
    with receiving(receiver) as url, world(tmp_path, webhook=url) as service:
        sagemaker = service.client()
        arn = service.create(sagemaker, "quick-told", Tags=[{"Key": "team", "Value": "a"}])
        job = service.ended(sagemaker, "quick-told")
        events = receiver.until(lambda events: len(events) == 5)
    assert statuses(events) == WHOLE
    assert len({each["id"] for each in events}) == 5
    first, last = events[0], events[-1]
    assert {name: first[name] for name in ("version", "detail-type", "source", "account", "region", "resources")} == {
        "version": "0",
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": "000000000000",
        "region": "us-east-1",
        "resources": [arn],
    }
    assert first["detail"]["TrainingJobStatus"] == "InProgress"
    assert first["detail"]["Tags"] == {"team": "a"}
    assert len(first["detail"]["SecondaryStatusTransitions"]) == 1
    assert "TrainingEndTime" not in first["detail"]
    assert last["detail"]["TrainingJobStatus"] == "Completed"
    for name in ("CreationTime", "TrainingStartTime", "TrainingEndTime"):
        assert last["detail"][name] == round(job[name].timestamp() * 1000)
    assert last["detail"]["SecondaryStatusTransitions"][-1]["StartTime"] == last["detail"]["TrainingEndTime"]
    assert last["detail"]["FinalMetricDataList"][0]["Timestamp"] == 1_700_000_000_000
    assert last["time"] == f"{job['TrainingEndTime']:%Y-%m-%dT%H:%M:%SZ}"


def test_what_was_not_told_is_told_by_the_next_service(tmp_path: Path) -> None:
    """Nobody listens, the job ends all the same, the service ends too; and nothing is lost or told out of order."""
    home = prepared(tmp_path)
    with world(tmp_path, home, webhook="http://127.0.0.1:9/") as service:
        sagemaker = service.client()
        service.create(sagemaker, "quick-later")
        service.ended(sagemaker, "quick-later")
        service.create(sagemaker, "quick-gone")
        service.ended(sagemaker, "quick-gone")
        sagemaker.delete_training_job(TrainingJobName="quick-gone")
    receiver = Receiver()
    with receiving(receiver) as url, world(tmp_path, home, webhook=url) as service:
        assert statuses(receiver.until(lambda events: len(events) == 5)) == WHOLE
        sagemaker = service.client()
        sagemaker.add_tags(
            ResourceArn=sagemaker.describe_training_job(TrainingJobName="quick-later")["TrainingJobArn"],
            Tags=[{"Key": "a", "Value": "1"}],
        )
    with receiving(receiver) as url, world(tmp_path, home, webhook=url) as service:
        service.create(service.client(), "quick-next")
        events = receiver.until(lambda events: len(events) == 10)
    assert {each["detail"]["TrainingJobName"] for each in events[5:]} == {"quick-next"}


def test_a_job_from_before_the_webhook_is_heard_of_from_then_on(tmp_path: Path) -> None:
    """What it did before is history; a job that had ended says nothing."""
    home = prepared(tmp_path)
    with world(tmp_path, home) as service:
        sagemaker = service.client()
        service.create(sagemaker, "quick-before")
        service.ended(sagemaker, "quick-before")
        service.create(sagemaker, "long-before")
        service.reached(sagemaker, "long-before", "Training")
    receiver = Receiver()
    with receiving(receiver) as url, world(tmp_path, home, webhook=url) as service:
        # Scripted hosts do not outlive their service, so the job fails.
        service.ended(service.client(), "long-before")
        events = receiver.until(bool)
    assert statuses(events) == ["Failed"]
    assert events[0]["detail"]["TrainingJobName"] == "long-before"


# ---------------------------------------------------------------------------------------------------------------------
# Without a service
# ---------------------------------------------------------------------------------------------------------------------


class Jobs:
    """One job, edited as the supervisor does; `refusing` times the store is full."""

    def __init__(self, job: Job, refusing: int = 0) -> None:
        self.job: Job | None = job
        self.refusing = refusing
        self.webhook: Webhook | None = None
        self.told = asyncio.Event()

    async def edit(self, _name: str, decide: Callable[[Job], Event]) -> Job | None:
        if self.refusing:
            self.refusing -= 1
            raise StoreError("The disk is full.")
        if self.job is not None:
            self.job = advance(self.job, decide(self.job))
            assert self.webhook is not None
            self.webhook.changed(self.job)
            if self.job.announced == len(self.job.transitions):
                self.told.set()
        return self.job


def ended() -> Job:
    job = advance(advance(new_job(), StopRequested(1_000_001.0)), Settled(1_000_002.0))
    return msgspec.structs.replace(job, announced=0)


def webhook(jobs: Jobs, transport: ScriptedTransport, now: float = 1_000_003.0, **more: Any) -> Webhook:
    jobs.webhook = Webhook(
        "https://example.org/hook",
        transport=transport,
        edit=jobs.edit,
        account="000000000000",
        region="us-east-1",
        clock=lambda: now,
        **{"pace": QUICK} | more,
    )
    return jobs.webhook


async def test_a_store_that_is_full_makes_a_repetition_not_a_loss() -> None:
    """The event was told; that it was is kept as soon as that is possible."""
    jobs, sent = Jobs(ended(), refusing=2), ScriptedTransport(lambda _: Response(204))
    hook = webhook(jobs, sent)
    assert jobs.job is not None
    hook.changed(jobs.job)
    await asyncio.wait_for(jobs.told.wait(), 5)
    assert [json.loads(each.body)["detail"]["SecondaryStatus"] for each in sent.requests] == [
        "Starting",
        "Stopping",
        "Stopped",
    ]
    await hook.stop()


async def test_a_fault_of_the_network_is_retried_and_secrets_stay_out_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the host, not the URL, which may hold a key."""
    tries = 0

    def answer(request: Request) -> Response:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise TransportError("refused", f"nobody at {request.url}", sent=False)
        return Response(200)

    jobs = Jobs(ended())
    hook = webhook(jobs, ScriptedTransport(answer))
    assert jobs.job is not None
    hook.changed(jobs.job)
    await asyncio.wait_for(jobs.told.wait(), 5)
    assert "example.org did not take an event" in caplog.text
    assert "/hook" not in caplog.text
    await hook.stop()


async def test_an_event_is_given_up_after_a_day(caplog: pytest.LogCaptureFixture) -> None:
    """As EventBridge does; the log says so."""
    jobs = Jobs(ended())
    hook = webhook(jobs, ScriptedTransport(lambda _: Response(500)), now=1_000_001.0 + 86_402)
    assert jobs.job is not None
    hook.changed(jobs.job)
    await asyncio.wait_for(jobs.told.wait(), 5)
    assert caplog.text.count("was never told an event, and is no longer: HTTP status 500") == 3
    await hook.stop()


async def test_a_job_that_is_deleted_meanwhile_is_told_no_further() -> None:
    """Its outbox has gone with it."""
    jobs = Jobs(ended())

    def answer(_: Request) -> Response:
        jobs.job = None
        return Response(200)

    sent = ScriptedTransport(answer)
    hook = webhook(jobs, sent)
    assert jobs.job is not None
    hook.changed(jobs.job)
    await asyncio.gather(*hook._tasks.values())
    assert len(sent.requests) == 1
    hook.changed(new_job())  # nobody wants to hear of it
    assert not hook._tasks


@pytest.mark.parametrize("url", ["", "x", "ftp://host/", "http://"])
async def test_a_url_that_is_none(url: str) -> None:
    """It is refused when the service starts."""
    with pytest.raises(UsageError, match="cannot be told anything"):
        Webhook(url, transport=ScriptedTransport([]), edit=Jobs(ended()).edit, account="", region="", clock=lambda: 0.0)


def test_an_event_tells_of_its_moment() -> None:
    """What came later is not in it, and the same event has the same id."""
    job = advance(new_job(), Placed(1_000_001.0, "hash", ("algo-1",)))
    job = advance(job, StopRequested(1_000_002.0))
    then = event(job, 0, account="a", region="r")
    now = event(advance(advance(job, Settled(1_000_003.0)), Announced(1.0, 1)), 0, account="a", region="r")
    assert then["id"] == now["id"]
    assert now["detail"]["TrainingJobStatus"] == "InProgress"
    assert now["detail"]["LastModifiedTime"] == 1_000_000_000
    assert now["detail"]["SecondaryStatusTransitions"] == [
        {"Status": "Starting", "StartTime": 1_000_000_000, "StatusMessage": "Launching requested ML instances"}
    ]
    assert event(job, 1, account="a", region="r")["detail"]["TrainingJobStatus"] == "Stopping"
