"""`treadle mock`: a server that answers what documents ask for, so that they can be tried without the real one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click
import msgspec

from treadle.cli.fetching import fetch
from treadle.cli.given import setup_of
from treadle.cli.mocked import Served, served
from treadle.cli.opening import open_description, open_plan, registry_of
from treadle.cli.options import DOCUMENT, Pair, Where, examples
from treadle.errors import DescriptionError, UsageError
from treadle.seams import Json

if TYPE_CHECKING:
    from treadle.mock import Exchange, Mock, Rehearsal

__all__ = ["mock"]


@click.command(
    epilog=examples(
        "treadle mock workflow.yml",
        "treadle mock workflow.yml --port 8080 --visits 5",
        "treadle mock workflow.yml --take findOrder=notFound",
        "treadle mock *.yml --rehearse",
    )
)
@click.argument("documents", nargs=-1, required=True, type=DOCUMENT, metavar="DOCUMENT...")
@click.option("--workflow", "workflows", multiple=True, metavar="ID", help="Serve only this workflow. Repeatable.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port to listen on. Default: any that is free."
)
@click.option(
    "--visits",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="How often a poll goes round before its answer leads on.",
)
@click.option(
    "--take",
    "takes",
    metavar="STEP=ACTION",
    type=Pair("findOrder=notFound", "STEP=ACTION"),
    multiple=True,
    help="Answer a step so that this action of it is taken, also one of onFailure. Repeatable.",
)
@click.option(
    "--source",
    "sources",
    metavar="NAME=PATH|URL",
    type=Pair("petstore=./openapi.yml", "NAME=PATH|URL"),
    multiple=True,
    help="Read a source description from elsewhere. Repeatable.",
)
@click.option("--rehearse", is_flag=True, help="Serve nothing; say what a run of each workflow would meet.")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell of each request.")
def mock(
    documents: tuple[str, ...],
    workflows: tuple[str, ...],
    host: str,
    port: int,
    visits: int,
    takes: tuple[tuple[str, str], ...],
    sources: tuple[tuple[str, str], ...],
    rehearse: bool,
    quiet: bool,
) -> None:
    """Serve the operations that the workflows of DOCUMENT use, until Ctrl-C.

    The answers come from the examples and schemas of the API descriptions, bent to what the document's own criteria
    and outputs need in order to succeed: a poll ends after a few visits, a list that must not be empty is not. A
    source that cannot be read is served as the document spells it out. No credentials are needed or looked at.

    Exit codes: 0 ended by Ctrl-C, or everything can be rehearsed; 1 not; 2 nothing was served.
    """
    from treadle.mock import Mock  # the machine and all that it knows, which other commands do not need

    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{host}:{port} cannot be listened on: {reason}", hint="choose another --port") from error
    with listening:
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        opened, refused = _open_all(documents, workflows, sources, url)
        for message in refused:
            click.echo(message, err=True)
        if not opened:
            raise DescriptionError([], "There is no workflow that could be served.")
        bases = {name: base for each in opened for name, base in each.servers.items()}
        made = Mock([each.opened.plan for each in opened], bases, visits=visits, takes=dict(takes))
        rehearsals = [made.rehearse(each.opened.plan) for each in opened]
        if rehearse:
            sys.exit(_rehearsed(opened, rehearsals, refused))
        click.echo("\n".join(_greeting(url, made, opened, rehearsals)))
        sys.stdout.flush()
        asyncio.run(_serve(made, listening, quiet=quiet))


def _open_all(
    documents: Sequence[str], workflows: Sequence[str], sources: Sequence[tuple[str, str]], url: str
) -> tuple[list[Served], list[str]]:
    """Open every workflow, its servers below `url`; what cannot be run is told as texts.

    Raises `DescriptionError` where a document cannot be read.
    """
    found: list[Served] = []
    refused: list[str] = []
    several = len(documents) > 1
    known: list[str] = []
    for document in documents:
        place = f"/{quote(Path(document).stem)}" if several else ""
        setup = setup_of(document, None, Where(sources=sources))
        text, description, _ = open_description(setup, registry_of(setup, fetch))
        for workflow in description.workflows if description else ():
            known.append(workflow.workflow_id)
            if workflows and workflow.workflow_id not in workflows:
                continue
            chosen = msgspec.structs.replace(setup, workflow=workflow.workflow_id)
            try:
                found.append(served(chosen, url + place, text))
            except DescriptionError as error:
                refused.append(f"The workflow {workflow.workflow_id} of {document} is not served:\n{error.message}")
        if description is None:
            open_plan(setup, fetch=fetch)
    unknown = [each for each in workflows if each not in known]
    if unknown:
        raise UsageError(f"There is no workflow {', '.join(unknown)}.", hint=f"There are: {', '.join(known)}.")
    return found, refused


# ---------------------------------------------------------------------------------------------------------------------
# Serving
# ---------------------------------------------------------------------------------------------------------------------


async def _serve(made: Mock, listening: socket.socket, *, quiet: bool) -> None:
    from treadle.mock.app import serving  # aiohttp

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: there a KeyboardInterrupt ends it
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stopped.set)
    async with serving(made, listening, None if quiet else _tell):
        await stopped.wait()


def _tell(exchange: Exchange) -> None:
    request, response = exchange.request, exchange.response
    target = request.header("x-amz-target")
    path = request.url.partition("://")[2].partition("/")[2]
    what = f"{request.method} /{path}" + (f" {target}" if target else "")
    why = f"  {exchange.problem}" if exchange.problem else f"  step {exchange.step_id}" if exchange.step_id else ""
    click.echo(f"{response.status}  {what}{why}", err=True)


# ---------------------------------------------------------------------------------------------------------------------
# Words
# ---------------------------------------------------------------------------------------------------------------------


def _greeting(url: str, made: Mock, served: Sequence[Served], rehearsals: Sequence[Rehearsal]) -> Iterator[str]:
    yield f"Listening on {url}"
    yield from (f"  {label}" for label in made.routes.labels)
    for each, rehearsal in zip(served, rehearsals, strict=True):
        yield ""
        yield f"{each.opened.plan.entry}: {_summary(rehearsal)}"
        yield f"  {_command(each, rehearsal)}"
        yield from (f"  cannot be satisfied: {problem}" for problem in rehearsal.problems)
    yield ""
    yield "Ctrl-C ends it."


def _summary(rehearsal: Rehearsal) -> str:
    count = len(rehearsal.visits)
    return f"{count} request{'' if count == 1 else 's'}"


_LONGEST_VALUE: Final = 200


def _command(served: Served, rehearsal: Rehearsal) -> str:
    """Write the command that runs a workflow against this server."""
    opened = served.opened
    words = ["treadle", "run", served.document]
    if len(opened.description.workflows) > 1:
        words.append(rehearsal.workflow_id)
    declared = opened.plan.workflows[opened.plan.entry].inputs.declared
    for name, value in rehearsal.inputs.items():
        known = declared.get(name)
        if known is None or value != known.default:
            words += ["-i", f"{name}={_text(value)}"]
    used = {
        step.operation.source
        for workflow in opened.plan.workflows.values()
        for step in workflow.steps
        if step.operation is not None
    }
    for name, base in served.servers.items():
        if name in used:
            words += ["--server", f"{name}={base}"]
    for name, where in opened.setup.sources.items():
        words += ["--source", f"{name}={where}"]
    return shlex.join(words)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rehearsed(served: Sequence[Served], rehearsals: Sequence[Rehearsal], refused: Sequence[str]) -> int:
    lines: list[str] = []
    for each, rehearsal in zip(served, rehearsals, strict=True):
        ended: Any = rehearsal.result.status if rehearsal.result else "endless"
        lines.append(f"{each.document}  {rehearsal.workflow_id}: {ended}")
        lines += [f"  {visit.status}  {visit.step_id}  {visit.goal}" for visit in rehearsal.visits]
        lines += [f"  cannot be satisfied: {problem}" for problem in rehearsal.problems]
    click.echo("\n".join(lines))
    return int(bool(refused) or any(each.problems for each in rehearsals))
