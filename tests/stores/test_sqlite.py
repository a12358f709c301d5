"""What holds for the files: durability, several processes, and faults of the disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from treadle.errors import StoreError
from treadle.seams import RunRecord
from treadle.stores.sqlite import SqliteJobStore, SqliteRunStore

RUN = RunRecord(
    run_id="r", workflow_id="w", document="d", status="s", started_at=1.0, updated_at=1.0, state=b"0", setup=b""
)

# Saves for ever, each time one event and the state that counts them; says so after each save.
WRITER = """
import asyncio, pathlib, sys
from treadle.seams import RunRecord
from treadle.stores.sqlite import SqliteRunStore

async def main(path, name, count):
    store = SqliteRunStore(pathlib.Path(path))
    for n in range(1, count + 1):
        record = RunRecord(run_id=name, workflow_id="w", document="d", status="s", started_at=1.0, updated_at=1.0,
                           state=str(n).encode(), setup=b"x" * 5000)
        await store.save(record, [str(n).encode()])
        print(n, flush=True)
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True
    )


async def test_what_is_overwritten_is_gone(tmp_path: Path) -> None:
    """The state of a run may hold secrets; in the pages that it gave up they cannot be read either."""
    path = tmp_path / "runs.db"
    store = SqliteRunStore(path)
    await store.save(msgspec.structs.replace(RUN, state=b"s3cret-state" + b"x" * 20_000))
    await store.save(RUN)
    await store.close()
    assert b"s3cret-state" not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


async def test_files_are_private(tmp_path: Path) -> None:
    """Nobody but the user can read the database or its side files."""
    store = SqliteRunStore(tmp_path / "deep" / "runs.db")
    await store.save(RUN)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "deep").iterdir()}
    await store.close()
    assert modes == {"runs.db": 0o600, "runs.db-wal": 0o600, "runs.db-shm": 0o600}


async def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    """Making and closing a store leaves no file."""
    await SqliteRunStore(tmp_path / "runs.db").close()
    assert list(tmp_path.iterdir()) == []


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    """Both write from the first moment on, and each finds the other's runs."""
    path = tmp_path / "runs.db"
    writers = [await asyncio.to_thread(start, path, name, 40) for name in ("a", "b")]
    for each in writers:
        output, _ = await asyncio.to_thread(each.communicate)
        assert each.returncode == 0
        assert output.split()[-1] == "40"
    store = SqliteRunStore(path)
    for name in ("a", "b"):
        assert list(await store.events(name)) == [str(n).encode() for n in range(1, 41)]
    await store.close()


async def test_a_killed_writer_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    """After SIGKILL the state and the events agree, and reach at least as far as what was confirmed."""
    path = tmp_path / "runs.db"
    writer = start(path, "r", 100_000)
    assert writer.stdout is not None
    confirmed = [await asyncio.to_thread(writer.stdout.readline) for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    rest = await asyncio.to_thread(writer.stdout.read)
    writer.wait()
    writer.stdout.close()
    last = int([*confirmed, *rest.splitlines()][-1])
    store = SqliteRunStore(path)
    found = await store.load("r")
    assert found is not None
    count = int(found.state)
    assert count >= last
    assert list(await store.events("r")) == [str(n).encode() for n in range(1, count + 1)]
    await store.close()


READER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(database.execute("SELECT count(*) FROM runs").fetchone()[0])
database.close()
"""


async def test_a_process_that_closes_the_file_takes_nothing_along(tmp_path: Path) -> None:
    """Who closes last tidies the log away: while a store has the file open, nobody else is the last."""
    path = tmp_path / "runs.db"
    store = SqliteRunStore(path)
    for number in range(1, 4):
        await store.save(msgspec.structs.replace(RUN, run_id=str(number)))
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [str(number)]
        assert path.with_name("runs.db-wal").exists()
    await store.close()


async def test_a_write_that_fails_harms_no_other(tmp_path: Path) -> None:
    """Writes that are committed together fail alone."""
    store = SqliteRunStore(tmp_path / "runs.db")
    bad = msgspec.structs.replace(RUN, run_id="bad", state=None)
    outcomes = await asyncio.gather(
        store.save(RUN), store.save(bad), store.save(msgspec.structs.replace(RUN, run_id="q")), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [type(None), StoreError, type(None)]
    assert {each.run_id for each in await store.runs()} == {"r", "q"}
    await store.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer Treadle is left alone and named."""
    store = SqliteRunStore(tmp_path / "runs.db")
    await store.save(RUN)
    await store.close()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE schema SET version = 99")
    connection.close()
    newer = SqliteRunStore(tmp_path / "runs.db")
    with pytest.raises(StoreError, match="made by a newer Treadle: its schema is number 99"):
        await newer.save(RUN)
    await newer.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Nothing is overwritten; the error says what to do."""
    (tmp_path / "service.db").write_bytes(b"not a database at all" * 100)
    store = SqliteJobStore(tmp_path / "service.db")
    with pytest.raises(StoreError, match="is not a database of Treadle") as caught:
        await store.all()
    assert "Move the file away" in caught.value.hint
    await store.close()


async def test_a_full_database_is_an_error_and_the_store_goes_on(tmp_path: Path) -> None:
    """What does not fit is refused with advice; what fits afterwards is stored."""
    store = SqliteRunStore(tmp_path / "runs.db")
    await store.save(RUN)
    ((pages,),) = store._database.read("PRAGMA page_count")
    await store._database.write((f"PRAGMA max_page_count = {pages + 4}", ()))
    with pytest.raises(StoreError, match="the disk is full") as caught:
        await store.save(msgspec.structs.replace(RUN, state=b"x" * 1_000_000))
    assert "Make room" in caught.value.hint
    await store.save(msgspec.structs.replace(RUN, state=b"1"))
    found = await store.load("r")
    assert found is not None
    assert found.state == b"1"
    await store.close()


async def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """The path is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/runs\.db cannot be opened"):
        await SqliteRunStore(tmp_path / "file" / "runs.db").load("r")


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Neither reading nor writing opens it again."""
    store = SqliteRunStore(tmp_path / "runs.db")
    await store.save(RUN)
    await store.close()
    with pytest.raises(StoreError, match="has been closed"):
        await store.save(RUN)
    with pytest.raises(StoreError, match="has been closed"):
        await store.load("r")


async def test_a_cancelled_caller_does_not_stop_the_writer(tmp_path: Path) -> None:
    """Others that wait for the same commit get theirs."""
    store = SqliteRunStore(tmp_path / "runs.db")
    await store.save(RUN)
    cancelled = asyncio.ensure_future(store.save(msgspec.structs.replace(RUN, run_id="c")))
    other = asyncio.ensure_future(store.save(msgspec.structs.replace(RUN, run_id="o")))
    await asyncio.sleep(0)
    cancelled.cancel()
    await other
    assert await store.load("o") is not None
    await store.close()
