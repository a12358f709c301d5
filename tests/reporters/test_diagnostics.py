"""Findings for programs: SARIF by OASIS's own schema, GitHub's annotations as its runner reads them, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.arazzo.rules.catalogue import ENTRIES
from treadle.cli.rules import texts
from treadle.errors import Diagnostic, Place, Severity
from treadle.reporters.diagnostics import as_github, as_json, as_sarif

SEVERITIES: list[Severity] = ["error", "warning", "note"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
PLACES = st.builds(
    Place,
    document=TEXTS,
    pointer=st.sampled_from(["", "/workflows/0", "/a~1b/\N{SNOWMAN}"]),
    line=st.integers(0, 10**6),
    column=st.integers(1, 10**6),
    text=TEXTS,
    width=st.integers(0, 10**4),
)
FINDINGS = st.lists(
    st.builds(
        Diagnostic,
        rule=st.sampled_from([*ENTRIES, "of-a-plug-in"]),
        message=TEXTS,
        place=st.none() | PLACES,
        severity=st.sampled_from(SEVERITIES),
        hint=st.just("") | TEXTS,
    ),
    max_size=5,
)
CHECKED = st.lists(st.tuples(TEXTS, FINDINGS), max_size=3)


# ---------------------------------------------------------------------------------------------------------------------
# SARIF
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(sarif: jsonschema_rs.Validator) -> jsonschema_rs.Validator:
    return sarif


@given(CHECKED)
def test_any_findings_make_a_valid_log(
    judge: jsonschema_rs.Validator, checked: list[tuple[str, list[Diagnostic]]]
) -> None:
    """The schema, and what the specification says in words: indices lead to the rules, regions count from 1."""
    log = json.loads(as_sarif(checked, texts()))
    judge.validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    findings = [(name, each) for name, found in checked for each in found]
    assert len(run["results"]) == len(findings)
    for result, (name, each) in zip(run["results"], findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == each.rule
        assert result["message"]["text"].startswith(each.message)
        physical = result["locations"][0]["physicalLocation"]
        document = each.place.document if each.place else name
        if "://" not in document and not Path(document).is_absolute():
            assert unquote(physical["artifactLocation"]["uri"]) == Path(document).as_posix()
        if each.place and each.place.line:
            region = physical["region"]
            assert region["endColumn"] > region["startColumn"] >= 1
            assert region["startLine"] == each.place.line


def test_every_rule_has_texts_that_the_schema_takes(judge: jsonschema_rs.Validator) -> None:
    """A log with a finding of each of them."""
    found = [Diagnostic(name, "m", Place("a.yaml", "/a", 1, 1)) for name in ENTRIES]
    log = json.loads(as_sarif([("a.yaml", found)], texts()))
    judge.validate(log)
    assert [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]] == list(ENTRIES)


def test_the_schema_is_no_rubber_stamp(judge: jsonschema_rs.Validator) -> None:
    """What is not SARIF is refused."""
    log = json.loads(as_sarif([("a.yaml", [Diagnostic("syntax", "m")])], texts()))
    judge.validate(log)
    for way, value in ((("level",), "fatal"), (("message",), {}), (("colour",), 1)):
        result = dict(log["runs"][0]["results"][0])
        result[way[0]] = value
        assert not judge.is_valid({**log, "runs": [{**log["runs"][0], "results": [result]}]})


# ---------------------------------------------------------------------------------------------------------------------
# GitHub
# ---------------------------------------------------------------------------------------------------------------------

_PROPERTY_ESCAPES = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_DATA_ESCAPES = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))


def unescaped(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    for written, meant in escapes:
        text = text.replace(written, meant)
    return text


def read(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as the runner does (actions/runner, ActionCommand.TryParseV2)."""
    assert line.startswith("::")
    end = line.index("::", 2)
    command, _, properties = line[2:end].partition(" ")
    pairs = [each.partition("=") for each in properties.split(",")]
    return (
        command,
        {name.strip(): unescaped(value, _PROPERTY_ESCAPES) for name, _, value in pairs},
        unescaped(line[end + 2 :], _DATA_ESCAPES),
    )


@given(CHECKED)
def test_an_annotation_is_read_as_it_was_meant(checked: list[tuple[str, list[Diagnostic]]]) -> None:
    """One line each, whatever stands in names and messages: nothing ends a property, a command or the line."""
    lines = list(as_github(checked))
    findings = [(name, each) for name, found in checked for each in found]
    assert len(lines) == len(findings)
    for line, (name, each) in zip(lines, findings, strict=True):
        assert not {"\r", "\n"} & set(line)
        command, properties, message = read(line)
        assert command == {"error": "error", "warning": "warning", "note": "notice"}[each.severity]
        assert properties["file"] == (each.place.document if each.place else name)
        assert properties["title"] == each.rule
        assert message == (f"{each.message}\nhint: {each.hint}" if each.hint else each.message)
        if each.place and each.place.line:
            assert int(properties["line"]) == each.place.line
            assert int(properties["endColumn"]) > int(properties["col"])


def test_a_document_cannot_smuggle_a_command_into_the_log() -> None:
    """What a message quotes of a document stays a message."""
    (line,) = as_github(
        [("a.yaml", [Diagnostic("syntax", "x\n::stop-commands::now", Place("a,b:c%.yaml\n::x::", "", 1, 1))])]
    )
    command, properties, message = read(line)
    assert (command, properties["file"], message) == ("error", "a,b:c%.yaml\n::x::", "x\n::stop-commands::now")


# ---------------------------------------------------------------------------------------------------------------------
# JSON
# ---------------------------------------------------------------------------------------------------------------------


@given(CHECKED)
def test_json_has_everything_that_a_finding_has(checked: list[tuple[str, list[Diagnostic]]]) -> None:
    """By document, in the same order."""
    read_back = json.loads(as_json(checked))
    assert [each["document"] for each in read_back] == [name for name, _ in checked]
    for (_, found), document in zip(checked, read_back, strict=True):
        assert [
            (each["rule"], each["message"], each["hint"], each["severity"]) for each in document["diagnostics"]
        ] == [(each.rule, each.message, each.hint, each.severity) for each in found]
