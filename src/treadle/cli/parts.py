"""What a run on this machine is made of, besides its plan: transport, authoriser, store, and the engine's options."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from treadle.cli import local
from treadle.cli.opening import Opened, Setup
from treadle.home import Home
from treadle.seams import Json

if TYPE_CHECKING:
    from treadle.arazzo.machine import MachineOptions
    from treadle.arazzo.run import RunOptions

__all__ = ["machine_options", "options_for", "parts"]


def machine_options(setup: Setup) -> MachineOptions:
    """Give what a setup says about the course of a run."""
    from treadle.arazzo.machine import MachineOptions  # the engine, which `check` and `plan` do not need

    return MachineOptions(poll=setup.poll, timeout=setup.timeout, request_timeout=setup.request_timeout)


def options_for(opened: Opened, inputs: Mapping[str, Json], references: Iterable[str]) -> RunOptions:
    """Give the options of a new run, with a name for it."""
    from treadle.arazzo import run as engine
    from treadle.arazzo.secrecy import Secrets

    entry = opened.plan.workflows[opened.plan.entry]
    return engine.RunOptions(
        machine=machine_options(opened.setup),
        run_id=engine.new_run_id(),
        setup=msgspec.json.encode(opened.setup),
        secrets=Secrets().also(entry.inputs.secret_texts(inputs)).also(opened.secrets()),
        references=tuple(references),
    )


@contextlib.asynccontextmanager
async def parts(
    opened: Opened, run_id: str, service: local.Service, *, durable: bool = True
) -> AsyncIterator[dict[str, Any]]:
    """Give transport, authoriser and store, and keep others from the run; all is let go of in the end.

    A run that is not `durable` is kept in memory.
    """
    from treadle.http.client import HttpTransport
    from treadle.stores.memory import MemoryRunStore
    from treadle.stores.sqlite import SqliteRunStore

    home = Home.find()
    with home.driving(run_id) if durable else contextlib.nullcontext():
        store = SqliteRunStore(home.runs_db) if durable else MemoryRunStore()
        plain = HttpTransport(allowed_hosts=opened.hosts)
        transport = local.Reviving(plain, opened.local.url, service) if opened.local else plain
        try:
            yield {"transport": transport, "authoriser": opened.authoriser(home), "store": store}
        finally:
            await transport.close()
            await store.close()
