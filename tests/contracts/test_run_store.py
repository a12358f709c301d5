"""What every `RunStore` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from treadle.seams import RunRecord, RunStore
from treadle.stores.memory import MemoryRunStore
from treadle.stores.sqlite import SqliteRunStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunStore]:
    made: RunStore = MemoryRunStore() if request.param == "memory" else SqliteRunStore(tmp_path / "runs.db")
    yield made
    await made.close()


def record(run_id: str, **changes: object) -> RunRecord:
    plain = RunRecord(
        run_id=run_id,
        workflow_id="w",
        document="file:///w.yml",
        status="running",
        started_at=1.5,
        updated_at=2.5,
        state=b'{"a":1}',
        setup=b"{}",
    )
    return msgspec.structs.replace(plain, **changes)


async def test_an_unknown_run_is_none(store: RunStore) -> None:
    """Nothing is found in an empty store, and nothing is an error."""
    assert await store.load("r") is None
    assert list(await store.runs()) == []
    assert list(await store.events("r")) == []


async def test_a_saved_run_comes_back_as_it_was(store: RunStore) -> None:
    """Every member survives, bytes and floats exactly."""
    saved = record("r", state=bytes(range(256)), started_at=0.1 + 0.2, document="ö\n'\"")
    await store.save(saved)
    assert await store.load("r") == saved


async def test_saving_again_replaces_the_run_and_appends_events(store: RunStore) -> None:
    """The record is the latest one; events accumulate in order."""
    await store.save(record("r"), [b"1", b"2"])
    await store.save(record("r", status="done", setup=b"other", state=b"s"), [b"3"])
    assert await store.load("r") == record("r", status="done", setup=b"other", state=b"s")
    assert list(await store.events("r")) == [b"1", b"2", b"3"]


async def test_runs_come_newest_first(store: RunStore) -> None:
    """By their start; of equals the one stored later is newer; `limit` cuts."""
    for name, start in (("a", 1.0), ("c", 3.0), ("b", 2.0), ("d", 3.0)):
        await store.save(record(name, started_at=start))
    assert [each.run_id for each in await store.runs()] == ["d", "c", "b", "a"]
    assert [each.run_id for each in await store.runs(2)] == ["d", "c"]


async def test_saves_at_once_keep_every_event(store: RunStore) -> None:
    """Many runs save at the same moment; each finds its own."""
    await asyncio.gather(*(store.save(record(f"r{n % 10}"), [str(n).encode()]) for n in range(100)))
    for n in range(10):
        assert list(await store.events(f"r{n}")) == [str(m).encode() for m in range(n, 100, 10)]
