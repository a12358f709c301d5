"""Parts of the documentation that are made from the program itself; the pages hold what is made here, word for word.

`python tests/docs/test_generated.py` writes them anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from treadle.arazzo.rules.dialect import RULES
from treadle.cli import app
from treadle.training import spec

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"

# What stands between the two is made; what stands around it is written by hand.
_BEGIN: Final = "<!-- made from the program: {} -->"
_END: Final = "<!-- end -->"


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


def code(text: str) -> str:
    """Give text as code in a cell of a table."""
    fence = "``" if "`" in text else "`"
    return fence + text.replace("|", "\\|") + fence


def prose(text: str) -> str:
    """Give text as such in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def dialect() -> Iterator[str]:
    """Give the table of the ways of writing that are taken though the specification does not have them."""
    yield "| rule | what is written | how it is read | what to write instead |"
    yield "|---|---|---|---|"
    for rule in RULES.values():
        yield f"| `{rule.name}` | {code(rule.written)} | {prose(rule.meant)} | {prose(rule.properly)} |"


def member(path: str) -> str:
    """Give a member of CreateTrainingJob as code."""
    return code(path.replace(".*.", "[]."))


def refused() -> Iterator[str]:
    """Give the table of what a job may ask for on AWS and does not get here."""
    yield "| member | what to do |"
    yield "|---|---|"
    for each in spec._UNBUILT:
        yield f"| {member(each.path)} | {prose(each.advice)} |"


def idle() -> Iterator[str]:
    """Give the table of what is taken and changes nothing here."""
    yield "| member | what the log says |"
    yield "|---|---|"
    for each in spec._IDLE:
        yield f"| {member(each.path)} | {prose(each.advice)} |"


# ---------------------------------------------------------------------------------------------------------------------
# The reference of the command line
# ---------------------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Give every command with its context, groups before what is in them."""
    root = click.Context(app.cli, info_name="treadle")
    for entry in app.COMMANDS:
        command = app.cli.get_command(root, entry.name)
        assert command is not None
        context = click.Context(command, info_name=entry.name, parent=root)
        yield context, command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                yield click.Context(below, info_name=name, parent=context), below


def reference() -> Iterator[str]:
    """Give the sections of all commands."""
    for context, command in commands():
        yield f"{'###' if context.parent and context.parent.parent else '##'} {context.command_path}"
        yield ""
        if not isinstance(command, click.Group):
            usage = " ".join(command.collect_usage_pieces(context))
            yield from ("```text", f"{context.command_path} {usage}", "```", "")
        yield from explained(command)
        yield from options(context, command)


def explained(command: click.Command) -> Iterator[str]:
    """Give the paragraphs of a command's help."""
    for paragraph in re.split(r"\n\s*\n", (command.help or "").replace("\b\n", "").strip()):
        yield " ".join(paragraph.split())
        yield ""


def options(context: click.Context, command: click.Command) -> Iterator[str]:
    """Give the table of a command's options; `--help`, which all have, is left out."""
    rows = [
        each.get_help_record(context)
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden and "--help" not in each.opts
    ]
    if any(rows):
        yield "| option | what it does |"
        yield "|---|---|"
        for row in rows:
            if row:
                yield f"| {code(row[0])} | {prose(' '.join(row[1].split()))} |"
        yield ""


# ---------------------------------------------------------------------------------------------------------------------
# The pages
# ---------------------------------------------------------------------------------------------------------------------

PARTS: Final[list[tuple[str, str, Callable[[], Iterator[str]]]]] = [
    ("write-a-workflow.md", "treadle.arazzo.rules.dialect", dialect),
    ("train-locally.md", "what training jobs are refused", refused),
    ("train-locally.md", "what changes nothing", idle),
    ("reference-cli.md", "treadle --help", reference),
]


def renewed(text: str, name: str, made: str) -> str:
    """Give a page with a part of it made anew."""
    begin = _BEGIN.format(name)
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(_END)
    assert found, f"the page has no {begin}"
    assert ended, f"the page has no {_END} after {begin}"
    return f"{before}{begin}\n\n{made.strip()}\n\n{_END}{after}"


@pytest.mark.parametrize(("page", "name", "make"), PARTS, ids=[name for _, name, _ in PARTS])
def test_what_is_made_is_up_to_date(page: str, name: str, make: Callable[[], Iterator[str]]) -> None:
    """The page says what the program says."""
    text = (DOCS / page).read_text("utf-8")
    same = text == renewed(text, name, "\n".join(make()))
    assert same, f"docs/{page} is not up to date: {Path(sys.executable).name} tests/docs/test_generated.py writes it"


def test_links_lead_somewhere() -> None:
    """Every relative link of the pages names a file, and every anchor a heading of it."""
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text("utf-8")):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name} leads to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
                assert anchor in anchors, f"{page.name} leads to {target}"


if __name__ == "__main__":
    for page, name, make in PARTS:
        path = DOCS / page
        path.write_text(renewed(path.read_text("utf-8"), name, "\n".join(make())), "utf-8")
