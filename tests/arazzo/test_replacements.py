"""Payload replacements (§1.12): where a target is found, what is put there, what is left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from treadle.arazzo.expressions import EvaluationError
from treadle.arazzo.replacements import Form, TargetError, compile_target, form_of, replaced
from treadle.seams import MISSING, Json

BODY: Json = {"a": {"b": 1, "c/d": 2}, "list": [10, {"n": 1}, 30], "s": "text"}


def put(
    target: str, value: Json, payload: Json = BODY, *, kind: str | None = None, form: Form = "json", version: str = ""
) -> Any:
    before = copy.deepcopy(payload)
    made = replaced(payload, form, [(compile_target(target, kind, version, form), value)])
    assert payload == before, "what was given must not change"
    return made


@pytest.mark.parametrize(
    ("target", "value", "want"),
    [
        pytest.param("/a/b", 9, {**BODY, "a": {"b": 9, "c/d": 2}}, id="member"),
        pytest.param("#/a/b", 9, {**BODY, "a": {"b": 9, "c/d": 2}}, id="as-fragment"),
        pytest.param("/a/c~1d", 9, {**BODY, "a": {"b": 1, "c/d": 9}}, id="escaped"),
        pytest.param("/a/new", 9, {**BODY, "a": {"b": 1, "c/d": 2, "new": 9}}, id="new-member"),
        pytest.param("/list/1/n", 9, {**BODY, "list": [10, {"n": 9}, 30]}, id="in-a-list"),
        pytest.param("/list/0", 9, {**BODY, "list": [9, {"n": 1}, 30]}, id="element"),
        pytest.param("/list/-", 9, {**BODY, "list": [10, {"n": 1}, 30, 9]}, id="append"),
        pytest.param("/list/3", 9, {**BODY, "list": [10, {"n": 1}, 30, 9]}, id="append-by-index"),
        pytest.param("", {"all": 1}, {"all": 1}, id="everything"),
        pytest.param("/a/b", None, {**BODY, "a": {"b": None, "c/d": 2}}, id="null-is-a-value"),
        pytest.param("/a/b", MISSING, {**BODY, "a": {"c/d": 2}}, id="missing-takes-away"),
        pytest.param("/list/0", MISSING, {**BODY, "list": [{"n": 1}, 30]}, id="missing-element"),
        pytest.param("/a/zz", MISSING, BODY, id="missing-of-nothing"),
    ],
)
def test_a_json_pointer_adds_or_replaces(target: str, value: Json, want: Json) -> None:
    """RFC 6902 §4.1 for what is not there yet; what is there is replaced."""
    assert put(target, value) == want


@pytest.mark.parametrize("target", ["/x/y", "/list/7", "/list/01", "/s/a", "/a/b/c", "/list/-/n", "/list/x"])
def test_parents_must_be_there(target: str) -> None:
    """A place that nobody made is a mistake, and the reason names it."""
    with pytest.raises(EvaluationError, match="has nothing at"):
        put(target, 1)


@pytest.mark.parametrize(
    ("target", "want"),
    [
        pytest.param("$.a.b", {**BODY, "a": {"b": 0, "c/d": 2}}, id="singular"),
        pytest.param("$.a.new", {**BODY, "a": {"b": 1, "c/d": 2, "new": 0}}, id="singular-new"),
        pytest.param("$.list[-1]", {**BODY, "list": [10, {"n": 1}, 0]}, id="from-the-end"),
        pytest.param("$.list[?@.n == 1].n", {**BODY, "list": [10, {"n": 0}, 30]}, id="filter"),
        pytest.param("$.list[*]", {**BODY, "list": [0, 0, 0]}, id="every"),
        pytest.param("$..n", {**BODY, "list": [10, {"n": 0}, 30]}, id="anywhere"),
    ],
)
def test_a_jsonpath_replaces_every_place(target: str, want: Json) -> None:
    """`targetSelectorType: jsonpath`, RFC 9535."""
    assert put(target, 0, kind="jsonpath") == want


def test_elements_that_are_taken_away_do_not_move_the_others() -> None:
    """A missing value takes all of them away."""
    assert put("$.list[?@ > 5]", MISSING, kind="jsonpath") == {**BODY, "list": [{"n": 1}]}


def test_goessners_draft_has_its_own_index() -> None:
    """The version of an Expression Type Object is honoured."""
    version = "draft-goessner-dispatch-jsonpath-00"
    assert put("$.list[(@.length-1)]", 0, kind="jsonpath", version=version)["list"] == [10, {"n": 1}, 0]


def test_a_query_that_finds_nothing_is_an_error() -> None:
    """Silently sending the payload without the value would be worse."""
    with pytest.raises(EvaluationError, match="nowhere in the payload"):
        put("$.list[?@.n == 7].n", 1, kind="jsonpath")


def test_a_payload_that_is_text_is_read_first() -> None:
    """JSON as text, such as an output that is passed on."""
    assert put("/a/b", 2, '{"a": {"b": 1}}') == {"a": {"b": 2}}
    with pytest.raises(EvaluationError, match="no JSON"):
        put("/a", 2, "{oops")


def test_a_form_is_replaced_by_the_names_of_its_fields() -> None:
    """As an object or as text; a field that comes twice is a list."""
    assert put("/code", "x", {"code": "y", "b": "1"}, form="form") == {"code": "x", "b": "1"}
    assert put("/code", "x", "code=y&b=1%202&b=3", form="form") == {"code": "x", "b": ["1 2", "3"]}
    assert put("/new", "x", "a=", form="form") == {"a": "", "new": "x"}


XML = '<?xml version="1.0"?>\n<!-- note --><o:Order xmlns:o="urn:o" id=\'7\' flag="a>b">\n  <Item n="1">old</Item><Item n="2"/>\n</o:Order>\n'


@pytest.mark.parametrize(
    ("target", "value", "before", "after"),
    [
        pytest.param("//Item[@n=1]", "a & <b>", "old", "a &amp; &lt;b&gt;", id="element"),
        pytest.param("//Item[@n=1]/text()", 5, "old", "5", id="text"),
        pytest.param("//Item[@n=2]", "x", '<Item n="2"/>', '<Item n="2">x</Item>', id="empty-element"),
        pytest.param("/*/@id", 'it\'s "8"', "id='7'", "id='it&apos;s &quot;8&quot;'", id="attribute"),
        pytest.param("//Item[@n=2]", MISSING, '<Item n="2"/>', "", id="missing-element"),
        pytest.param("/*/@flag", MISSING, ' flag="a>b"', "", id="missing-attribute"),
        pytest.param("//Item[@n=1]", {"k": [1]}, "old", "{&quot;k&quot;:[1]}", id="structured-as-json"),
    ],
)
def test_xml_is_edited_in_its_place(target: str, value: Json, before: str, after: str) -> None:
    """Prefixes, comments and layout stay what they were; the value is escaped."""
    assert put(target, value, XML, form="xml") == XML.replace(before, after)


def test_a_default_namespace_may_be_left_out() -> None:
    """What authors write: dialect `xpath-default-namespace`."""
    text = '<Envelope xmlns="urn:e"><Header><Id>1</Id></Header></Envelope>'
    assert put("/Envelope/Header/Id", 2, text, form="xml") == text.replace(">1<", ">2<")


def test_every_selected_element_is_replaced() -> None:
    """Two places, two edits; one inside the other is refused."""
    assert put("//a", "x", "<r><a>1</a><b/><a>22</a></r>", form="xml") == "<r><a>x</a><b/><a>x</a></r>"
    with pytest.raises(EvaluationError, match="something inside it"):
        put("//*", "x", "<r><a/></r>", form="xml")


@pytest.mark.parametrize(
    ("target", "text", "words"),
    [
        pytest.param("//x", "<r/>", "nowhere in the payload", id="nothing"),
        pytest.param("count(//r)", "<r/>", "selects no element", id="no-place"),
        pytest.param("//r", "<r", "no XML", id="broken"),
        pytest.param("//r", '<!DOCTYPE r [<!ENTITY e "x">]><r>&e;</r>', "DTD", id="entities"),
        pytest.param("//r", {"r": 1}, "payload that is text", id="no-text"),
        pytest.param("//r/text()", "<r>a<b/>c</r>", "nothing else", id="mixed-text"),
    ],
)
def test_what_cannot_be_replaced_in_xml_is_told(target: str, text: Json, words: str) -> None:
    """The step fails with a reason; nothing is sent."""
    with pytest.raises(EvaluationError, match=words):
        put(target, "x", text, form="xml")


@pytest.mark.parametrize(
    ("target", "kind", "form", "words"),
    [
        pytest.param("a/b", None, "json", "no JSON Pointer", id="no-slash"),
        pytest.param("$.a[", "jsonpath", "json", "no jsonpath", id="broken-jsonpath"),
        pytest.param("//[", "xpath", "xml", "no xpath", id="broken-xpath"),
        pytest.param("//a", "xpath", "json", "needs a payload of XML", id="xpath-in-json"),
        pytest.param("$.a", "jsonpath", "xml", "needs a payload of JSON", id="jsonpath-in-xml"),
    ],
)
def test_a_target_that_can_never_be_found_is_told_before_the_run(
    target: str, kind: str | None, form: Form, words: str
) -> None:
    """It is compiled with the plan."""
    with pytest.raises(TargetError, match=words):
        compile_target(target, kind, "", form)


@pytest.mark.parametrize(
    ("media_type", "form"),
    [
        ("", "json"),
        ("application/json", "json"),
        ("application/merge-patch+json; charset=utf-8", "json"),
        ("application/x-amz-json-1.1", "json"),
        ("text/xml", "xml"),
        ("application/soap+xml", "xml"),
        ("application/x-www-form-urlencoded", "form"),
        ("text/plain", "other"),
    ],
)
def test_the_media_type_says_what_a_payload_is(media_type: str, form: str) -> None:
    """§1.12: JSON Pointer for JSON, XPath for XML media types."""
    assert form_of(media_type) == form
