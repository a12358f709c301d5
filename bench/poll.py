"""The price of a poll: the main job with `--poll 0` beside the same requests made bare with aiohttp.

Both send one CreateTrainingJob and 1,000 DescribeTrainingJob to the same stub server (another process), in turns, in
one run of this program. The floor is what one writes by hand: aiohttp's session, the answer decoded, the status looked
at; signed, as AWS demands, by botocore. Treadle also judges the criteria, keeps outputs and state in SQLite and reports
each event, as a run without a terminal does. The time is the client's own on a processor (user and system), and by the
clock, where the server's answer is part of both. "Changing": no two answers are the same, so that every visit is judged
anew.
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
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
from treadle.seams import Authoriser, Request
from treadle.sources.security import NoAuthoriser, SigV4Authoriser, StaticCredentials, grant_for
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


async def polled(opened: Opened, home: Path, signing: Authoriser) -> Spent:
    """Measure a run of the main job."""
    transport = HttpTransport()
    store = SqliteRunStore(home / "runs.db")

    async def work() -> None:
        outcome = await run(
            opened.plan,
            INPUTS,
            transport=transport,
            authoriser=signing,
            store=store,
            reporter=LinesReporter(io.StringIO(), io.StringIO()),
            options=RunOptions(machine=MachineOptions(poll=0.0)),
        )
        assert outcome.outputs["trainingJobStatus"] == "Completed", outcome

    took = await spent(work)
    await transport.close()
    await store.close()
    return took


RATIOS = {
    "unsigned": ("unsigned", "bare", "unsigned, to bare aiohttp"),
    "signed": ("treadle", "signed", "signed, to the same signed by botocore"),
    "mixed": ("treadle", "bare", "signed, to bare aiohttp unsigned"),
}


def measure() -> dict[str, float]:
    """Alternate all; give medians in milliseconds per poll, and ratios to the floors of the same server."""
    figures: dict[str, float] = {}
    for after, changing in (("", False), ("_changing", True)):
        with stub(POLLS, changing=changing) as url, tempfile.TemporaryDirectory() as home:
            rounds = [dict(ways(url, Path(home))) for _ in range(ROUNDS)]
        found = {name: medians([each[name] for each in rounds]) for name in rounds[0]}
        for name, each in found.items():
            figures |= {f"{name}{after}_cpu_ms": each.cpu * 1000 / POLLS, f"{name}{after}_ms": each.wall * 1000 / POLLS}
        for name, (ours, floor, _) in RATIOS.items():
            for kind in ("cpu", "wall"):
                figures[f"ratio_{name}{after}_{kind}"] = getattr(found[ours], kind) / getattr(found[floor], kind)
    return figures


def ways(url: str, home: Path) -> Iterator[tuple[str, Spent]]:
    """Do it each way once."""
    opened = open_plan(Setup(document=str(DOCUMENT), on=url))
    yield "bare", asyncio.run(bare(url))
    yield "transport", asyncio.run(sent(url))
    yield "unsigned", asyncio.run(polled(opened, home, NoAuthoriser()))
    yield "signed", asyncio.run(signed(url))
    yield "treadle", asyncio.run(polled(opened, home, authoriser(opened)))


def table(figures: dict[str, float]) -> list[str]:
    """Give the lines for people."""
    rows = [
        ("bare aiohttp", "bare", "the answer decoded, the status looked at"),
        ("our transport", "transport", "nothing but requests"),
        ("treadle, unsigned", "unsigned", "judged, reported, durable"),
        ("aiohttp, botocore", "signed", "bare, and signed"),
        ("treadle", "treadle", "signed"),
    ]
    lines = [f"main job, {POLLS} polls with --poll 0, ms per poll, median of {ROUNDS} alternated rounds"]
    lines.append(f"  {'':18} {'CPU':>7} {'clock':>7}   changing: {'CPU':>4} {'clock':>7}")
    lines += [_row(figures, *row) for row in rows]
    return lines + [_ratio(figures, name, words) for name, (_, _, words) in RATIOS.items()]


def _row(figures: dict[str, float], shown: str, name: str, note: str) -> str:
    found = [figures[f"{name}{after}_{unit}"] for after in ("", "_changing") for unit in ("cpu_ms", "ms")]
    return _line(shown, found, 3, note)


def _ratio(figures: dict[str, float], name: str, words: str) -> str:
    found = [figures[f"ratio_{name}{after}_{kind}"] for after in ("", "_changing") for kind in ("cpu", "wall")]
    return _line("ratio", found, 2, words)


def _line(shown: str, found: Sequence[float], places: int, note: str) -> str:
    cpu, clock, changing_cpu, changing_clock = (f"{each:7.{places}f}" for each in found)
    return f"  {shown:18} {cpu} {clock}         {changing_cpu} {changing_clock}   {note}"
