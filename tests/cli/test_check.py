"""`treadle check`: formats, exit codes, directories, treadle.toml, and what it says about its rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema_rs
import pytest

from treadle.arazzo.rules.catalogue import ENTRIES

Said = Callable[..., tuple[int, str, str]]

API = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {"/x": {"get": {"operationId": "get", "responses": {"200": {"description": "ok"}}}}},
}

GOOD = """\
arazzo: 1.0.1
info: {title: Good, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.json, type: openapi}
workflows:
- workflowId: main
  steps:
  - stepId: one
    operationId: get
    successCriteria:
    - condition: $statusCode == 200
"""
LAX = GOOD.replace("$statusCode == 200", '"{$statusCode} == 200"')
BAD = GOOD.replace("operationId: get", "operationId: gte")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a working directory with a good document, one that needs leniency, and a bad one."""
    for name, text in {"good": GOOD, "lax": LAX, "bad": BAD}.items():
        (tmp_path / f"{name}.arazzo.yaml").write_text(text)
    (tmp_path / "api.json").write_text(json.dumps(API))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["good.arazzo.yaml"], 0, id="good"),
        pytest.param(["lax.arazzo.yaml"], 0, id="warning"),
        pytest.param(["lax.arazzo.yaml", "--max-warnings", "1"], 0, id="as-many-warnings"),
        pytest.param(["lax.arazzo.yaml", "--max-warnings", "0"], 2, id="too-many-warnings"),
        pytest.param(["lax.arazzo.yaml", "--strict"], 2, id="strict"),
        pytest.param(["good.arazzo.yaml", "bad.arazzo.yaml"], 2, id="one-of-two"),
        pytest.param(["nowhere.yaml"], 2, id="not-there"),
        pytest.param([], 2, id="none"),
        pytest.param(["good.arazzo.yaml", "--format", "xml"], 2, id="unknown-format"),
        pytest.param(["--list-rules"], 0, id="list"),
        pytest.param(["--explain", "bare-word"], 0, id="explain"),
        pytest.param(["--explain", "bare-wrod"], 2, id="explain-what"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_the_exit_code_says_whether_something_is_wrong(said: Said, arguments: list[str], code: int) -> None:
    """0 or 2, never 1: nothing was sent that could have failed."""
    assert said("check", *arguments)[0] == code


def test_directories_are_searched(said: Said, folder: Path) -> None:
    """For documents by their names; what tools keep for themselves is left alone."""
    for name in ("deep/arazzo.yml", "deep/b.arazzo.json", ".git/c.arazzo.yaml", "node_modules/d.arazzo.yaml", "e.yaml"):
        path = folder / "sub" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD.replace("./api.json", str(folder / "api.json")))
    code, out, _ = said("check", "sub", "good.arazzo.yaml")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "sub/deep/arazzo.yml",
        "sub/deep/b.arazzo.json",
        "good.arazzo.yaml",
        "3 documents, none with errors",
    ]
    (folder / "empty").mkdir()
    code, _, err = said("check", "empty")
    assert code == 2
    assert "no Arazzo documents in empty" in err


@pytest.mark.usefixtures("folder")
def test_a_summary_ends_it(said: Said) -> None:
    """What was found, per document and in all."""
    code, out, err = said("check", "good.arazzo.yaml", "lax.arazzo.yaml", "bad.arazzo.yaml")
    assert code == 2
    assert out.splitlines() == [
        "good.arazzo.yaml: good",
        "lax.arazzo.yaml: good (1 warning)",
        "bad.arazzo.yaml: 1 error",
        "3 documents, 1 with errors: 1 error, 1 warning",
    ]
    assert "bad.arazzo.yaml:9:18: error" in err
    assert "did you mean" in err


@pytest.mark.parametrize(
    ("given", "instead", "hint"),
    [
        pytest.param("./api.json", "./apis.json", "did you mean api.json? Or name a server with", id="a slip"),
        pytest.param(
            "info:",
            "$self: http://127.0.0.1:1/flows/good.arazzo.yaml\ninfo:",
            "`$self` puts it there; the file that lies beside the document is had with --source api=api.json\n",
            id="$self",
        ),
        pytest.param(
            "./api.json",
            "http://127.0.0.1:1/api.json",
            "hint: is the server running? Or name a server with",
            id="an address",
        ),
    ],
)
def test_a_source_that_cannot_be_read(said: Said, folder: Path, given: str, instead: str, hint: str) -> None:
    """What was meant, where that can be guessed, and what can be given instead."""
    (folder / "good.arazzo.yaml").write_text(GOOD.replace("1.0.1", "1.1.0").replace(given, instead))
    code, _, err = said("check", "good.arazzo.yaml")
    assert code == 2
    assert hint in err


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a repository whose document counts the way to its source from the root."""
    for name in (".git", "flows/orders", "apis", "flows/apis"):
        (tmp_path / "repo" / name).mkdir(parents=True)
    (tmp_path / "repo/apis/api 1.json").write_text(json.dumps(API))
    (tmp_path / "api.json").write_text(json.dumps(API))
    document = tmp_path / "repo/flows/orders/good.arazzo.yaml"
    document.write_text(GOOD.replace("./api.json", "./apis/api%201.json"))
    monkeypatch.chdir(tmp_path)
    return document


def test_a_source_is_found_from_the_root_of_the_repository(said: Said, repository: Path) -> None:
    """As documents write it that are checked from there; by the letter it is an error, and `--fix` mends it."""
    code, _, err = said("check", str(repository))
    assert code == 0
    assert "hint: write ../../apis/api%201.json" in err
    assert "[source-root-relative]" in err
    assert said("check", "--strict", str(repository))[0] == 2
    assert "source-root-relative" not in said("check", str(repository), "--source", "api=repo/apis/api 1.json")[2]
    assert said("check", "--fix", "-y", str(repository))[0] == 0
    assert "url: ../../apis/api%201.json," in repository.read_text()
    assert said("check", "--strict", str(repository))[0] == 0


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("api.json", id="a bare name"),
        pytest.param("../apis/nope.json", id="a way up"),
        pytest.param("apis/../../api.json", id="a way up within"),
        pytest.param("apis/api.json", id="what is nowhere"),
        pytest.param("repo/apis/api%201.json", id="from outside of the repository"),
    ],
)
def test_a_source_is_not_looked_for_everywhere(said: Said, repository: Path, url: str) -> None:
    """Only a path below a directory, and only up to the root of the repository."""
    repository.write_text(GOOD.replace("./api.json", url))
    assert said("check", str(repository))[0] == 2


@pytest.mark.usefixtures("folder")
def test_json(said: Said) -> None:
    """Everything with its place."""
    code, out, err = said("check", "--format", "json", "bad.arazzo.yaml", "lax.arazzo.yaml")
    assert code == 2
    assert err == ""
    bad, lax = json.loads(out)
    assert bad["document"] == "bad.arazzo.yaml"
    assert bad["diagnostics"][0] | {"message": "", "hint": ""} == {
        "severity": "error",
        "rule": "unknown-operation",
        "message": "",
        "hint": "",
        "document": "bad.arazzo.yaml",
        "pointer": "/workflows/0/steps/0/operationId",
        "line": 9,
        "column": 18,
        "width": 3,
    }
    assert [each["rule"] for each in lax["diagnostics"]] == ["braced-operand"]
    assert said("check", "--json", "lax.arazzo.yaml")[1] == said("check", "--format", "json", "lax.arazzo.yaml")[1]


@pytest.mark.usefixtures("folder")
def test_sarif(said: Said, sarif: jsonschema_rs.Validator) -> None:
    """With the texts of the rules that found something, and regions."""
    code, out, _ = said("check", "--format", "sarif", "bad.arazzo.yaml", "lax.arazzo.yaml", "good.arazzo.yaml")
    assert code == 2
    log = json.loads(out)
    sarif.validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["unknown-operation", "braced-operand"]
    assert [rules[each["ruleIndex"]]["id"] for each in run["results"]] == [each["ruleId"] for each in run["results"]]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "bad.arazzo.yaml"},
        "region": {"startLine": 9, "startColumn": 18, "endColumn": 21},
    }


def test_sarif_of_a_file_that_is_none(said: Said, folder: Path, sarif: jsonschema_rs.Validator) -> None:
    """A syntax error, a name with a space: still a valid log."""
    (folder / "not good.yaml").write_text("a: [")
    code, out, _ = said("check", "--format", "sarif", "not good.yaml", str(folder / "nowhere.yaml"))
    assert code == 2
    log = json.loads(out)
    sarif.validate(log)
    uris = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in log["runs"][0]["results"]]
    assert uris == ["not%20good.yaml", (folder / "nowhere.yaml").as_uri()]


@pytest.mark.usefixtures("folder")
def test_github(said: Said) -> None:
    """Annotations: a line each, with what would end a property or the line escaped."""
    code, out, _ = said("check", "--format", "github", "bad.arazzo.yaml", "lax.arazzo.yaml")
    assert code == 2
    first, second = out.splitlines()
    start = "::error file=bad.arazzo.yaml,line=9,col=18,endColumn=21,title=unknown-operation::"
    assert first.startswith(start)
    assert "%0Ahint: did you mean" in first
    assert second.startswith("::warning file=lax.arazzo.yaml,line=11,")


# ---------------------------------------------------------------------------------------------------------------------
# The rules
# ---------------------------------------------------------------------------------------------------------------------


def test_every_rule_is_listed(said: Said) -> None:
    """With its severity and an example."""
    _, out, _ = said("check", "--list-rules")
    listed = {line.split()[0]: line.split()[1] for line in out.splitlines() if line.startswith("  ")}
    assert listed == {entry.name: entry.severity for entry in ENTRIES.values()}


@pytest.mark.parametrize("name", ["jsonpath-comparison", "unhandled-value", "syntax", "path-key-fragment"])
def test_a_rule_is_explained(said: Said, name: str) -> None:
    """What is written, what is meant, how it is written properly, the clause, the switch."""
    code, out, _ = said("check", "--explain", name)
    entry = ENTRIES[name]
    assert code == 0
    for text in (name, entry.written, entry.meant, entry.properly, entry.clause, "[rules]"):
        assert text in out


def test_an_unknown_rule_is_guessed(said: Said) -> None:
    """Did you mean …?"""
    code, _, err = said("check", "--explain", "jsonpath-comparsion")
    assert code == 2
    assert "did you mean jsonpath-comparison?" in err


# ---------------------------------------------------------------------------------------------------------------------
# treadle.toml
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want", "code"),
    [
        pytest.param('[rules]\nbraced-operand = "off"', [], 0, id="off"),
        pytest.param('[rules]\nbraced-operand = "note"', ["note braced-operand"], 0, id="note"),
        pytest.param('[rules]\nbraced-operand = "error"', ["error braced-operand"], 2, id="error"),
        pytest.param("[dialect]\nbraced-operand = false", ["error braced-operand"], 2, id="refused"),
        pytest.param("[dialect]\nbraced-operand = true", ["warning braced-operand"], 0, id="allowed"),
        pytest.param("[dialect]\nbare-word = false", ["warning braced-operand"], 0, id="another-refused"),
        pytest.param("strict = true", ["error braced-operand"], 2, id="strict"),
    ],
)
def test_the_settings_weigh_the_findings(said: Said, folder: Path, text: str, want: list[str], code: int) -> None:
    """And switch leniency off."""
    (folder / "treadle.toml").write_text(text + "\n")
    got, out, _ = said("check", "--json", "lax.arazzo.yaml")
    (found,) = json.loads(out)
    assert [f"{each['severity']} {each['rule']}" for each in found["diagnostics"]] == want
    assert got == code


def test_the_nearest_file_above_the_document_holds(said: Said, folder: Path) -> None:
    """Unless another one is named."""
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    (below / "lax.yaml").write_text(LAX.replace("./api.json", str(folder / "api.json")))
    (folder / "treadle.toml").write_text('[rules]\nbraced-operand = "error"\n')
    assert said("check", "a/b/lax.yaml")[0] == 2
    (folder / "a" / "treadle.toml").write_text('[rules]\nbraced-operand = "off"\n')
    assert said("check", "a/b/lax.yaml")[0] == 0
    assert said("check", "a/b/lax.yaml", "--config", "treadle.toml")[0] == 2


def test_a_mistake_in_the_settings_has_a_place(said: Said, folder: Path) -> None:
    """And a suggestion; nothing is checked with settings that are not understood."""
    (folder / "treadle.toml").write_text('[rules]\nbraced-oprand = "off"\n')
    code, _, err = said("check", "good.arazzo.yaml")
    assert code == 2
    assert "treadle.toml:2:1: error: there is no rule `braced-oprand`" in err
    assert "did you mean `braced-operand`?" in err


def test_sources_come_from_the_settings(said: Said, folder: Path) -> None:
    """Relative to the file, and the command line outranks them."""
    (folder / "docs").mkdir()
    (folder / "docs" / "main.yaml").write_text(GOOD.replace("./api.json", "./missing.json"))
    assert said("check", "docs/main.yaml")[0] == 2
    (folder / "treadle.toml").write_text('[sources]\napi = "api.json"\nanother = "of another document"\n')
    assert said("check", "docs/main.yaml")[0] == 0
    assert said("check", "docs/main.yaml", "--source", "api=nothing.json")[0] == 2
    assert said("check", "docs/main.yaml", "--source", "another=api.json")[0] == 2  # this document has no such source


# ---------------------------------------------------------------------------------------------------------------------
# --fix
# ---------------------------------------------------------------------------------------------------------------------


def test_a_fix_is_shown_first(said: Said, folder: Path) -> None:
    """Without a terminal and without --yes nothing is written."""
    code, out, err = said("check", "--fix", "lax.arazzo.yaml")
    assert code == 0
    assert '-    - condition: "{$statusCode} == 200"' in out
    assert '+    - condition: "$statusCode == 200"' in out
    assert "nothing was written" in err
    assert (folder / "lax.arazzo.yaml").read_text() == LAX


def test_a_fix_is_written(said: Said, folder: Path) -> None:
    """With the file's mode; what is checked then is the new text."""
    path = folder / "lax.arazzo.yaml"
    path.chmod(0o640)
    code, out, err = said("check", "--fix", "--yes", "lax.arazzo.yaml", "--max-warnings", "0")
    assert (code, err) == (0, "")
    assert "braced-operand ×1" in out
    assert path.read_text() == LAX.replace("{$statusCode}", "$statusCode")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in folder.iterdir() if each.name.startswith(".")] == []
    code, out, _ = said("check", "--fix", "--yes", "lax.arazzo.yaml")
    assert "nothing to rewrite" in out


def test_a_fix_keeps_the_mark_at_the_beginning(said: Said, folder: Path) -> None:
    """A byte order mark is no part of the text."""
    path = folder / "lax.arazzo.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + LAX.encode())
    assert said("check", "--fix", "--yes", "lax.arazzo.yaml")[0] == 0
    assert path.read_bytes() == b"\xef\xbb\xbf" + LAX.replace("{$statusCode}", "$statusCode").encode()


def test_standard_output_is_for_the_program(said: Said, folder: Path) -> None:
    """A fix with a format for programs tells about itself elsewhere."""
    code, out, err = said("check", "--fix", "--yes", "--format", "json", "lax.arazzo.yaml")
    assert code == 0
    assert json.loads(out)[0]["diagnostics"] == []
    assert "braced-operand ×1" in err
    assert (folder / "lax.arazzo.yaml").read_text() != LAX


def test_another_encoding_is_not_rewritten(said: Said, folder: Path) -> None:
    """It would have to be guessed."""
    (folder / "wide.yaml").write_bytes(LAX.encode("utf-16"))
    code, _, err = said("check", "--fix", "--yes", "wide.yaml")
    assert code == 2
    assert "not UTF-8" in err


OUTER = GOOD.replace("workflows:", "- {name: bad, url: ./bad.arazzo.yaml, type: arazzo}\nworkflows:")


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (["outer.yaml"], ["bad.arazzo.yaml"]),
        (["outer.yaml", "--others", "none"], []),
        (["outer.yaml", "outer2.yaml"], ["bad.arazzo.yaml"]),
        (["outer.yaml", "./bad.arazzo.yaml"], ["./bad.arazzo.yaml"]),
    ],
)
def test_a_document_behind_several_is_told_once(
    arguments: list[str], about: list[str], folder: Path, said: Said
) -> None:
    """And as one of its own where it is checked itself."""
    for name in ("outer.yaml", "outer2.yaml"):
        (folder / name).write_text(OUTER.replace("operationId: get", "operationId: $sourceDescriptions.api.get"))
    code, out, _ = said("check", "--json", *arguments)
    found = [each for document in json.loads(out) for each in document["diagnostics"]]
    assert [each["document"] for each in found if each["severity"] == "error"] == about
    assert code == (2 if about else 0)


def test_the_settings_say_which_others_are_checked(folder: Path, said: Said) -> None:
    """The command line outranks them."""
    (folder / "outer.yaml").write_text(OUTER.replace("operationId: get", "operationId: $sourceDescriptions.api.get"))
    (folder / "treadle.toml").write_text('others = "none"\n')
    assert said("check", "outer.yaml")[0] == 0
    assert said("check", "outer.yaml", "--others", "local")[0] == 2


def test_what_cannot_be_read_of_an_api_is_told_once(folder: Path, said: Said) -> None:
    """References of a description that lead nowhere: those of a step's own operation, and what may hide a lost one."""
    get = {"operationId": "get", "parameters": [{"$ref": "lost.yaml#/limit"}]}
    paths = {"/x": {"get": get}, "/y": {"$ref": "lost.yaml"}, "/z": {"$ref": "#/lost"}}
    (folder / "api.json").write_text(json.dumps({**API, "paths": paths}))

    code, _, err = said("check", "good.arazzo.yaml")
    assert (code, err.count("[reference-external]"), err.count("[reference-unknown]")) == (0, 1, 0)
    assert "'lost.yaml#/limit' leads into another document" in err

    code, _, err = said("check", "bad.arazzo.yaml")
    assert (code, err.count("[reference-external]"), err.count("[reference-unknown]")) == (2, 1, 1)
    told = next(line for line in err.splitlines() if "[unknown-operation]" in line)
    assert "needs the operation 'gte', which is not in api; the reference 'lost.yaml' leads into another" in told
    assert "; the reference '#/lost' leads nowhere" in told
