"""`treadle check`: every mistake of documents, each with its place and what to do; on demand it rewrites some."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from treadle.cli import local
from treadle.cli.checking import check_document
from treadle.cli.configured import settings_for
from treadle.cli.errors import styled
from treadle.cli.fetching import fetch
from treadle.cli.given import setup_of, show
from treadle.cli.options import DOCUMENT, Sectioned, Where, describes, examples, option
from treadle.errors import DescriptionError, Diagnostic, UsageError
from treadle.settings import Others, weighed

__all__ = ["check"]

_FINDINGS: Final = "Findings"
_FIXES: Final = "Rewriting"

Found = tuple[str, Sequence[Diagnostic]]


@click.command(
    cls=Sectioned,
    epilog=examples(
        "treadle check workflow.yml",
        "treadle check --strict workflows/ --max-warnings 0",
        "treadle check --format sarif . > findings.sarif",
        "treadle check --explain unhandled-value",
        "treadle check --fix workflow.yml",
    ),
)
@click.argument("documents", metavar="DOCUMENT...", type=DOCUMENT, nargs=-1)
@option(
    _FINDINGS,
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="For people, for programs, for code scanning, or as annotations of GitHub Actions.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.", hidden=True)
@option(
    _FINDINGS,
    "--max-warnings",
    type=click.IntRange(min=0),
    metavar="N",
    help="Exit with 2 also when there are more warnings than this.",
)
@option(
    _FINDINGS,
    "--others",
    type=click.Choice(["local", "all", "none"]),
    help="Which Arazzo documents among its sources are checked, too: those in files (the default), also those from the "
    "network, or none beyond what its own workflows need.",
)
@option(_FINDINGS, "--list-rules", is_flag=True, help="List everything that can be found, and exit.")
@option(_FINDINGS, "--explain", metavar="RULE", help="Say what a finding means and how it is written properly; exit.")
@option(_FIXES, "--fix", is_flag=True, help="Rewrite what has one certain rewriting. Shows the changes and asks first.")
@option(_FIXES, "-y", "--yes", is_flag=True, help="Do not ask.")
@describes
def check(
    documents: tuple[str, ...],
    form: str,
    max_warnings: int | None,
    where: Where,
    explain: str | None,
    others: Others | None,
    *,
    list_rules: bool,
    fix: bool,
    yes: bool,
) -> None:
    """Find the mistakes in Arazzo documents: structure, references, flow, operations, expressions, criteria.

    A DOCUMENT is a file, a URL, or a directory, of which all *.arazzo.yaml and arazzo.yaml (yml, json) are taken. Every
    workflow is planned as it would be run; nothing is sent. What is found can be switched and weighed in treadle.toml.

    Exit codes: 0 no errors; 2 errors, or more warnings than --max-warnings.
    """
    if list_rules or explain is not None:
        from treadle.cli.rules import explained, listed  # texts that a check does not need

        click.echo(explained(explain) if explain is not None else "\n".join(listed()))
        return
    paths = list(_documents(documents))
    findings: list[Found] = []
    for document in paths:
        try:
            settings = settings_for(document, where.config)
            setup = setup_of(document, None, where, settings=settings)
            if fix:
                from treadle.cli.fix import fix_document

                fix_document(setup, local=local.known, fetch=fetch, yes=yes, aside=form != "text")
            which = others or settings.others
            checkup = check_document(setup, local=local.known, fetch=fetch, others=which)
            findings.append((document, weighed(checkup.diagnostics, setup.rules)))
        except DescriptionError as error:
            findings.append((document, error.diagnostics))
    findings = _once(findings)
    _tell(findings, form)
    sys.exit(2 if _fails(findings, max_warnings) else 0)


# ---------------------------------------------------------------------------------------------------------------------
# Which documents
# ---------------------------------------------------------------------------------------------------------------------

_ENDINGS: Final = (".yaml", ".yml", ".json")


def _documents(given: Sequence[str]) -> Iterator[str]:
    """Give the documents that are meant, those of directories in the order of their names."""
    if not given:
        raise UsageError("no document is named", hint="treadle check DOCUMENT, or . for those of this directory")
    for name in given:
        path = Path(name)
        if "://" in name or not path.is_dir():
            yield name
            continue
        every = (each for each in path.rglob("*") if not _of_others(each.relative_to(path)))
        found = sorted(str(each) for each in every if _is_arazzo(each))
        if not found:
            hint = "their names end in .arazzo.yaml (yml, json), or are arazzo.yaml (yml, json)"
            raise UsageError(f"there are no Arazzo documents in {name}", hint=hint)
        yield from found


def _is_arazzo(path: Path) -> bool:
    name = path.name.lower()
    stem, ending = name.removesuffix(path.suffix.lower()), path.suffix.lower()
    return ending in _ENDINGS and (stem == "arazzo" or stem.endswith(".arazzo")) and path.is_file()


def _of_others(path: Path) -> bool:
    """Tell whether a path leads into what tools keep for themselves, such as .git and node_modules."""
    return any(part.startswith(".") or part == "node_modules" for part in path.parts)


def _once(findings: Sequence[Found]) -> list[Found]:
    """Leave out of a document's findings those about another one that is told by itself, or was told before."""
    own = {os.path.normpath(document) for document, _ in findings}
    told: set[Diagnostic] = set()
    result: list[Found] = []
    for document, found in findings:
        about = {each: os.path.normpath(each.place.document) if each.place else document for each in found}
        others = {each for each, other in about.items() if other != os.path.normpath(document)}
        kept = [each for each in found if each not in others or not (each in told or about[each] in own)]
        told |= others
        result.append((document, kept))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# What is told
# ---------------------------------------------------------------------------------------------------------------------


def _fails(findings: Iterable[Found], max_warnings: int | None) -> bool:
    counts = Counter(each.severity for _, found in findings for each in found)
    return bool(counts["error"]) or (max_warnings is not None and counts["warning"] > max_warnings)


def _tell(findings: Sequence[Found], form: str) -> None:
    if form == "text":
        _in_text(findings)
        return
    from treadle.reporters.diagnostics import as_github, as_json, as_sarif  # each only where it is asked for

    if form == "json":
        click.echo(as_json(findings))
    elif form == "sarif":
        from treadle.cli.rules import texts

        click.echo(as_sarif(findings, texts()))
    else:
        for line in as_github(findings):
            click.echo(line)


def _in_text(findings: Sequence[Found]) -> None:
    for document, found in findings:
        for each in found:
            show(each)
        click.echo(f"{document}: {_summary(found)}")
    if len(findings) > 1:
        bad = sum(any(each.severity == "error" for each in found) for _, found in findings)
        every = [each for _, found in findings for each in found]
        verdict = styled(f"{bad} with errors", fg="red") if bad else styled("none with errors", fg="green")
        click.echo(f"{len(findings)} documents, {verdict}: {_summary(every)}")


def _summary(found: Iterable[Diagnostic]) -> str:
    counts = Counter(each.severity for each in found)
    parts = [
        f"{counts[severity]} {severity}{'s' if counts[severity] > 1 else ''}"
        for severity in ("error", "warning", "note")
        if counts[severity]
    ]
    if counts["error"]:
        return ", ".join(parts)
    return "good" + (f" ({', '.join(parts)})" if parts else "")
