"""The price of a poll: the main job with `--poll 0` beside the same requests made bare with aiohttp.

Both send one CreateTrainingJob and 1,000 DescribeTrainingJob to the same stub server (another process), in turns, in
one run of this program. The floor is what one writes by hand: aiohttp's session, the answer decoded, the status looked
at. Treadle also signs each request, judges the criteria, keeps outputs and state in SQLite and reports each event, as a
run without a terminal does. The time is the client's own on a processor (user and system), and by the clock, where the
server's answer is part of both. "Changing": no two answers are the same, so that every visit is judged anew. AWS
answers nobody who does not sign, so what one writes by hand is measured signed, too, with botocore.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import botocore.credentials
import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from treadle.arazzo.machine import MachineOptions
from treadle.arazzo.run import RunOptions, run
from treadle.aws.sigv4 import Credentials
from treadle.cli.opening import Opened, Setup, open_plan
from treadle.http.client import HttpTransport
from treadle.reporters.lines import LinesReporter
from treadle.seams import Request
from treadle.sources.security import SigV4Authoriser, StaticCredentials, grant_for
from treadle.stores.sqlite import SqliteRunStore

POLLS = 1000
ROUNDS = 9
DOCUMENT = Path(__file__).parent.parent / "examples" / "sagemaker" / "train-and-poll-job.arazzo.yaml"
INPUTS = {
    "trainingJobName": "bench",
    "trainingImage": "bench",
    "trainingInputMode": "File",
    "roleArn": "arn:aws:iam::000000000000:role/Bench",
    "s3OutputPath": "s3://bench/output",
    "instanceType": "ml.m5.large",
    "instanceCount": 1,
    "volumeSizeInGB": 1,
    "maxRuntimeInSeconds": 60,
}
HEADERS = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.DescribeTrainingJob"}
CREATE = HEADERS | {"X-Amz-Target": "SageMaker.CreateTrainingJob"}


class Spent(NamedTuple):
    """Seconds: of this process on a processor, and by the clock."""

    cpu: float
    wall: float


async def spent(work: Callable[[], Awaitable[object]]) -> Spent:
    """Do something and give what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    return Spent(time.process_time() - cpu, time.perf_counter() - wall)


def medians(rounds: list[Spent]) -> Spent:
    """Give the median of each."""
    return Spent(statistics.median(each.cpu for each in rounds), statistics.median(each.wall for each in rounds))


@contextmanager
def stub(polls: int, delay: float = 0.0, *, changing: bool = False) -> Iterator[str]:
    """Start the stub server; give its address."""
    command = [sys.executable, "-m", "bench.stub", str(polls), str(delay), "changing" if changing else "same"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.communicate()


async def by_hand(session: aiohttp.ClientSession, url: str, name: str = "bench") -> None:
    """Create a job and ask how it is until it has ended, with aiohttp alone."""
    body = msgspec.json.encode({"TrainingJobName": name})
    async with session.post(url, data=body, headers=CREATE) as answer:
        await answer.read()
    status = "InProgress"
    while status == "InProgress":
        async with session.post(url, data=body, headers=HEADERS) as answer:
            status = msgspec.json.decode(await answer.read())["TrainingJobStatus"]


async def bare(url: str) -> Spent:
    """Measure aiohttp alone."""
    async with aiohttp.ClientSession() as session:
        return await spent(lambda: by_hand(session, url))


async def signed(url: str) -> Spent:
    """Measure aiohttp with requests that botocore signs."""
    signer = SigV4Auth(botocore.credentials.Credentials("AKIABENCH", "secret"), "sagemaker", "us-east-1")

    async def work() -> None:
        status, body = "InProgress", msgspec.json.encode({"TrainingJobName": "bench"})
        for headers in itertools.chain([CREATE], itertools.repeat(HEADERS)):
            request = AWSRequest("POST", f"{url}/", dict(headers), body)
            signer.add_auth(request)
            async with session.post(url, data=body, headers=dict(request.headers)) as answer:
                status = msgspec.json.decode(await answer.read()).get("TrainingJobStatus", status)
            if status != "InProgress":
                return

    async with aiohttp.ClientSession() as session:
        return await spent(work)


async def sent(url: str) -> Spent:
    """Measure Treadle's transport alone, with the same requests, unsigned."""
    transport = HttpTransport()
    request = Request("POST", f"{url}/", tuple(HEADERS.items()), b'{"TrainingJobName":"bench"}')

    async def work() -> None:
        for _ in range(POLLS + 1):
            await transport.send(request)

    try:
        return await spent(work)
    finally:
        await transport.close()


def authoriser(opened: Opened) -> SigV4Authoriser:
    """Sign for whatever the document's requests go to."""
    provider = StaticCredentials(Credentials("AKIABENCH", "secret"))
    return SigV4Authoriser(
        grant for target in opened.targets.values() if (grant := grant_for(target, provider)) is not None
    )


async def polled(opened: Opened, home: Path) -> Spent:
    """Measure a run of the main job."""
    transport = HttpTransport()
    store = SqliteRunStore(home / "runs.db")

    async def work() -> None:
        outcome = await run(
            opened.plan,
            INPUTS,
            transport=transport,
            authoriser=authoriser(opened),
            store=store,
            reporter=LinesReporter(io.StringIO(), io.StringIO()),
            options=RunOptions(machine=MachineOptions(poll=0.0)),
        )
        assert outcome.outputs["trainingJobStatus"] == "Completed", outcome

    took = await spent(work)
    await transport.close()
    await store.close()
    return took


def measure() -> dict[str, float]:
    """Alternate all; give medians in milliseconds per poll, and ratios to the floor of the same server."""
    figures: dict[str, float] = {}
    for changing in (False, True):
        rounds: dict[str, list[Spent]] = {"bare": [], "signed": [], "transport": [], "treadle": []}
        with stub(POLLS, changing=changing) as url, tempfile.TemporaryDirectory() as home:
            opened = open_plan(Setup(document=str(DOCUMENT), on=url))
            for _ in range(ROUNDS):
                rounds["bare"].append(asyncio.run(bare(url)))
                rounds["signed"].append(asyncio.run(signed(url)))
                rounds["transport"].append(asyncio.run(sent(url)))
                rounds["treadle"].append(asyncio.run(polled(opened, Path(home))))
        found = {name: medians(each) for name, each in rounds.items()}
        after = "_changing" if changing else ""
        for name, each in found.items():
            figures |= {f"{name}{after}_cpu_ms": each.cpu * 1000 / POLLS, f"{name}{after}_ms": each.wall * 1000 / POLLS}
        for kind in ("cpu", "wall"):
            for name, floor in (("ratio", "bare"), ("ratio_signed", "signed")):
                figures[f"{name}{after}_{kind}"] = getattr(found["treadle"], kind) / getattr(found[floor], kind)
    return figures


def table(figures: dict[str, float]) -> list[str]:
    """Give the lines for people."""
    rows = [
        ("bare aiohttp", "bare", "the answer decoded, the status looked at"),
        ("with botocore", "signed", "the same, signed"),
        ("our transport", "transport", "unsigned"),
        ("treadle", "treadle", "signed, judged, reported, durable"),
        ("bare, changing", "bare_changing", "no two answers are the same"),
        ("with botocore", "signed_changing", ""),
        ("treadle, changing", "treadle_changing", ""),
    ]
    return [
        f"main job, {POLLS} polls with --poll 0, ms per poll, median of {ROUNDS} alternated rounds",
        *(_row(figures, *row) for row in rows),
        _ratios(figures, "bare aiohttp", "ratio"),
        _ratios(figures, "what is signed, too", "ratio_signed"),
    ]


def _ratios(figures: dict[str, float], floor: str, name: str) -> str:
    found = [figures[f"{name}{after}_{kind}"] for after in ("", "_changing") for kind in ("cpu", "wall")]
    return f"  ratio to {floor}: " + "{:.2f} CPU, {:.2f} by the clock; changing {:.2f} and {:.2f}".format(*found)


def _row(figures: dict[str, float], shown: str, name: str, note: str) -> str:
    cpu, wall = figures[f"{name}_cpu_ms"], figures[f"{name}_ms"]
    return f"  {shown:18} {cpu:6.3f} CPU  {wall:6.3f} by the clock  {note}".rstrip()
