"""Many runs in one process: 200 and 2,000 of them, five polls each, against a server that takes 50 ms for an answer.

The floor is the same work written by hand with aiohttp, in as many tasks, in the same run of this program; both may
have 256 connections. Beside the clock stands what the process itself took on a processor: the clock has the server's
50 ms in it, and at 2,000 runs the wait for a connection.
"""

from __future__ import annotations

import asyncio
import gc
import io
import tempfile
import time
import tracemalloc
from pathlib import Path

import aiohttp

from bench.poll import DOCUMENT, INPUTS, Spent, authoriser, by_hand, medians, spent, stub
from treadle.arazzo.machine import MachineOptions
from treadle.arazzo.run import RunOptions, run
from treadle.cli.opening import Opened, Setup, open_plan
from treadle.http.client import HttpTransport
from treadle.reporters.lines import LinesReporter
from treadle.stores.sqlite import SqliteRunStore

POLLS = 5
DELAY = 0.05
SIZES = (200, 2000)
ROUNDS = 5
CONNECTIONS = 256  # as many as the transport has


async def bare(url: str, count: int) -> Spent:
    """Do the work of `count` runs with aiohttp alone."""

    async def work() -> None:
        await asyncio.gather(*(by_hand(session, url, f"bench-{each}") for each in range(count)))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        return await spent(work)


async def polled(opened: Opened, home: Path, count: int) -> Spent:
    """Make `count` runs at once."""
    transport = HttpTransport()
    store = SqliteRunStore(home / f"runs-{time.monotonic_ns()}.db")
    signing = authoriser(opened)
    options = RunOptions(machine=MachineOptions(poll=0.0))

    async def work() -> None:
        outcomes = await asyncio.gather(
            *(
                run(
                    opened.plan,
                    INPUTS | {"trainingJobName": f"bench-{number}"},
                    transport=transport,
                    authoriser=signing,
                    store=store,
                    reporter=LinesReporter(io.StringIO(), io.StringIO()),
                    options=options,
                )
                for number in range(count)
            )
        )
        assert {outcome.outputs["trainingJobStatus"] for outcome in outcomes} == {"Completed"}

    took = await spent(work)
    await transport.close()
    await store.close()
    return took


async def memory_of_waiting(opened: Opened, home: Path, count: int) -> float:
    """Give the bytes that a run costs while it waits for its next poll."""
    transport = HttpTransport()
    store = SqliteRunStore(home / "waiting.db")
    signing = authoriser(opened)
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
                authoriser=signing,
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
            rounds = [
                (asyncio.run(bare(url, count)), asyncio.run(polled(opened, Path(home), count))) for _ in range(ROUNDS)
            ]
            floor, figure = medians([each for each, _ in rounds]), medians([each for _, each in rounds])
            figures |= {f"bare_{count}_s": floor.wall, f"treadle_{count}_s": figure.wall}
            figures |= {f"bare_{count}_cpu_s": floor.cpu, f"treadle_{count}_cpu_s": figure.cpu}
            figures |= {f"ratio_{count}": figure.wall / floor.wall, f"ratio_{count}_cpu": figure.cpu / floor.cpu}
    with stub(10**6) as url, tempfile.TemporaryDirectory() as home:
        opened = open_plan(Setup(document=str(DOCUMENT), on=url))
        figures["waiting_run_bytes"] = asyncio.run(memory_of_waiting(opened, Path(home), 500))
    return figures


def table(figures: dict[str, float]) -> list[str]:
    """Give the lines for people."""
    lines = [f"many runs in one process, {POLLS} polls each, {DELAY * 1000:.0f} ms server, median of {ROUNDS}"]
    lines += [
        f"  {count:5} runs   bare aiohttp {figures[f'bare_{count}{what}_s']:6.2f}   treadle "
        f"{figures[f'treadle_{count}{what}_s']:6.2f} {unit}   ratio {figures[f'ratio_{count}{what}']:.2f}"
        for count in SIZES
        for what, unit in (("", "s by the clock"), ("_cpu", "s CPU"))
    ]
    return [*lines, f"  memory of a run that waits: {figures['waiting_run_bytes'] / 1024:.1f} KiB"]
