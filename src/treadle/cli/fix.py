"""`treadle check --fix`: what has one certain rewriting is rewritten, after it was shown.

First errors are put right: there the old text has no meaning that could be kept. Then leniency is written properly:
nothing is written unless the new text reads as what was meant to be changed, plans to the same meaning as the text
before, and has no error that it had not.
"""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from treadle.arazzo.fixes import CannotEdit, Change, Editor, applied, differences, proposed, repairs
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.cli.checking import Checkup, check_document
from treadle.cli.errors import styled
from treadle.cli.opening import Setup
from treadle.errors import UsageError
from treadle.sources.servers import LocalService

if TYPE_CHECKING:
    from treadle.arazzo.registry import Fetch

__all__ = ["fix_document", "fixed_text"]

_MOST_ROUNDS = 5


def fix_document(
    setup: Setup,
    *,
    local: Callable[[], LocalService] | None = None,
    fetch: Fetch | None = None,
    yes: bool = False,
    aside: bool = False,
) -> None:
    """Show what can be rewritten in a document, ask, and write it. `aside`: standard output is for a program.

    Raises `DescriptionError` where the document cannot be read, `UsageError` where it cannot be written.
    """
    found = fixed_text(setup, local=local, fetch=fetch)
    label = setup.label or setup.document
    if found is None:
        click.echo(f"{label}: there is nothing to rewrite", err=aside)
        return
    old, new, changes = found
    for line in _shown(old, new, label):
        click.echo(line, err=aside)
    counts = Counter(rule for rule, _ in {(each.rule, _place(each)) for each in changes})
    click.echo(f"{label}: {', '.join(f'{rule} ×{count}' for rule, count in sorted(counts.items()))}", err=aside)
    if not _agreed(yes=yes):
        click.echo(f"{label}: nothing was written; --yes says that it is meant", err=True)
        return
    _write(setup.document, old, new)
    click.echo(f"{label}: written", err=aside)


def _place(change: Change) -> str:
    """Give what is rewritten: several members of a criterion change together."""
    holder, _, name = change.pointer.rpartition("/")
    return holder if name in {"condition", "context", "type", "value", "name", "in"} else change.pointer


def _agreed(*, yes: bool) -> bool:
    return yes or (sys.stdin.isatty() and click.confirm("Write this?", default=False, err=True))


def fixed_text(
    setup: Setup,
    *,
    local: Callable[[], LocalService] | None = None,
    fetch: Fetch | None = None,
) -> tuple[str, str, Sequence[Change]] | None:
    """Give the old text, the new one and the changes; None where there is nothing to rewrite.

    A rewriting can make way for another one, so it goes on until there is none. Raises `UsageError` where the new text
    would not mean the same: then it is Treadle that is mistaken.
    """

    def checked(document: Document | None = None) -> Checkup:
        return check_document(_lenient(setup), local=local, fetch=fetch, document=document)

    first = checked()
    repaired, mended = _rounds(first, checked, lambda each: repairs(each.document, each.diagnostics))
    current, changes = _rounds(repaired, checked, _proposed)
    if not mended and not changes:
        return None
    _same(repaired, current)
    return first.document.text, current.document.text, [*mended, *changes]


def _rounds(
    checkup: Checkup, checked: Callable[[Document], Checkup], found: Callable[[Checkup], list[Change]]
) -> tuple[Checkup, list[Change]]:
    """Make changes until there are none left to be made."""
    every: list[Change] = []
    for _ in range(_MOST_ROUNDS):
        changes = found(checkup)
        if not changes:
            break
        every += changes
        checkup = checked(_rewritten(checkup.document, changes))
    return checkup, every


def _proposed(checkup: Checkup) -> list[Change]:
    if checkup.description is None:
        return []
    return proposed(checkup.document, checkup.description, checkup.workflows, checkup.diagnostics)


def _lenient(setup: Setup) -> Setup:
    """By the letter most of what can be rewritten is an error, and not planned at all; and what is off counts, too."""
    import msgspec

    return msgspec.structs.replace(setup, strict=False, off=[], rules={})


def _rewritten(document: Document, changes: Sequence[Change]) -> Document:
    """Make changes in the text of a document."""
    try:
        text = Editor(document).edited(changes)
    except CannotEdit as error:
        raise UsageError(f"{document.label} cannot be rewritten: {error}. Nothing was written.") from error
    rewritten = load(text.encode(), document.uri, label=document.label)
    if rewritten.value != applied(document.value, changes):
        raise UsageError(f"{document.label} would not read as it was meant after rewriting. Nothing was written.")
    return rewritten


def _same(before: Checkup, after: Checkup) -> None:
    """Refuse a text that means something else. Raises `UsageError`."""
    label = before.document.label
    other = differences(before.workflows, after.workflows)
    if other:
        raise UsageError(f"{label}: after rewriting, {', '.join(other)} would not mean the same. Nothing was written.")
    old = {(each.rule, each.message) for each in before.diagnostics if each.severity == "error"}
    new = [each for each in after.diagnostics if each.severity == "error" and (each.rule, each.message) not in old]
    if new:
        raise UsageError(f"{label}: rewriting would bring a mistake: {new[0].message}. Nothing was written.")


def _shown(old: str, new: str, label: str) -> Iterator[str]:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(old.splitlines(), new.splitlines(), label, label, lineterm=""):
        head = line.startswith(("+++", "---"))
        yield styled(line, bold=True) if head else styled(line, fg=colours.get(line[:1]))


def _write(where: str, old: str, new: str) -> None:
    """Put the new text in place of the old one, whole or not at all; the file's mode and its links stay."""
    if "://" in where:
        raise UsageError(f"{where} is read from the network and cannot be rewritten", hint="give a file")
    path = Path(where).resolve()
    try:
        data = path.read_bytes()
        mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
        if data != mark + old.encode():
            raise UsageError(f"{where} has changed, or is not UTF-8. Nothing was written.")
        mode = path.stat().st_mode & 0o7777
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(mark + new.encode())
        try:
            os.chmod(file.name, mode)  # noqa: PTH101  (it is a name here)
            os.replace(file.name, path)  # noqa: PTH105  (the same)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{where} cannot be written: {error.strerror or error}. Nothing was written.") from error
