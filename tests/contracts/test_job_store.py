"""What every `JobStore` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from treadle.seams import JobRecord, JobStore
from treadle.stores.memory import MemoryJobStore
from treadle.stores.sqlite import SqliteJobStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobStore]:
    made: JobStore = MemoryJobStore() if request.param == "memory" else SqliteJobStore(tmp_path / "service.db")
    yield made
    await made.close()


def record(name: str, **changes: object) -> JobRecord:
    plain = JobRecord(
        name=name,
        status="InProgress",
        secondary_status="Starting",
        created_at=1.25,
        modified_at=2.25,
        version=1,
        body=b"{}",
    )
    return msgspec.structs.replace(plain, **changes)


async def test_a_job_comes_back_as_it_was(store: JobStore) -> None:
    """Insert, then get the same value; an unknown name is None."""
    saved = record("j", body=bytes(range(256)))
    assert await store.insert(saved)
    assert await store.get("j") == saved
    assert await store.get("J") is None


async def test_a_name_is_taken_once(store: JobStore) -> None:
    """The second insert is refused and changes nothing."""
    assert await store.insert(record("j"))
    assert not await store.insert(record("j", status="Failed"))
    assert await store.get("j") == record("j")


async def test_of_inserts_at_once_one_wins(store: JobStore) -> None:
    """A name given at the same moment by many is taken by exactly one."""
    won = await asyncio.gather(*(store.insert(record("j", body=str(n).encode())) for n in range(20)))
    assert sum(won) == 1


@pytest.mark.parametrize(
    ("version", "taken"),
    [pytest.param(2, True, id="next"), pytest.param(1, False, id="same"), pytest.param(3, False, id="skips one")],
)
async def test_an_update_must_follow_what_is_stored(store: JobStore, version: int, taken: bool) -> None:
    """Only the version after the stored one replaces it."""
    await store.insert(record("j"))
    changed = record("j", version=version, status="Completed", secondary_status="Completed", body=b"new")
    assert await store.update(changed) is taken
    assert await store.get("j") == (changed if taken else record("j"))


async def test_an_update_of_nothing_is_refused(store: JobStore) -> None:
    """There is no insert by update."""
    assert not await store.update(record("j", version=2))
    assert await store.get("j") is None


async def test_a_deleted_job_is_gone_and_its_name_free(store: JobStore) -> None:
    """It is deleted once; an update does not bring it back, an insert takes the name."""
    await store.insert(record("j"))
    await store.insert(record("other"))
    assert await store.delete("j")
    assert not await store.delete("j")
    assert await store.get("j") is None
    assert not await store.update(record("j", version=2))
    assert [each.name for each in await store.all()] == ["other"]
    assert await store.insert(record("j", body=b"new"))


async def test_jobs_come_oldest_first(store: JobStore) -> None:
    """All of them, and those that are not finished."""
    for name, created, status in (("b", 2.0, "Completed"), ("a", 1.0, "Stopping"), ("c", 3.0, "InProgress")):
        await store.insert(record(name, created_at=created, status=status))
    assert [each.name for each in await store.all()] == ["a", "b", "c"]
    assert [each.name for each in await store.unfinished()] == ["a", "c"]
