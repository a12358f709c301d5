"""Many runs in one process: 200 and 2,000 of them, five polls each, against a server that takes 50 ms for an answer.

The floor is the same requests made bare with aiohttp by as many tasks, in the same run of this program.
"""

from __future__ import annotations

import asyncio
import gc
import io
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path

import aiohttp

from bench.poll import BODY, DOCUMENT, HEADERS, INPUTS, stub
from treadle.arazzo.machine import MachineOptions
from treadle.arazzo.run import RunOptions, run
from treadle.aws.sigv4 import Credentials
from treadle.cli.opening import Opened, Setup, open_plan
from treadle.http.client import HttpTransport
from treadle.reporters.lines import LinesReporter
from treadle.sources.security import SigV4Authoriser, StaticCredentials, grant_for
from treadle.stores.sqlite import SqliteRunStore

POLLS = 5
DELAY = 0.05
SIZES = (200, 2000)
ROUNDS = 3


async def bare(url: str, count: int) -> float:
    """Make the requests of `count` runs with aiohttp alone; seconds."""

    async def one(session: aiohttp.ClientSession) -> None:
        for _ in range(POLLS + 1):
            async with session.post(url, data=BODY, headers=HEADERS) as answer:
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(one(session) for _ in range(count)))
        return time.perf_counter() - begun


async def polled(opened: Opened, home: Path, count: int) -> float:
    """Make `count` runs at once; seconds."""
    transport = HttpTransport()
    store = SqliteRunStore(home / f"runs-{time.monotonic_ns()}.db")
    provider = StaticCredentials(Credentials("AKIABENCH", "secret"))
    authoriser = SigV4Authoriser(
        grant for target in opened.targets.values() if (grant := grant_for(target, provider)) is not None
    )
    options = RunOptions(machine=MachineOptions(poll=0.0))
    begun = time.perf_counter()
    outcomes = await asyncio.gather(
        *(
            run(
                opened.plan,
                INPUTS | {"trainingJobName": f"bench-{number}"},
                transport=transport,
                authoriser=authoriser,
                store=store,
                reporter=LinesReporter(io.StringIO(), io.StringIO()),
                options=options,
            )
            for number in range(count)
        )
    )
    seconds = time.perf_counter() - begun
    await transport.close()
    await store.close()
    assert {outcome.outputs["trainingJobStatus"] for outcome in outcomes} == {"Completed"}
    return seconds


async def memory_of_waiting(opened: Opened, home: Path, count: int) -> float:
    """Give the bytes that a run costs while it waits for its next poll."""
    transport = HttpTransport()
    store = SqliteRunStore(home / "waiting.db")
    provider = StaticCredentials(Credentials("AKIABENCH", "secret"))
    authoriser = SigV4Authoriser(
        grant for target in opened.targets.values() if (grant := grant_for(target, provider)) is not None
    )
    waiting = asyncio.Event()
    left = count

    class Counting:
        def report(self, event: object) -> None:
            nonlocal left
            if type(event).__name__ == "Waiting":
                left -= 1
                if left == 0:
                    waiting.set()

    def one(number: int) -> asyncio.Task[object]:
        inputs = INPUTS | {"trainingJobName": f"wait-{number}"}
        options = RunOptions(machine=MachineOptions(poll=600.0))
        return asyncio.create_task(
            run(
                opened.plan,
                inputs,
                transport=transport,
                authoriser=authoriser,
                store=store,
                reporter=Counting(),
                options=options,
            )
        )

    # One run first, so that what is made once is not counted.
    warm, left = one(-1), 1
    await waiting.wait()
    waiting.clear()
    left = count
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tasks = [one(number) for number in range(count)]
    await waiting.wait()
    await transport.close()  # sockets are the transport's, not the runs'
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    cost = (after - before) / count
    for task in (warm, *tasks):
        task.cancel()
    await asyncio.gather(warm, *tasks, return_exceptions=True)
    await store.close()
    return cost


def measure() -> dict[str, float]:
    """Alternate both; give medians in seconds."""
    figures: dict[str, float] = {}
    with stub(POLLS, DELAY) as url, tempfile.TemporaryDirectory() as home:
        opened = open_plan(Setup(document=str(DOCUMENT), on=url))
        for count in SIZES:
            floors, runs = [], []
            for _ in range(ROUNDS):
                floors.append(asyncio.run(bare(url, count)))
                runs.append(asyncio.run(polled(opened, Path(home), count)))
            floor, figure = statistics.median(floors), statistics.median(runs)
            figures |= {f"bare_{count}_s": floor, f"treadle_{count}_s": figure, f"ratio_{count}": figure / floor}
    with stub(10**6) as url, tempfile.TemporaryDirectory() as home:
        opened = open_plan(Setup(document=str(DOCUMENT), on=url))
        figures["waiting_run_bytes"] = asyncio.run(memory_of_waiting(opened, Path(home), 500))
    return figures


def table(figures: dict[str, float]) -> list[str]:
    """Give the lines for people."""
    lines = [f"many runs in one process, {POLLS} polls each, {DELAY * 1000:.0f} ms server, median of {ROUNDS}"]
    lines += [
        f"  {count:5} runs   bare aiohttp {figures[f'bare_{count}_s']:6.2f} s   treadle "
        f"{figures[f'treadle_{count}_s']:6.2f} s   ratio {figures[f'ratio_{count}']:.2f}"
        for count in SIZES
    ]
    return [*lines, f"  memory of a run that waits: {figures['waiting_run_bytes'] / 1024:.1f} KiB"]
