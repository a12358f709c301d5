"""`treadle.toml`: what it says, where it is found, what is refused, and where its mistakes are."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import DescriptionError, Diagnostic
from treadle.settings import Settings, TargetSettings, find_settings, read_settings, weighed

RULES = {"unused-input", "bare-word", "jsonpath-comparison"}
DIALECT = {"bare-word", "jsonpath-comparison"}


def read(folder: Path, text: str, *, trusted: bool = True) -> Settings:
    path = folder / "treadle.toml"
    path.write_text(text)
    return read_settings(path, rules=RULES, dialect=DIALECT, trusted=trusted, label="treadle.toml")


def test_everything_it_can_say(tmp_path: Path) -> None:
    """The example of the module, nearly."""
    settings = read(
        tmp_path,
        """
        on = "staging"
        poll = 2
        strict = true
        [sources]
        petstore = "./openapi.yml"
        far = "https://example.com/api.json"
        [servers]
        petstore = "http://127.0.0.1:8080"
        [credentials.petstore]
        api_key = "env:PETSTORE_KEY"
        other = "file:key.txt"
        [targets.staging]
        url = "https://staging.example.com"
        servers = { petstore = "https://pets.example.com" }
        [targets.staging.credentials.petstore]
        api_key = "env:STAGING_KEY"
        [rules]
        unused-input = "off"
        [dialect]
        jsonpath-comparison = false
        bare-word = true
        """,
    )
    assert settings == Settings(
        path=tmp_path / "treadle.toml",
        on="staging",
        poll=2.0,
        strict=True,
        sources={"petstore": str(tmp_path / "openapi.yml"), "far": "https://example.com/api.json"},
        servers={"petstore": "http://127.0.0.1:8080"},
        credentials={"petstore": {"api_key": "env:PETSTORE_KEY", "other": f"file:{tmp_path / 'key.txt'}"}},
        targets={
            "staging": TargetSettings(
                "https://staging.example.com",
                {"petstore": "https://pets.example.com"},
                {"petstore": {"api_key": "env:STAGING_KEY"}},
            )
        },
        rules={"unused-input": "off"},
        dialect={"jsonpath-comparison": False, "bare-word": True},
    )
    assert settings.refused == {"jsonpath-comparison"}
    unused, bare = Diagnostic("unused-input", "a", severity="note"), Diagnostic("bare-word", "b", severity="warning")
    assert weighed([unused, bare], settings.rules) == [bare]
    assert weighed([unused, bare], {"bare-word": "error"}) == [unused, replace(bare, severity="error")]


def test_nothing_is_said_by_an_empty_file(tmp_path: Path) -> None:
    """It is as if there were none."""
    assert read(tmp_path, "") == Settings(path=tmp_path / "treadle.toml")


@dataclass
class Wrong:
    """A text, and what is said about it: `line:column`, words of message and hint."""

    id: str
    text: str
    where: str
    words: str
    hint: str = ""


WRONG = [
    Wrong("syntax", 'a = 1\nb = "x', "2:7", "not TOML"),
    Wrong("member", "stict = true", "1:1", "no setting `stict`", "did you mean `strict`?"),
    Wrong("rule", '[rules]\n\nunusd-input = "off"', "3:1", "no rule `unusd-input`", "did you mean `unused-input`?"),
    Wrong("level", '[rules]\nunused-input = "quiet"', "2:1", "one of"),
    Wrong("level-type", "[rules]\nunused-input = 1", "2:1", "must be a text"),
    Wrong("dialect", "[dialect]\nbare-wrd = true", "2:1", "no dialect rule", "did you mean `bare-word`?"),
    Wrong("switch", '[dialect]\nbare-word = "off"', "2:1", "true (taken as it is meant) or false"),
    Wrong("poll", 'poll = "2s"', "1:1", "seconds"),
    Wrong("negative", "poll = -1", "1:1", "seconds"),
    Wrong("strict", "strict = 1", "1:1", "true or false"),
    Wrong("table", 'rules = "off"', "1:1", "must be a table"),
    Wrong("inner-table", '[credentials]\npetstore = "env:X"', "2:1", "must be a table: [credentials.petstore]"),
    Wrong("inline", '[targets]\ntest = { ur = "http://x" }', "2:1", "no setting `ur`", "did you mean `url`?"),
    Wrong("taken-name", '[targets.local]\nurl = "http://x"', "1:2", "means something already"),
    Wrong("dotted", 'rules.unusd-input = "off"', "1:1", "no rule", "did you mean"),
]


@pytest.mark.parametrize("case", WRONG, ids=[case.id for case in WRONG])
def test_a_mistake_has_a_place_and_a_suggestion(case: Wrong, tmp_path: Path) -> None:
    """Line and column, though tomllib keeps neither."""
    with pytest.raises(DescriptionError) as caught:
        read(tmp_path, case.text)
    (found,) = caught.value.diagnostics
    assert found.place is not None
    assert f"{found.place.line}:{found.place.column}" == case.where
    assert found.place.document == "treadle.toml"
    assert case.words in found.message
    assert case.hint in found.hint


def test_every_mistake_is_told(tmp_path: Path) -> None:
    """Not only the first one."""
    with pytest.raises(DescriptionError) as caught:
        read(tmp_path, 'poll = "x"\nfoo = 1\n[rules]\nbar = "off"\n')
    assert len(caught.value.diagnostics) == 3


def test_a_secret_itself_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Only references may stand there, and errors end up in logs."""
    with pytest.raises(DescriptionError) as caught:
        read(tmp_path, '[credentials.api]\nkey = "hunter2hunter2"\n')
    (found,) = caught.value.diagnostics
    assert "must be a reference" in found.message
    assert "hunter2" not in found.render()


@pytest.mark.parametrize(
    "text",
    [
        'on = "http://evil.example"',
        '[servers]\na = "http://evil.example"',
        '[credentials.a]\nk = "env:HOME"',
        '[targets.t]\nurl = "http://evil.example"',
    ],
)
def test_a_file_that_came_with_a_document_sends_nothing_elsewhere(text: str, tmp_path: Path) -> None:
    """It may weigh findings, and not decide where requests and secrets go."""
    with pytest.raises(DescriptionError, match="may have come with the document"):
        read(tmp_path, text, trusted=False)
    assert read(tmp_path, '[rules]\nbare-word = "off"', trusted=False).rules == {"bare-word": "off"}


def test_it_is_found_upwards_from_the_document(tmp_path: Path) -> None:
    """The nearest one; of documents from the network that of the working directory."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_settings(str(inner / "x.yaml")) is None
    (tmp_path / "treadle.toml").write_text("")
    assert find_settings(str(inner / "x.yaml")) == tmp_path / "treadle.toml"
    (tmp_path / "a" / "treadle.toml").write_text("")
    assert find_settings(str(inner / "x.yaml")) == tmp_path / "a" / "treadle.toml"
    assert find_settings("https://example.com/x.yaml", above=inner) == tmp_path / "a" / "treadle.toml"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """Nobody writes a megabyte of settings."""
    with pytest.raises(DescriptionError, match="more than"):
        read(tmp_path, "#" * 1_100_000)


@given(st.text(max_size=60))
def test_any_text_is_settings_or_a_finding(text: str) -> None:
    """No other exception."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "treadle.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(DescriptionError):
            read_settings(path, rules=RULES, dialect=DIALECT)
