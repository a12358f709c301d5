"""Every kind of finding has a name in one list, with texts; nothing in the source reports under another name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from treadle.arazzo import rules
from treadle.arazzo.rules import dialect, planned
from treadle.arazzo.rules.catalogue import ENTRIES, Entry

SOURCE = Path(__file__).resolve().parents[2] / "src" / "treadle"
REPORTING = {"report", "dialect", "finding", "lenient", "Diagnostic", "error", "_finding", "_fault", "_Fault"}
NAME = re.compile(r"[a-z]+(-[a-z0-9]+)*")


def reported() -> Iterator[tuple[str, str]]:
    """Give every constant name that a call in the source reports under, with its place."""
    for package in ("arazzo", "sources", "cli"):
        for path in sorted((SOURCE / package).rglob("*.py")):
            calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
            for call in calls:
                function = call.func
                named = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                given = [*call.args[:1], *(each.value for each in call.keywords if each.arg == "rule")]
                if named in REPORTING:
                    for each in given:
                        if (
                            isinstance(each, ast.Constant)
                            and isinstance(each.value, str)
                            and NAME.fullmatch(each.value)
                        ):
                            yield each.value, f"{path.name}:{call.lineno}"


def test_nothing_reports_under_a_name_that_is_not_listed() -> None:
    """The switches of treadle.toml know only these."""
    found = list(reported())
    assert len(found) > 60
    assert [each for each in found if each[0] not in ENTRIES] == []


@pytest.mark.parametrize("name", dialect.RULES)
def test_every_leniency_is_told_somewhere(name: str) -> None:
    """What stands in the list and is reported by nothing has no diagnostic and no switch."""
    lists = {SOURCE / "arazzo/rules/dialect.py", SOURCE / "arazzo/rules/catalogue.py"}
    sources = [path for path in SOURCE.rglob("*.py") if path not in lists and path.name != "scope.py"]
    assert any(f'"{name}"' in path.read_text("utf-8") for path in sources)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_every_entry_explains_itself(entry: Entry) -> None:
    """What is written, what is meant, how it is written properly, and by which clause."""
    assert entry.written
    assert entry.meant
    assert entry.properly
    assert entry.clause
    assert NAME.fullmatch(entry.name)
    assert entry.severity in {"error", "warning", "note"}


def test_the_list_is_complete() -> None:
    """Rules with files of their own, and the dialect."""
    assert {rule.RULE for rule in (*rules.ALL, *planned.ALL)} <= ENTRIES.keys()
    assert dialect.RULES.keys() <= ENTRIES.keys()
