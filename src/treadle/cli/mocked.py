"""Workflows with a mock as every server, and runs that one answers in this process (`--on mock`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from treadle.cli.fetching import fetch
from treadle.cli.opening import Opened, Setup, open_description, open_plan, registry_of
from treadle.errors import DescriptionError

if TYPE_CHECKING:
    from treadle.arazzo.location import Document

__all__ = ["URL", "Served", "is_mocked", "opened", "parts", "served"]

URL: Final = "http://mock.invalid"
"""What stands for the mock in this process where a server is named. Nothing is ever sent there."""


@dataclass(frozen=True, slots=True)
class Served:
    """A workflow that a mock serves: how it was opened, and the servers that its sources are called at."""

    document: str
    opened: Opened
    servers: Mapping[str, str]


def is_mocked(setup: Setup) -> bool:
    """Tell whether the mock in this process is to answer."""
    return setup.on == URL


def opened(setup: Setup, document: Document | None = None) -> Opened:
    """Open a workflow with the mock in this process as every server. Raises `DescriptionError` and `UsageError`."""
    found = served(setup, URL, document)
    return replace(found.opened, setup=msgspec.structs.replace(found.opened.setup, on=URL))


def parts(opened: Opened) -> dict[str, Any]:
    """Give transport, authoriser, store and clock of a run that the mock answers: nothing is waited for or kept."""
    from treadle.cli.tape import Still, Unsigned
    from treadle.mock import Mock, MockTransport
    from treadle.stores.memory import MemoryRunStore

    transport = MockTransport(Mock([opened.plan], opened.setup.servers))
    return {"transport": transport, "authoriser": Unsigned(), "store": MemoryRunStore(), "clock": Still()}


def served(setup: Setup, url: str, document: Document | None = None) -> Served:
    """Open a workflow with `url` as the server of every source, each below a path of its own if there are several.

    Sources that cannot be read cannot be told apart: what cannot be opened so is tried with all of them at one place.
    Raises `DescriptionError`.
    """
    document, description, _ = open_description(setup, registry_of(setup, fetch), document)
    names = [each.name for each in description.source_descriptions if each.type != "arazzo"] if description else []
    # With several documents, one of them has a source that another has not.
    known = {name: place for name, place in setup.sources.items() if description is None or description.source(name)}
    setup = msgspec.structs.replace(setup, on=None, sources=known)
    apart = {name: _below(url, name) for name in names} if len(names) > 1 else dict.fromkeys(names, url)
    try:
        return _served(setup, url, apart, document)
    except DescriptionError:
        try:
            return _served(setup, url, dict.fromkeys(names, url), document)
        except DescriptionError:
            pass
        raise


def _served(setup: Setup, url: str, servers: dict[str, str], document: Document) -> Served:
    while True:
        found = open_plan(msgspec.structs.replace(setup, servers=servers), fetch=fetch, document=document)
        # Other documents of it bring sources of their own.
        brought = {name: _below(url, name) for name in found.targets if name not in servers}
        if not brought:
            return Served(setup.label or setup.document, found, servers)
        servers = servers | brought


def _below(url: str, name: str) -> str:
    return f"{url}/{quote(name, safe='')}"
