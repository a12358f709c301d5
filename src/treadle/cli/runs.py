"""`treadle runs`: the workflow runs that this home knows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import click
import msgspec

from treadle.arazzo import events
from treadle.cli.options import examples, json_option
from treadle.errors import UsageError
from treadle.home import Home
from treadle.reporters.ending import ending
from treadle.reporters.lines import written
from treadle.reporters.story import Story
from treadle.reporters.text import duration, moment, pairs, table
from treadle.seams import RunRecord

__all__ = ["load", "runs"]

_T = TypeVar("_T")
_RESUMABLE: Final = ("running", "suspended", "in-doubt", "interrupted")
_BROKEN_OFF: Final = "broken off"
_NAMES_SHOWN: Final = 5


@click.group(epilog=examples("treadle runs ls", "treadle runs show 20260102-030405-a1b2c3"))
def runs() -> None:
    """List the runs of workflows, or show what happened in one."""


@runs.command("ls", epilog=examples("treadle runs ls --resumable"))
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many, newest first."
)
@click.option("--resumable", is_flag=True, help="Only runs that treadle resume can go on with.")
@json_option
def ls(limit: int, resumable: bool, as_json: bool) -> None:
    """List runs, newest first."""
    # The filter is applied here, so more than the limit is asked for.
    found = [each for each in _read(_all(10_000 if resumable else limit)) or () if not resumable or _can_resume(each)]
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found[:limit]], ensure_ascii=False, indent=2))
    elif not found:
        click.echo("No runs.", err=True)
    else:
        rows = [
            (each.run_id, _status(each), each.workflow_id, moment(each.started_at), _took(each))
            for each in found[:limit]
        ]
        for line in table(("RUN", "STATUS", "WORKFLOW", "STARTED", "TOOK"), rows):
            click.echo(line)


@runs.command("show", epilog=examples("treadle runs show 20260102-030405-a1b2c3"))
@click.argument("run_id", metavar="RUN")
@json_option
def show(run_id: str, as_json: bool) -> None:
    """Show a run: what it was, what happened, how it ended. Secrets are masked.

    RUN is the run's name, or its beginning.
    """
    record, facts = load(run_id)
    if as_json:
        click.echo(json.dumps(_as_json(record) | {"events": [json.loads(each) for each in facts]}, indent=2))
        return
    about = [
        ("run", record.run_id),
        ("status", _status(record)),
        ("workflow", record.workflow_id),
        ("document", record.document),
        ("started", moment(record.started_at)),
        ("took", _took(record)),
    ]
    for line in (*pairs(about), *_story(facts)):
        click.echo(line)
    if _can_resume(record) and record.status != "in-doubt":  # then the end of its story says which ways there are
        click.echo(f"go on with: treadle resume {record.run_id}", err=True)


def _story(facts: Sequence[bytes]) -> list[str]:
    story = Story(explain=True)
    lines: list[str] = []
    for data in facts:
        event = events.decode(data)
        lines += [written(line) for line in story.tell(event)]
        if isinstance(event, events.RunFinished):
            told = ending(event, event.at - story.started_at)
            lines += [told.head, *told.notes, *told.outputs]
    return lines


def load(run_id: str) -> tuple[RunRecord, Sequence[bytes]]:
    """Give a run, named in full or by its beginning, and its stored events. Raises `UsageError`."""
    return _read(_one(run_id)) or _unknown(run_id)


def _unknown(run_id: str) -> tuple[RunRecord, Sequence[bytes]]:
    raise UsageError(f"There is no run {run_id}.", hint="treadle runs ls lists them.")


async def _one(run_id: str) -> tuple[RunRecord, Sequence[bytes]]:
    from treadle.stores.sqlite import SqliteRunStore  # it opens a database: only those who look pay

    store = SqliteRunStore(Home.find().runs_db)
    try:
        record = await store.load(run_id)
        if record is None:
            close = [each for each in await store.runs(10_000) if each.run_id.startswith(run_id)]
            if len(close) > 1:
                names = ", ".join(each.run_id for each in close[:_NAMES_SHOWN]) + ", …" * (len(close) > _NAMES_SHOWN)
                raise UsageError(f"{run_id} is the beginning of {len(close)} runs.", hint=f"Write more of it: {names}")
            record = close[0] if close else _unknown(run_id)[0]
        return record, await store.events(record.run_id)
    finally:
        await store.close()


async def _all(limit: int) -> Sequence[RunRecord]:
    from treadle.stores.sqlite import SqliteRunStore  # as above

    store = SqliteRunStore(Home.find().runs_db)
    try:
        return await store.runs(limit)
    finally:
        await store.close()


def _read(work: Coroutine[Any, Any, _T]) -> _T | None:
    """Do the work, unless nothing was ever run here: looking must not make a home."""
    if not Home.find().runs_db.exists():
        work.close()
        return None
    return asyncio.run(work)


def _can_resume(record: RunRecord) -> bool:
    return record.status in _RESUMABLE and not Home.find().driven(record.run_id)


def _status(record: RunRecord) -> str:
    """Give the status; a run that nobody drives is not running, whatever its last state says."""
    driven = record.status != "running" or Home.find().driven(record.run_id)
    return record.status if driven else _BROKEN_OFF


def _took(record: RunRecord) -> str:
    # The state of a run that polls is saved when something changes, which may have been hours ago.
    until = time.time() if _status(record) == "running" else record.updated_at
    return duration(until - record.started_at)


def _as_json(record: RunRecord) -> dict[str, Any]:
    known = msgspec.to_builtins(record)
    kept = {name: value for name, value in known.items() if name not in {"state", "setup"}}
    return kept | {"resumable": _can_resume(record)}
