"""The price of a poll: the main job with `--poll 0` beside the same requests made bare with aiohttp.

Both send one CreateTrainingJob and 1,000 DescribeTrainingJob to the same stub server (another process), in turns, in
one run of this program. Treadle also signs each request, judges the criteria, keeps outputs and state in SQLite and
reports each event, as a run without a terminal does.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from treadle.arazzo.machine import MachineOptions
from treadle.arazzo.run import RunOptions, run
from treadle.aws.sigv4 import Credentials
from treadle.cli.opening import Opened, Setup, open_plan
from treadle.http.client import HttpTransport
from treadle.reporters.lines import LinesReporter
from treadle.sources.security import SigV4Authoriser, StaticCredentials, grant_for
from treadle.stores.sqlite import SqliteRunStore

POLLS = 1000
ROUNDS = 7
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
BODY = b'{"TrainingJobName":"bench"}'


@contextmanager
def stub(polls: int, delay: float = 0.0) -> Iterator[str]:
    """Start the stub server; give its address."""
    command = [sys.executable, "-m", "bench.stub", str(polls), str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.communicate()


async def bare(url: str) -> float:
    """Make the requests with aiohttp alone; seconds."""
    async with aiohttp.ClientSession() as session:
        begun = time.perf_counter()
        async with session.post(url, data=BODY, headers=HEADERS | {"X-Amz-Target": "SageMaker.CreateTrainingJob"}) as r:
            await r.read()
        for _ in range(POLLS):
            async with session.post(url, data=BODY, headers=HEADERS) as answer:
                await answer.read()
        return time.perf_counter() - begun


async def polled(opened: Opened, home: Path) -> float:
    """Run the main job; seconds."""
    transport = HttpTransport()
    store = SqliteRunStore(home / "runs.db")
    provider = StaticCredentials(Credentials("AKIABENCH", "secret"))
    grants = [grant for target in opened.targets.values() if (grant := grant_for(target, provider))]
    begun = time.perf_counter()
    outcome = await run(
        opened.plan,
        INPUTS,
        transport=transport,
        authoriser=SigV4Authoriser(grants),
        store=store,
        reporter=LinesReporter(io.StringIO(), io.StringIO()),
        options=RunOptions(machine=MachineOptions(poll=0.0)),
    )
    seconds = time.perf_counter() - begun
    await transport.close()
    await store.close()
    assert outcome.outputs["trainingJobStatus"] == "Completed", outcome
    return seconds


def measure() -> dict[str, float]:
    """Alternate both; give medians in milliseconds per poll, and the ratio of the medians."""
    floors, figures = [], []
    with stub(POLLS) as url, tempfile.TemporaryDirectory() as home:
        opened = open_plan(Setup(document=str(DOCUMENT), on=url))
        for _ in range(ROUNDS):
            floors.append(asyncio.run(bare(url)))
            figures.append(asyncio.run(polled(opened, Path(home))))
    floor, figure = (statistics.median(each) * 1000 / POLLS for each in (floors, figures))
    return {"bare_ms": floor, "treadle_ms": figure, "above_ms": figure - floor, "ratio": figure / floor}


def table(figures: dict[str, float]) -> list[str]:
    """Give the lines for people."""
    return [
        f"main job, {POLLS} polls with --poll 0 against a stub server, median of {ROUNDS} alternated rounds",
        f"  bare aiohttp     {figures['bare_ms']:7.3f} ms per request",
        f"  treadle          {figures['treadle_ms']:7.3f} ms per poll (signed, judged, reported, durable)",
        f"  above the floor  {figures['above_ms']:7.3f} ms per poll     ratio {figures['ratio']:.2f}",
    ]
