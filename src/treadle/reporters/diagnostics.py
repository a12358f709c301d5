"""Findings as a program reads them: JSON, SARIF 2.1.0, and the annotations of GitHub Actions.

SARIF is for code scanning: rules with their texts once, each result with its region. Positions count from 1, in both;
SARIF's end column is the one after the last character.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from treadle._version import __version__
from treadle.errors import Diagnostic, Severity

__all__ = ["RuleText", "as_github", "as_json", "as_sarif"]


@dataclass(frozen=True, slots=True)
class RuleText:
    """What SARIF says about a rule: `short` is a sentence, `full` says how to write it properly."""

    name: str
    severity: Severity
    short: str
    full: str
    clause: str = ""


Checked = Iterable[tuple[str, Sequence[Diagnostic]]]
"""Each document with what was found in it."""


def as_json(checked: Checked) -> str:
    """Give a list with an object for each document."""
    return json.dumps([_document(name, found) for name, found in checked], ensure_ascii=False, indent=2)


def _document(name: str, found: Iterable[Diagnostic]) -> dict[str, Any]:
    return {"document": name, "diagnostics": [_finding(name, each) for each in found]}


def _finding(name: str, each: Diagnostic) -> dict[str, Any]:
    place = each.place
    return {
        "severity": each.severity,
        "rule": each.rule,
        "message": each.message,
        "hint": each.hint,
        "document": place.document if place else name,
        "pointer": place.pointer if place else "",
        "line": place.line if place else 0,
        "column": place.column if place else 0,
        "width": place.width if place else 0,
    }


# ---------------------------------------------------------------------------------------------------------------------
# SARIF
# ---------------------------------------------------------------------------------------------------------------------

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(checked: Checked, rules: Mapping[str, RuleText]) -> str:
    """Give a SARIF log with one run; of the rules, those that found something."""
    findings = [(name, each) for name, found in checked for each in found]
    used = list(dict.fromkeys(each.rule for _, each in findings))
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Treadle",
                        "semanticVersion": __version__,
                        "rules": [_rule(rules.get(name) or RuleText(name, "error", name, name)) for name in used],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(name, each, used.index(each.rule)) for name, each in findings],
            }
        ],
    }
    return json.dumps(log, ensure_ascii=False, indent=2)


def _rule(rule: RuleText) -> dict[str, Any]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.short},
        "fullDescription": {"text": rule.full},
        "help": {"text": f"{rule.full}. See Arazzo, {rule.clause}." if rule.clause else rule.full},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(name: str, each: Diagnostic, index: int) -> dict[str, Any]:
    text = f"{each.message}. {each.hint[:1].upper()}{each.hint[1:]}" if each.hint else each.message
    place = each.place
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.document if place else name)}}
    if place is not None and place.line:
        physical["region"] = {
            "startLine": place.line,
            "startColumn": place.column,
            "endColumn": place.column + max(1, place.width),
        }
    location: dict[str, Any] = {"physicalLocation": physical}
    if place is not None and place.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": place.pointer}]
    return {
        "ruleId": each.rule,
        "ruleIndex": index,
        "level": each.severity,
        "message": {"text": text},
        "locations": [location],
    }


def _uri(document: str) -> str:
    """Give a URI reference: paths stay relative, so that they fit whatever place the repository is checked out to."""
    if "://" in document:
        return document
    return Path(document).as_uri() if Path(document).is_absolute() else quote(Path(document).as_posix())


# ---------------------------------------------------------------------------------------------------------------------
# GitHub Actions
# ---------------------------------------------------------------------------------------------------------------------

_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}


def as_github(checked: Checked) -> Iterator[str]:
    """Give a workflow command for each finding: `::error file=…,line=…,col=…,title=…::message`."""
    for name, found in checked:
        for each in found:
            place = each.place
            properties = {"file": place.document if place else name}
            if place is not None and place.line:
                properties |= {"line": str(place.line), "col": str(place.column)}
                properties["endColumn"] = str(place.column + max(1, place.width))
            properties["title"] = each.rule
            written = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
            message = f"{each.message}\nhint: {each.hint}" if each.hint else each.message
            yield f"::{_COMMANDS[each.severity]} {written}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
