"""`treadle runs`: what this home knows of runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable

import pytest

from treadle.arazzo import events
from treadle.home import Home
from treadle.seams import RunRecord
from treadle.stores.sqlite import SqliteRunStore

Run = Callable[..., subprocess.CompletedProcess[str]]

NOON = 1_750_000_000.0


def record(run_id: str, status: str, seconds: float) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        workflow_id="train",
        document="/w/train.yml",
        status=status,
        started_at=NOON + int(run_id[-1]),
        updated_at=NOON + int(run_id[-1]) + seconds,
        state=b"{}",
        setup=b"{}",
    )


@pytest.fixture
def runs(home: Home) -> None:
    """Store three runs, one of them with what happened in it."""
    happened: list[events.Event] = [
        events.RunStarted(at=NOON, run_id="20250615-a1", document="/w/train.yml", workflow_id="train", inputs={}),
        events.StepSucceeded(
            at=NOON + 1, run_id="20250615-a1", path=("train",), step_id="create", outputs={"n": 1}, status=200
        ),
        events.RunFinished(at=NOON + 2, run_id="20250615-a1", status="succeeded", outputs={"n": 1}),
    ]

    async def fill() -> None:
        store = SqliteRunStore(home.runs_db)
        await store.save(record("20250615-a1", "succeeded", 2), [events.encode(each) for each in happened])
        await store.save(record("20250615-b2", "interrupted", 3700))
        await store.save(record("20250616-c3", "failed", 0.5))
        await store.close()

    home.prepare()
    asyncio.run(fill())


@pytest.mark.usefixtures("runs")
def test_ls(treadle: Run) -> None:
    """Newest first; those that can go on alone; JSON without what is only the machine's."""
    assert treadle("runs", "ls", TZ="UTC").stdout == (
        "RUN          STATUS       WORKFLOW  STARTED              TOOK\n"
        "20250616-c3  failed       train     2025-06-15 15:06:43  0.5 s\n"
        "20250615-b2  interrupted  train     2025-06-15 15:06:42  1 h 01 min\n"
        "20250615-a1  succeeded    train     2025-06-15 15:06:41  2.0 s\n"
    )
    assert treadle("runs", "ls", "--resumable", "-n", "1").stdout.count("\n") == 2
    (first, *_) = json.loads(treadle("runs", "ls", "--json").stdout)
    assert first["run_id"] == "20250616-c3"
    assert {"state", "setup"} & first.keys() == set()


@pytest.mark.usefixtures("runs")
def test_show(treadle: Run) -> None:
    """What it was, what happened, how it ended; by the beginning of its name, too."""
    shown = treadle("runs", "show", "20250615-a", TZ="UTC")
    assert shown.stdout == (
        "run:      20250615-a1\n"
        "status:   succeeded\n"
        "workflow: train\n"
        "document: /w/train.yml\n"
        "started:  2025-06-15 15:06:41\n"
        "took:     2.0 s\n"
        "      0.00 s  train of /w/train.yml, run 20250615-a1\n"
        "       1.0 s  create  200  n: 1\n"
        "succeeded in 2.0 s\n"
        "n: 1\n"
    )
    assert shown.stderr == ""
    assert treadle("runs", "show", "20250615-b2").stderr == "go on with: treadle resume 20250615-b2\n"
    assert len(json.loads(treadle("runs", "show", "20250615-a1", "--json").stdout)["events"]) == 3


def test_a_run_in_doubt_is_not_simply_gone_on_with(home: Home, treadle: Run) -> None:
    """The two ways on are told, and not a third that leads nowhere."""

    async def fill() -> None:
        store = SqliteRunStore(home.runs_db)
        end = events.RunFinished(at=NOON, run_id="d4", status="in-doubt")
        await store.save(record("d4", "in-doubt", 0), [events.encode(end)])
        await store.close()

    home.prepare()
    asyncio.run(fill())
    shown = treadle("runs", "show", "d4")
    assert "treadle resume d4 --resend" in shown.stdout
    assert "treadle resume d4 --took-effect" in shown.stdout
    assert shown.stderr == ""


@pytest.mark.usefixtures("runs")
def test_names_that_do_not_lead_to_one_run(treadle: Run) -> None:
    """The beginning of several, and of none."""
    several = treadle("runs", "show", "20250615")
    assert several.returncode == 2
    assert "20250615 is the beginning of 2 runs." in several.stderr
    assert "20250615-b2, 20250615-a1" in several.stderr
    assert "There is no run x." in treadle("runs", "show", "x").stderr


def test_looking_makes_no_home(treadle: Run, home: Home) -> None:
    """Who only looks leaves nothing behind."""
    done = treadle("runs", "ls")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No runs.\n")
    assert json.loads(treadle("runs", "ls", "--json").stdout) == []
    assert not home.root.exists()
