"""`treadle check`: every mistake of a document, each with its place and what to do."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import click

from treadle.cli import local
from treadle.cli.checking import check_document
from treadle.cli.fetching import fetch
from treadle.cli.given import setup_of, show
from treadle.cli.options import DOCUMENT, Sectioned, describes, examples, json_option
from treadle.errors import DescriptionError, Diagnostic

__all__ = ["check"]


@click.command(
    cls=Sectioned,
    epilog=examples(
        "treadle check workflow.yml",
        "treadle check --strict workflows/*.yml",
    ),
)
@click.argument("documents", metavar="DOCUMENT...", type=DOCUMENT, nargs=-1, required=True)
@describes
@json_option
def check(
    documents: tuple[str, ...],
    on: str | None,
    servers: tuple[tuple[str, str], ...],
    sources: tuple[tuple[str, str], ...],
    strict: bool,
    as_json: bool,
) -> None:
    """Find the mistakes in Arazzo documents: structure, references, operations, expressions, criteria.

    Every workflow of each document is planned as it would be run; nothing is sent. Exit code 2 when there is an error.
    """
    findings: list[tuple[str, Sequence[Diagnostic]]] = []
    for document in documents:
        setup = setup_of(document, None, on=on, servers=servers, sources=sources, strict=strict)
        try:
            findings.append((document, check_document(setup, local=local.known, fetch=fetch).diagnostics))
        except DescriptionError as error:
            findings.append((document, error.diagnostics))
    if as_json:
        click.echo(
            json.dumps([_as_json(document, found) for document, found in findings], ensure_ascii=False, indent=2)
        )
    else:
        _tell(findings)
    errors = any(each.severity == "error" for _, found in findings for each in found)
    sys.exit(2 if errors else 0)


def _tell(findings: Iterable[tuple[str, Sequence[Diagnostic]]]) -> None:
    for document, found in findings:
        for each in found:
            show(each)
        click.echo(f"{document}: {_summary(found)}")


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


def _as_json(document: str, found: Iterable[Diagnostic]) -> dict[str, Any]:
    return {
        "document": document,
        "diagnostics": [
            {
                "severity": each.severity,
                "rule": each.rule,
                "message": each.message,
                "hint": each.hint,
                "document": each.place.document if each.place else document,
                "pointer": each.place.pointer if each.place else "",
                "line": each.place.line if each.place else 0,
                "column": each.place.column if each.place else 0,
            }
            for each in found
        ],
    }
