"""Parameter styles: OpenAPI's own table, and what must never leave a parameter."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import CallError
from treadle.seams import ArgumentLocation, Json
from treadle.sources.parameters import Rule, cookie_text, header_text, path_text, query_text

ARRAY = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}


@dataclass
class Case:
    """A row of OpenAPI 3.1.1's "Style Examples" (parameter `color`), "" where the table has no entry."""

    style: str
    explode: bool
    empty: str
    string: str
    array: str
    object: str


# fmt: off
STYLES = [
    Case("matrix", False, ";color", ";color=blue", ";color=blue,black,brown", ";color=R,100,G,200,B,150"),
    Case("matrix", True, ";color", ";color=blue", ";color=blue;color=black;color=brown", ";R=100;G=200;B=150"),
    Case("label", False, ".", ".blue", ".blue,black,brown", ".R,100,G,200,B,150"),
    Case("label", True, ".", ".blue", ".blue.black.brown", ".R=100.G=200.B=150"),
    Case("simple", False, "", "blue", "blue,black,brown", "R,100,G,200,B,150"),
    Case("simple", True, "", "blue", "blue,black,brown", "R=100,G=200,B=150"),
    Case("form", False, "color=", "color=blue", "color=blue,black,brown", "color=R,100,G,200,B,150"),
    Case("form", True, "color=", "color=blue", "color=blue&color=black&color=brown", "R=100&G=200&B=150"),
    Case("spaceDelimited", False, "", "", "color=blue%20black%20brown", "color=R%20100%20G%20200%20B%20150"),
    Case("pipeDelimited", False, "", "", "color=blue%7Cblack%7Cbrown", "color=R%7C100%7CG%7C200%7CB%7C150"),
    Case("deepObject", True, "", "", "", "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
]
# fmt: on


def written(rule: Rule, value: Json) -> str:
    if rule.location == "path":
        return path_text(rule, value)
    return query_text(rule, value) if rule.location == "query" else header_text(rule, value)


ENTRIES = [
    pytest.param(case, kind, getattr(case, kind), id=f"{case.style}-{'explode' if case.explode else 'plain'}-{kind}")
    for case in STYLES
    for kind in ("empty", "string", "array", "object")
    if getattr(case, kind)
]


@pytest.mark.parametrize(("case", "kind", "want"), ENTRIES)
def test_style_examples(case: Case, kind: str, want: str) -> None:
    """Every entry of OpenAPI's table comes out as it stands there."""
    location: ArgumentLocation = "path" if case.style in {"matrix", "label", "simple"} else "query"
    value: Json = {"empty": "", "string": "blue", "array": ARRAY, "object": OBJECT}[kind]

    assert written(Rule("color", location, case.style, case.explode), value) == want


@dataclass
class Text:
    description: str
    rule: Rule
    value: Json
    want: str


DEFAULTS = [
    Text("a query defaults to form, exploded", Rule("c", "query"), ["a", "b"], "c=a&c=b"),
    Text("a path defaults to simple", Rule("c", "path"), ["a", "b"], "a,b"),
    Text("a header defaults to simple", Rule("C", "header"), {"R": 1, "G": 2}, "R,1,G,2"),
    Text("an exploded header object", Rule("C", "header", "", True), {"R": 1, "G": 2}, "R=1,G=2"),
    Text("form without style word keeps explode off", Rule("c", "query", "form", False), ["a", "b"], "c=a,b"),
    Text("spaceDelimited exploded is form", Rule("c", "query", "spaceDelimited", True), ["a b", "c"], "c=a%20b&c=c"),
    Text("numbers and booleans", Rule("c", "query"), [1, 2.5, True, 1e21], "c=1&c=2.5&c=true&c=1e21"),
    Text("null members are undefined", Rule("c", "query"), ["a", None, "b"], "c=a&c=b"),
    Text("null is undefined", Rule("c", "query"), None, ""),
    Text("an empty list is undefined", Rule("c", "query"), [], ""),
    Text("an empty list without explode is undefined", Rule("c", "query", "form", False), [], ""),
    Text("an empty object is undefined", Rule("c", "query", "deepObject"), {}, ""),
    Text("values are encoded", Rule("c", "query"), "a&b=c d/é?#+%", "c=a%26b%3Dc%20d%2F%C3%A9%3F%23%2B%25"),
    Text("names are encoded", Rule("a b&c", "query"), "x", "a%20b%26c=x"),
    Text("a comma in an element is encoded", Rule("c", "query", "form", False), ["a,b", "c"], "c=a%2Cb,c"),
    Text("allowReserved", Rule("c", "query", allow_reserved=True), "a/b?c:d,e;f@g", "c=a/b?c:d,e;f@g"),
    Text(
        "allowReserved keeps the query whole",
        Rule("c", "query", allow_reserved=True),
        "a&b#c+d[e]",
        "c=a%26b%23c%2Bd%5Be%5D",
    ),
    Text("allowReserved keeps triples", Rule("c", "query", allow_reserved=True), "a%2Fb%zz", "c=a%2Fb%25zz"),
    Text("elements that are objects are JSON", Rule("c", "query"), [{"a": 1}], "c=%7B%22a%22%3A1%7D"),
    Text(
        "deepObject, deeper",
        Rule("f", "query", "deepObject"),
        {"a": {"b": [1, 2]}},
        "f%5Ba%5D%5Bb%5D%5B0%5D=1&f%5Ba%5D%5Bb%5D%5B1%5D=2",
    ),
    Text("deepObject of a scalar", Rule("created", "query", "deepObject"), 7, "created=7"),
    Text("content", Rule("c", "query", media_type="application/json"), {"a": [1]}, "c=%7B%22a%22%3A%5B1%5D%7D"),
    Text("content of a string", Rule("c", "query", media_type="application/json"), "x", "c=%22x%22"),
    Text("a path value never adds a segment", Rule("c", "path"), "2/0 0?x#y", "2%2F0%200%3Fx%23y"),
    Text(
        "a path parameter with content", Rule("c", "path", media_type="application/json"), {"a": 1}, "%7B%22a%22%3A1%7D"
    ),
    Text("allowReserved in a path", Rule("c", "path", allow_reserved=True), "a:b@c,d/e?", "a:b@c,d%2Fe%3F"),
    Text("a header is not encoded", Rule("C", "header"), " a b/é ", "a b/é"),
]


@pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.description)
def test_defaults_and_encoding(case: Text) -> None:
    """Defaults are those of the location; whatever a value holds stays in its place."""
    assert written(case.rule, case.value) == case.want


def test_a_greedy_path_parameter_keeps_its_slashes() -> None:
    """`{Key+}` is an object key: its slashes are those of the path."""
    assert path_text(Rule("Key", "path"), "a/b c/d?e", greedy=True) == "a/b%20c/d%3Fe"


COOKIES = [
    Text("one", Rule("a", "cookie"), "x;y", "a=x%3By"),
    Text("a list", Rule("a", "cookie"), ["x", "y"], "a=x; a=y"),
    Text("a list, plain", Rule("a", "cookie", "form", False), ["x", "y"], "a=x,y"),
    Text("null", Rule("a", "cookie"), None, ""),
]


@pytest.mark.parametrize("case", COOKIES, ids=lambda case: case.description)
def test_cookies(case: Text) -> None:
    """A cookie is a form whose members stand apart by `; `."""
    assert cookie_text(case.rule, case.value) == case.want


REFUSED = [
    Text("an empty path parameter", Rule("id", "path"), "", "empty"),
    Text("an empty list in a path", Rule("id", "path"), [], "empty"),
    Text("null in a path", Rule("id", "path"), None, "null"),
    Text("a line break", Rule("X", "header"), "a\r\nEvil: 1", "line break"),
    Text("a bare line feed", Rule("X", "header"), "a\nb", "line break"),
    Text("a NUL", Rule("X", "header"), "a\0b", "line break"),
    Text("a line break in a list", Rule("X", "header"), ["a", "b\n"], "line break"),
    Text("a header name with a space", Rule("X Y", "header"), "a", "name of a header"),
    Text("a header name with a colon", Rule("X:", "header"), "a", "name of a header"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.description)
def test_refused(case: Text) -> None:
    """What would make another request of it is refused before it is sent."""
    with pytest.raises(CallError, match=case.want):
        written(case.rule, case.value)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(TEXTS)
def test_any_path_value_comes_back(value: str) -> None:
    """A path value of any characters is one segment, and a server reads it back unchanged."""
    url = f"http://h/{path_text(Rule('id', 'path'), value)}/x"

    _, segment, rest = urlsplit(url).path.split("/")

    assert (unquote(segment), rest) == (value, "x")


@given(st.dictionaries(TEXTS, st.one_of(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), max_size=4))
def test_any_query_value_comes_back(values: dict[str, str | list[str]]) -> None:
    """Query names and values of any characters are read back unchanged."""
    texts = [query_text(Rule(name, "query"), value) for name, value in values.items()]

    want = [[(name, each) for each in ([value] if isinstance(value, str) else value)] for name, value in values.items()]
    assert parse_qsl("&".join(texts), keep_blank_values=True, strict_parsing=bool(texts)) == list(
        itertools.chain(*want)
    )
