"""What a user gave on the command line, as the engine takes it: the setup of a run, and its inputs."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import click

from treadle.arazzo.inputs import Inputs
from treadle.arazzo.load import load
from treadle.arazzo.references import prepared as judged
from treadle.arazzo.slips import close_to
from treadle.cli import mocked
from treadle.cli.configured import settings_for
from treadle.cli.errors import styled
from treadle.cli.opening import Setup
from treadle.cli.options import Given, Where
from treadle.errors import DescriptionError, Diagnostic, UsageError
from treadle.reporters.text import plain
from treadle.seams import Json
from treadle.settings import Settings, TargetSettings

__all__ = ["briefly", "inputs_of", "prepared", "setup_of", "show", "warned"]


def setup_of(
    document: str, workflow: str | None, where: Where | None = None, *, settings: Settings | None = None
) -> Setup:
    """Give the setup, with absolute paths: a run may be taken up again from another directory.

    What the command line leaves open is decided by `settings`, those of the document's `treadle.toml` unless given.
    Raises `DescriptionError` where that is wrong.
    """
    where = where or Where()
    settings = settings_for(document, where.config) if settings is None else settings
    chosen = where.on or settings.on
    target = settings.targets.get(chosen or "") or TargetSettings(_place(chosen, settings.targets))
    return Setup(
        document=_located(document),
        label=document,
        workflow=workflow,
        on=target.url,
        servers={**settings.servers, **target.servers, **dict(where.servers)},
        sources={**settings.sources, **{name: _located(place) for name, place in where.sources}},
        credentials=_merged(settings.credentials, target.credentials),
        strict=where.strict or settings.strict,
        off=sorted(settings.refused),
        rules=dict(settings.rules),
        poll=settings.poll,
        documents=list(settings.documents),
        hosts=list(where.hosts or settings.hosts),
        configured=sorted(
            {*settings.servers, *settings.sources, *target.servers}
            - {name for name, _ in (*where.servers, *where.sources)}
        ),
    )


def _place(on: str | None, targets: Collection[str]) -> str | None:
    """Give where `--on` says that requests go. Raises `UsageError`: a slip must not send them elsewhere."""
    if on is None or on in {"local", "aws"} or "://" in on:
        return on
    if on == "mock":
        return mocked.URL
    known = ["local", "aws", "mock", *targets]
    meant = f"http://{on}" if ":" in on or "." in on else close_to(on, known)
    hint = f"did you mean {meant}?" if meant else f"it is one of {', '.join(known)}, or a URL"
    raise UsageError(f"there is no place {on!r} to send requests to", hint=hint)


def _merged(*every: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Join credentials by source; later ones outrank earlier ones."""
    found: dict[str, dict[str, str]] = {}
    for each in every:
        for source, references in each.items():
            found[source] = {**found.get(source, {}), **references}
    return found


def _located(where: str) -> str:
    return where if "://" in where else str(Path(where).absolute())


def inputs_of(inputs: Inputs, given: Given) -> dict[str, Json]:
    """Give the inputs of `--inputs` and `-i`, the latter first, each read as its schema wants it."""
    values = _from_file(given.file) if given.file else {}
    for name, text in given.pairs:
        values[name] = inputs.coerce(name, text)
    return values


def _from_file(file: str) -> dict[str, Json]:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"The inputs file {file} cannot be read: {error.strerror}.") from error
    values = load(data, file, label="standard input" if file == "-" else file).value
    if not isinstance(values, dict):
        raise UsageError(
            f"The inputs file {file} holds no object.", hint='Its members are the inputs: {"name": "value", …}'
        )
    return dict(values)


def prepared(
    inputs: Inputs, values: Mapping[str, Json], references: Iterable[str] = ()
) -> tuple[dict[str, Json], list[Diagnostic]]:
    """Give the inputs with their defaults, and warnings. Raises `DescriptionError` with everything that is wrong.

    `references` are those values that stand for a secret; `UsageError` where one stands for nothing.
    """
    complete, found = judged(inputs, values, references)
    if any(each.severity == "error" for each in found):
        raise DescriptionError(found)
    return complete, found


def warned(diagnostics: Iterable[Diagnostic], *, notes: bool = False) -> None:
    """Show warnings, and notes where they are asked for."""
    for each in diagnostics:
        if each.severity != "note" or notes:
            show(each)


def briefly(diagnostics: Iterable[Diagnostic], *, notes: bool = False) -> None:
    """Show warnings on one line each, the same one once with all its places: a run has other things to say."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for each in diagnostics:
        if each.severity == "warning" or notes:
            where = str(each.place.line) if each.place and each.place.line else ""
            places.setdefault((each.severity, each.message, each.rule), []).append(where)
    for (severity, message, rule), lines in places.items():
        named = [each for each in dict.fromkeys(lines) if each]
        at = f" (line {', '.join(named)})" if named else ""
        click.echo(f"{styled(f'{severity}:', fg='yellow')} {plain(message)}{at} [{rule}]", err=True)


def show(diagnostic: Diagnostic) -> None:
    """Write a finding to standard error, in colour on a terminal."""
    text = plain(diagnostic.render())
    colour = {"error": "red", "warning": "yellow", "note": "cyan"}[diagnostic.severity]
    word = f"{diagnostic.severity}:"
    click.echo(text.replace(word, styled(word, fg=colour, bold=True), 1), err=True)
