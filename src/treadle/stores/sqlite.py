"""Runs and training jobs kept in SQLite files, durable when a write returns.

How a database is used, and why so:

* Write-ahead log with `synchronous=FULL`: a write that has returned is on the disk; a process that is killed in the
  middle of a write leaves the database as it was before.
* One writer thread per store takes all writes that wait and commits them together, each so that it fails alone: one
  fsync serves many callers, and a write that fails harms no other. (12 µs an insert at 200 concurrent callers;
  aiosqlite needs 103.)
* Reads run on the caller's thread, on a connection of their own: in the write-ahead log readers wait for nobody, and
  handing a 10 µs read to another thread costs more than the read.
* Several processes may use one file. A lock that another process holds is waited for; see `_PATIENCE`.

Files are opened at the first use and are readable by their user alone: state holds what a document's inputs held.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from treadle.errors import StoreError
from treadle.seams import JobRecord, RunRecord

__all__ = ["SqliteJobStore", "SqliteRunStore"]

# Seconds for which a lock of another process is waited for. Writers hold it for one commit: this is a very slow disk.
_PATIENCE = 30.0

_Row: TypeAlias = tuple[Any, ...]
_Statement: TypeAlias = tuple[str, Sequence[Any]]
_Waiting: TypeAlias = tuple[Sequence[_Statement], asyncio.Future[int]]


class _Database:
    """One file: its schema, its writer thread, its reading connection.

    `schema` holds the steps from an empty file to today's tables; a file's version is how many of them it has had.
    Steps are only ever added.
    """

    def __init__(self, path: Path, schema: Sequence[str]) -> None:
        self._path = Path(path)
        self._schema = schema
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._reader: sqlite3.Connection | None = None
        self._writer: threading.Thread | None = None
        self._closed = False

    async def write(self, *statements: _Statement) -> int:
        """Execute all of the statements or none; give how many rows the last one changed when that is on the disk."""
        if self._closed:
            raise StoreError(f"The database {self._path} has been closed.")
        if self._writer is None:
            self._opened()
            self._writer = threading.Thread(target=self._write_on, name=f"treadle-{self._path.name}", daemon=True)
            self._writer.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        # Not at once: what others of this loop write now goes into the same commit, and the thread is not woken to
        # wait for the interpreter's lock while they still run.
        loop.call_soon(self._waiting.put, (statements, done))
        return await done

    def read(self, query: str, values: Sequence[Any] = ()) -> list[_Row]:
        """Give all rows that the query finds."""
        try:
            return self._opened().execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _translated(error, self._path) from error

    async def close(self) -> None:
        """Let what waits be written, then let go of the file."""
        self._closed = True
        if self._writer is not None:
            asyncio.get_running_loop().call_soon(self._waiting.put, None)  # behind all writes
            await asyncio.to_thread(self._writer.join)
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _opened(self) -> sqlite3.Connection:
        if self._reader is None:
            if self._closed:
                raise StoreError(f"The database {self._path} has been closed.")
            connection = _connect(self._path)
            try:
                _bring_up_to_date(connection, self._schema, self._path)
            except BaseException:
                connection.close()
                raise
            self._reader = connection
        return self._reader

    def _write_on(self) -> None:
        """Serve writes until None comes; the body of the writer's thread."""
        try:
            connection = _connect(self._path)
        except StoreError as error:
            self._refuse(error)
            return
        try:
            while (first := self._waiting.get()) is not None:
                group, last = self._gather(first)
                _deliver(_commit(connection, group, self._path))
                if last:
                    return
        finally:
            connection.close()

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Give all writes that wait now, and whether the end was asked for behind them."""
        group = [first]
        while True:
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                return group, False
            if following is None:
                return group, True
            group.append(following)

    def _refuse(self, error: StoreError) -> None:
        while (waiting := self._waiting.get()) is not None:
            _deliver([(waiting[1], 0, error)])


_Outcome: TypeAlias = tuple[asyncio.Future[int], int, Exception | None]


def _commit(connection: sqlite3.Connection, group: Sequence[_Waiting], path: Path) -> list[_Outcome]:
    """Make every write of the group in one transaction. One that fails is undone alone; a failed commit fails all."""
    outcomes: list[_Outcome] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statements, done in group:
            outcomes.append((done, *_attempt(connection, statements, path)))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        failure = _translated(error, path)
        return [(done, 0, failure) for _, done in group]
    return outcomes


def _attempt(
    connection: sqlite3.Connection, statements: Sequence[_Statement], path: Path
) -> tuple[int, Exception | None]:
    # SQLite undoes a statement that fails by itself.
    execute = _one if len(statements) == 1 else _all_or_none
    try:
        return execute(connection, statements), None
    except Exception as error:
        if not connection.in_transaction:
            # A full disk and the like end the whole transaction, and with it the writes before this one.
            raise
        return 0, _translated(error, path) if isinstance(error, sqlite3.Error) else error


def _one(connection: sqlite3.Connection, statements: Sequence[_Statement]) -> int:
    return connection.execute(*statements[0]).rowcount


def _all_or_none(connection: sqlite3.Connection, statements: Sequence[_Statement]) -> int:
    connection.execute("SAVEPOINT write")
    try:
        return [connection.execute(*each).rowcount for each in statements][-1]
    except Exception:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO write")
        raise
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE write")


def _deliver(outcomes: Sequence[_Outcome]) -> None:
    """Wake the callers, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].get_loop(), []).append(outcome)
    for loop, its in by_loop.items():
        # A loop that is closed has nobody left who waits; what was to be written is written all the same.
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, its)


def _settle(outcomes: Sequence[_Outcome]) -> None:
    for done, result, error in outcomes:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it with the umask's mode; its side files take the mode of the main one. One that is there is
        # not opened: to close it would let go of all locks that this process has on it, and the next process that
        # closes it would take itself for the last and remove the log under us (sqlite.org/howtocorrupt.html, 2.2).
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be opened: {error.strerror or error}.",
            hint="Set TREADLE_HOME to a directory that you can write to.",
        ) from error
    try:
        # The loop of the reader may be another one than that which opened it, one after the other: no thread check.
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            _use_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            # What is overwritten may be secret: it is wiped, not only given up.
            connection.execute("PRAGMA secure_delete = ON")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    return connection


def _use_log(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            # Two processes that both meet a new file: SQLite answers "locked" to one of them without asking its own
            # busy handler, so that handler's wait is repeated here.
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _bring_up_to_date(connection: sqlite3.Connection, schema: Sequence[str], path: Path) -> None:
    """Take the steps of the schema that the file has not had. Raises `StoreError` for a file of a newer Treadle."""
    try:
        if _version(connection) == len(schema):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for step in schema[_known_version(connection, schema, path) :]:
                for statement in filter(str.strip, step.split(";")):
                    connection.execute(statement)
            connection.execute("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)")
            connection.execute("DELETE FROM schema")
            connection.execute("INSERT INTO schema VALUES (?)", (len(schema),))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise _translated(error, path) from error


def _known_version(connection: sqlite3.Connection, schema: Sequence[str], path: Path) -> int:
    version = _version(connection)
    if version > len(schema):
        raise StoreError(
            f"The database {path} was made by a newer Treadle: its schema is number {version}, "
            f"this one knows {len(schema)}.",
            hint="Update Treadle, or set TREADLE_HOME to another directory.",
        )
    return version


def _version(connection: sqlite3.Connection) -> int:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema'").fetchone()
    row: tuple[int] | None = connection.execute("SELECT max(version) FROM schema").fetchone() if known else None
    return row[0] if row and row[0] is not None else 0


# SQLite's error name (its beginning) → what happened, what to do.
_ADVICE: tuple[tuple[str, str, str], ...] = (
    ("SQLITE_FULL", "the disk is full", "Make room; `treadle jobs prune` and `treadle data rm` help."),
    ("SQLITE_NOTADB", "it is not a database of Treadle", "Move the file away; a new one is made."),
    ("SQLITE_CORRUPT", "it is damaged", "Move the file away, with its -wal and -shm, or bring it back from a backup."),
    ("SQLITE_BUSY", "another process keeps it locked", "Look for a process that hangs on it (`fuser` names it)."),
    ("SQLITE_LOCKED", "another process keeps it locked", "Look for a process that hangs on it (`fuser` names it)."),
    ("SQLITE_READONLY", "it cannot be written", "Look at the owner and the mode of the file and of its directory."),
    ("SQLITE_CANTOPEN", "it cannot be opened", "Look at the owner and the mode of the file and of its directory."),
    ("SQLITE_IOERR", "the disk fails", "Look at the disk: free space, quota, the kernel's log."),
)


def _translated(error: sqlite3.Error, path: Path) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    for start, what, advice in _ADVICE:
        if name.startswith(start):
            return StoreError(f"The database {path} cannot be used: {what} ({error}).", hint=advice)
    return StoreError(f"The database {path} cannot be used: {error}.")


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------

# The set-up of a run never changes while its state does with every step: apart, so that it is not written each time.
_RUNS = (
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        workflow_id TEXT NOT NULL,
        document TEXT NOT NULL,
        status TEXT NOT NULL,
        started_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        state BLOB NOT NULL
    );
    CREATE INDEX runs_by_start ON runs (started_at);
    CREATE TABLE setups (run_id TEXT PRIMARY KEY REFERENCES runs, setup BLOB NOT NULL);
    CREATE TABLE events (id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, event BLOB NOT NULL);
    CREATE INDEX events_by_run ON events (run_id)
    """,
)

_RUN = "SELECT run_id, workflow_id, document, status, started_at, updated_at, state, setup FROM runs JOIN setups "

_SAVE_RUN = (
    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET"
    " workflow_id = excluded.workflow_id, document = excluded.document, status = excluded.status,"
    " started_at = excluded.started_at, updated_at = excluded.updated_at, state = excluded.state"
)
_SAVE_SETUP = (
    "INSERT INTO setups VALUES (?, ?) ON CONFLICT (run_id) DO UPDATE SET setup = excluded.setup"
    " WHERE setup IS NOT excluded.setup"
)


class SqliteRunStore:
    """A `RunStore` in a file; several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self._database = _Database(path, _RUNS)

    async def save(self, record: RunRecord, events: Sequence[bytes] = ()) -> None:
        """Store the record and append the events in one transaction, durable on return. Raises `StoreError`."""
        values = (
            record.run_id,
            record.workflow_id,
            record.document,
            record.status,
            record.started_at,
            record.updated_at,
            record.state,
        )
        add = "INSERT INTO events (run_id, event) VALUES (?, ?)"
        await self._database.write(
            (_SAVE_RUN, values),
            (_SAVE_SETUP, (record.run_id, record.setup)),
            *((add, (record.run_id, each)) for each in events),
        )

    async def load(self, run_id: str) -> RunRecord | None:
        """Give a run, or None."""
        rows = self._database.read(_RUN + "USING (run_id) WHERE run_id = ?", (run_id,))
        return _run(rows[0]) if rows else None

    async def runs(self, limit: int = 100) -> Sequence[RunRecord]:
        """Give the latest runs, newest first."""
        query = _RUN + "USING (run_id) ORDER BY started_at DESC, runs.rowid DESC LIMIT ?"
        return [_run(row) for row in self._database.read(query, (limit,))]

    async def events(self, run_id: str) -> Sequence[bytes]:
        """Give the stored events of a run, oldest first."""
        rows = self._database.read("SELECT event FROM events WHERE run_id = ? ORDER BY id", (run_id,))
        return [row[0] for row in rows]

    async def close(self) -> None:
        """Finish what is being written and let go."""
        await self._database.close()


def _run(row: _Row) -> RunRecord:
    return RunRecord(**dict(zip(RunRecord.__struct_fields__, row, strict=True)))


# ---------------------------------------------------------------------------------------------------------------------
# Training jobs
# ---------------------------------------------------------------------------------------------------------------------

_JOBS = (
    """
    CREATE TABLE jobs (
        name TEXT PRIMARY KEY,
        status TEXT NOT NULL,
        secondary_status TEXT NOT NULL,
        created_at REAL NOT NULL,
        modified_at REAL NOT NULL,
        version INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX jobs_by_creation ON jobs (created_at);
    CREATE INDEX jobs_unfinished ON jobs (created_at) WHERE status IN ('InProgress', 'Stopping')
    """,
)

_JOB = "SELECT name, status, secondary_status, created_at, modified_at, version, body FROM jobs "


class SqliteJobStore:
    """A `JobStore` in a file."""

    def __init__(self, path: Path) -> None:
        self._database = _Database(path, _JOBS)

    async def insert(self, record: JobRecord) -> bool:
        """Store a new job; False when the name is taken."""
        query = "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING"
        return await self._database.write((query, msgspec.structs.astuple(record))) == 1

    async def update(self, record: JobRecord) -> bool:
        """Replace a job; False unless the stored version is `record.version - 1`."""
        query = (
            "UPDATE jobs SET status = ?, secondary_status = ?, created_at = ?, modified_at = ?, version = ?, body = ?"
            " WHERE name = ? AND version = ?"
        )
        name, *values = msgspec.structs.astuple(record)
        return await self._database.write((query, (*values, name, record.version - 1))) == 1

    async def get(self, name: str) -> JobRecord | None:
        """Give a job, or None."""
        rows = self._database.read(_JOB + "WHERE name = ?", (name,))
        return _job(rows[0]) if rows else None

    async def delete(self, name: str) -> bool:
        """Remove a job; its name is free again. False when there is none."""
        return await self._database.write(("DELETE FROM jobs WHERE name = ?", (name,))) == 1

    async def all(self) -> Sequence[JobRecord]:
        """Give every job, oldest first."""
        return [_job(row) for row in self._database.read(_JOB + "ORDER BY created_at, rowid")]

    async def unfinished(self) -> Sequence[JobRecord]:
        """Give the jobs whose status is InProgress or Stopping, oldest first."""
        query = _JOB + "WHERE status IN ('InProgress', 'Stopping') ORDER BY created_at, rowid"
        return [_job(row) for row in self._database.read(query)]

    async def close(self) -> None:
        """Finish what is being written and let go."""
        await self._database.close()


def _job(row: _Row) -> JobRecord:
    return JobRecord(**dict(zip(JobRecord.__struct_fields__, row, strict=True)))
