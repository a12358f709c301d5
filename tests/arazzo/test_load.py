"""Loading: bytes become plain values, or one diagnostic that says where and what."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.counting import lines_run
from treadle.arazzo.load import MAX_DEPTH, MAX_SIZE, load
from treadle.errors import DescriptionError, Diagnostic
from treadle.seams import Json


def value_of(text: str) -> Json:
    return load(text.encode(), "test.yaml").value


def fault_of(data: bytes) -> Diagnostic:
    with pytest.raises(DescriptionError) as caught:
        load(data, "test.yaml")
    assert caught.value.exit_code == 2
    (found,) = caught.value.diagnostics
    assert found.severity == "error"
    assert found.place is not None
    assert found.place.document == "test.yaml"
    return found


SCALARS: list[tuple[str, Json]] = [
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("Off", "Off"),
    ("012", "012"),
    ("0123.5", "0123.5"),
    ("2024-01-31", "2024-01-31"),
    ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
    ("12:30:45", "12:30:45"),
    ("1_000", "1_000"),
    ("0b101", "0b101"),
    ("~", None),
    ("null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("true", True),
    ("False", False),
    ("tRue", "tRue"),
    ("0", 0),
    ("-0", 0),
    ("+12", 12),
    ("-12", -12),
    ("0o17", 15),
    ("0x1F", 31),
    ("0X1F", "0X1F"),
    ("3.0", 3.0),
    (".5", 0.5),
    ("1.", 1.0),
    ("1e3", 1000.0),
    ("-1.5E-2", -0.015),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("1.2.3", "1.2.3"),
    ("1e", "1e"),
    ("-", None),
    ("'12'", "12"),
    ('"true"', "true"),
    ("!!str 12", "12"),
    ("! 12", "12"),
    ("!!int 0x1F", 31),
    ("!!float 3", 3.0),
    ("!!bool true", True),
    ("!!null ''", None),
]


@pytest.mark.parametrize(("text", "want"), SCALARS, ids=[text for text, _ in SCALARS])
def test_scalars_follow_yaml_1_2(text: str, want: Json) -> None:
    """The core schema decides, and needless leading zeros make no number."""
    value = value_of(f"[{text}]" if text != "-" else "- ")[0]
    assert value == want
    assert type(value) is type(want)


def test_not_a_number_is_read() -> None:
    """`.nan` equals nothing, not even itself."""
    assert math.isnan(value_of("[.NaN]")[0])


def test_keys_keep_their_text() -> None:
    """OpenAPI files write `200:`, and `<<` and `yes` are keys like any other."""
    text = "200: ok\n0x10: hex\nyes: y\nnull: n\n~: tilde\n<<: {a: 1}\n? plain\n: v\n"
    assert list(value_of(text)) == ["200", "0x10", "yes", "null", "~", "<<", "plain"]


def test_aliases_stand_for_their_anchor() -> None:
    """Values are shared; an alias may be a key when it names a scalar."""
    value = value_of("a: &x {k: 1}\nb: *x\nc: &s name\n*s : v\nd: [*s, *x]\n")
    assert value == {"a": {"k": 1}, "b": {"k": 1}, "c": "name", "name": "v", "d": ["name", {"k": 1}]}


def test_block_scalars_and_directives() -> None:
    """What real documents use beside plain YAML."""
    text = "%YAML 1.2\n---\na: |\n  one\n  two\nb: >-\n  one\n  two\n...\n"
    assert value_of(text) == {"a": "one\ntwo\n", "b": "one two"}


JSON_TEXTS = [
    '{"a": [1, -2.5e3, true, false, null, "x"], "b": {}}',
    "[]",
    ' \n{"a" : "\\ud83d\\ude00 \\u00e9 \\n \\" \\\\ \\/"}\n',
    '{"\\u0061": 1, "": 2}',
    "[[[]], {}, [{}]]",
    '{"a": "\u2028"}',
]


@pytest.mark.parametrize("text", JSON_TEXTS)
def test_json_is_read_as_json(text: str) -> None:
    """What the standard library makes of it."""
    assert value_of(text) == json.loads(text)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    """No encoding can carry it, so it must not get any further."""
    assert value_of('{"a": "x\\ud83dy"}') == {"a": "x\N{REPLACEMENT CHARACTER}y"}


def test_what_only_looks_like_json_is_yaml() -> None:
    """Comments, unquoted keys and trailing commas are YAML's flow style."""
    assert value_of("{a: 1, # why\n 'b': [x, y,],\n}") == {"a": 1, "b": ["x", "y"]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["a: ü\n", '{"a": "ü"}'])
def test_byte_order_marks_are_understood(encoding: str, text: str) -> None:
    """YAML 1.2 §5.2: any Unicode encoding that says which it is."""
    assert load(text.encode(encoding), "test.yaml").value == {"a": "ü"}


@dataclass
class Case:
    """A document that cannot be read, where that is, and words that the message and the hint must have."""

    id: str
    data: bytes
    line: int
    column: int
    message: str
    hint: str = ""
    rule: str = "syntax"
    pointer: str = ""


FAULTS = [
    Case("empty", b"", 1, 1, "empty"),
    Case("blank", b" \n \n", 1, 1, "empty"),
    Case("only-a-comment", b"# nothing\n", 1, 1, "empty"),
    Case("only-a-mark", "\N{BYTE ORDER MARK}".encode(), 1, 1, "empty"),
    Case("not-utf-8", b"a: 1\nb: \xff\n", 2, 4, "0xFF", "UTF-8", "encoding"),
    Case("cut-utf-16", b"\xff\xfea", 1, 1, "UTF-16", "", "encoding"),
    Case("control-character", b"a: 1\nb: x\x1by", 2, 5, "U+001B", "escape"),
    Case("nul", b"a: \x00", 1, 4, "U+0000"),
    Case("tab", b"a:\n\tb: 1", 2, 1, "", "spaces"),
    Case("unclosed-quote", b'a: "x\nb: y\n', 1, 4, "unexpected end of stream", "not closed"),
    Case("no-colon", b"a: 1\nb\nc: 2\n", 2, 1, "could not find expected ':'", "this line lacks its ':'"),
    Case("slash-comment", b"a: 1\n// why\nb: 2\n", 2, 1, "", "comments begin with #"),
    Case("json-comment", b'{"a": 1,\n // why: so\n "b": 2}', 2, 2, "this is not JSON", "JSON has no comments"),
    Case("unclosed-bracket", b"a: [1, 2\nb: 3\n", 2, 2, "", ""),
    Case("braced-expression", b"a: {$statusCode} == 200", 1, 18, "", "quotes"),
    Case("star", b"accept: */*", 1, 10, "alias", "quotes"),
    Case("at", b"a: @x", 1, 4, "", "@"),
    Case("colon", b"a: b: c", 1, 5, "mapping values", "': '"),
    Case("indentation", b"a:\n  b: 1\n c: 2\n", 3, 2, "", "indentation"),
    Case("tag", b"a: !foo b", 1, 4, "!foo", "quotes", "content", "/a"),
    Case("date-tag", b"a: !!timestamp 2024-01-31", 1, 4, "!!timestamp", "", "content", "/a"),
    Case("binary-tag", b"- !!binary aGk=", 1, 3, "!!binary", "", "content", "/0"),
    Case("set-tag", b"a: !!set {x, y}", 1, 4, "!!set", "", "content", "/a"),
    Case("wrong-tag", b"a: !!int abc", 1, 4, "!!int", "", "content", "/a"),
    Case("duplicate", b"a: 1\nb: {c: 1, c: 2}\n", 2, 11, '"c"', "keep one", "duplicate-key", "/b"),
    Case("duplicate-by-text", b"200: a\n'200': b\n", 2, 1, '"200"', "", "duplicate-key"),
    Case("duplicate-json", b'{"a": 1,\n "a": 2}', 2, 2, '"a"', "", "duplicate-key"),
    Case("list-as-key", b"? [a]\n: b\n", 1, 3, "key", "quotes", "content"),
    Case("mapping-as-key", b"{a: 1}: b\n", 1, 1, "key", "quotes", "content"),
    Case("alias-of-list-as-key", b"a: &x [1]\n*x : b\n", 2, 1, "key", "", "content"),
    Case("unknown-alias", b"a: *x", 1, 4, "*x", "quotes", "content", "/a"),
    Case("alias-in-itself", b"a: &x [*x]", 1, 8, "inside", "", "content", "/a/0"),
    Case("two-documents", b"a: 1\n---\nb: 2\n", 2, 1, "second", "one document", "content"),
    Case("yaml-2", b"%YAML 2.0\n---\na: 1\n", 1, 1, "incompatible", ""),
    Case("json-comma", b'{"a": 1,\n "b": 2 "c": 3}', 2, 9, "',' or '}' was expected, not '\"'"),
    Case("json-end", b'{"a": [1, 2', 1, 12, "the end of the document"),
    Case("json-escape", b'{"a": "\\q"}', 1, 7, "a value was expected"),
    Case("json-after", b'{"a": 1} x', 1, 10, "something follows"),
    Case("json-colon", b'{"a" 1}', 1, 6, "':' was expected"),
    Case("long-number", b"a: " + b"1" * 5000, 1, 4, "5,000", "quotes", "content", "/a"),
    Case("long-json-number", b'{"a": ' + b"1" * 5000 + b"}", 1, 7, "5,000", "", "content", "/a"),
    Case("deep-flow", b"[" * 100_000, 1, MAX_DEPTH + 1, "nested", "", "limits", "/0" * MAX_DEPTH),
    Case("deep-block", b"- " * 100_000, 1, 2 * MAX_DEPTH + 1, "nested", "", "limits", "/0" * MAX_DEPTH),
    Case("deep-json", b'{"a":' * 100_000, 1, 5 * MAX_DEPTH + 1, "nested", "", "limits", "/a" * MAX_DEPTH),
]


@pytest.mark.parametrize("case", FAULTS, ids=[case.id for case in FAULTS])
def test_a_fault_says_where_and_what(case: Case) -> None:
    """Line, column, pointer, the words of the message and a hint."""
    found = fault_of(case.data)
    assert found.place is not None
    assert (found.place.line, found.place.column) == (case.line, case.column)
    assert case.message in found.message
    assert case.hint in found.hint
    assert found.rule == case.rule
    assert found.place.pointer == case.pointer
    assert len(found.render()) < 1000 if case.rule != "limits" else True


def test_a_fault_draws_a_caret_under_the_place() -> None:
    """As a person sees it."""
    assert fault_of(b"one: 1\ntwo: !foo bar\n").render().splitlines() == [
        'test.yaml:2:6: error: the tag "!foo" has no meaning here [content]',
        "  2 | two: !foo bar",
        "    |      ^^^^^^^^",
        "  hint: only the types of JSON may be used; a value that begins with ! must stand in quotes",
    ]


def test_nested_values_up_to_the_limit_are_read() -> None:
    """The limit itself is allowed, one more is not."""
    assert value_of("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    fault_of(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_aliases_cannot_explode() -> None:
    """Ten levels of ten aliases each stand for ten thousand million values; wide and deep are bounded alike."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "aliases" in fault_of("\n".join(lines).encode()).message
    chain = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 1000))]
    assert "nested" in fault_of("\n".join(chain).encode()).message


def test_size_is_bounded() -> None:
    """More than the limit is not even decoded."""
    assert "bytes" in fault_of(b"#" * (MAX_SIZE + 1)).message


def test_positions_are_cheap() -> None:
    """They take no more for each value of a large document than of a small one."""

    def placed(count: int) -> None:
        text = "".join(f"key{index}:\n  name: value {index}\n  list: [1, two, 3.0]\n" for index in range(count))
        assert load(text.encode(), "big.yaml").place(f"/key{count - 1}/list/1").line == 3 * count

    assert lines_run(placed, 4000) < 5 * lines_run(placed, 1000)


# ---------------------------------------------------------------------------------------------------------------------
# Whatever comes
# ---------------------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
SIGNS = st.text(alphabet="ab12:-?,[]{}&*!|>'\"%@`#\n\t \\~.<=$\x00\x85\ufeff\u2028é", max_size=60)


def _loads_or_says_why(data: bytes) -> None:
    try:
        document = load(data, "fuzz.yaml")
    except DescriptionError as error:
        (found,) = error.diagnostics
        assert found.place is not None
        assert found.place.line >= 1
        assert found.render()
    else:
        _every_place(document.value, "", document)


def _every_place(value: Json, pointer: str, document: Any, budget: int = 50) -> None:
    place = document.place(pointer)
    assert place.line >= 1
    assert place.column >= 1
    assert place.width >= 1
    if budget and isinstance(value, dict) and value:
        key = next(iter(value))
        escaped = key.replace("~", "~0").replace("/", "~1")
        _every_place(value[key], f"{pointer}/{escaped}", document, budget - 1)
    elif budget and isinstance(value, list) and value:
        _every_place(value[-1], f"{pointer}/{len(value) - 1}", document, budget - 1)


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=2000)
def test_any_bytes_load_or_say_why(data: bytes) -> None:
    """No other exception, no hang."""
    _loads_or_says_why(data)


@given(SIGNS)
@settings(max_examples=300, deadline=2000)
def test_any_signs_load_or_say_why(text: str) -> None:
    """The characters that mean something to YAML, in any order."""
    _loads_or_says_why(text.encode())


@given(JSON_VALUES, st.data())
@settings(max_examples=100, deadline=2000)
def test_broken_documents_load_or_say_why(value: Json, data: st.DataObject) -> None:
    """A good document with a piece cut out, put in or doubled."""
    text = json.dumps(value) if data.draw(st.booleans()) else yaml.safe_dump(value)
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, len(text)))
    _loads_or_says_why((text[:at] + data.draw(SIGNS) + text[to:]).encode("utf-8", "replace"))


@given(JSON_VALUES)
@settings(max_examples=100, deadline=2000)
def test_json_comes_back(value: Json) -> None:
    """What is written as JSON is read as it was, in ASCII or not, indented or not.

    Only objects and lists are taken for JSON: a text in double quotes may as well be the first key of YAML.
    """
    value = [value]
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        document = load(text.encode(), "test.json")
        assert document.value == value
        _every_place(value, "", document)


@given(JSON_VALUES)
@settings(max_examples=100, deadline=2000)
def test_both_json_readers_agree(value: Json) -> None:
    """The slow reader, which a surrogate escape calls for, reads the rest as the fast one does."""
    text = json.dumps({"smile": "\N{GRINNING FACE}", "value": value})
    assert load(text.encode(), "test.json").value == json.loads(text)
