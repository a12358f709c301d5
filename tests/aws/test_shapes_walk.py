"""Every constraint of every operation, found by a walk through botocore's own model, is kept and told in AWS's words.

The walk is botocore's and not ours: what our reader of models overlooked would be found here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import regex
from botocore import model as botocore_model
from botocore.session import Session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treadle.aws.shapes import load_service
from treadle.errors import ServiceError

OPERATIONS = [
    *(("sagemaker", f"{verb}TrainingJob") for verb in ("Create", "Describe", "Stop", "Update", "Delete")),
    *(("sagemaker", each) for each in ("ListTrainingJobs", "Search", "AddTags", "ListTags", "DeleteTags")),
    *(("logs", each) for each in ("DescribeLogGroups", "DescribeLogStreams", "GetLogEvents", "FilterLogEvents")),
]


@dataclass(frozen=True)
class Site:
    """A place in the input of an operation: its path as AWS writes it, and what puts a value there."""

    shape: Any
    path: str
    put: Callable[[Any], Any]
    within: str = ""
    """ "" for a place that is told by itself, else what is told at the collection that it is an item of."""


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


def _sites(site: Site, above: tuple[str, ...] = ()) -> Iterator[Site]:
    yield site
    shape, put = site.shape, site.put
    if shape.name in above:
        return
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            path = f"{site.path}.{_camel(name)}" if site.path else _camel(name)
            yield from _sites(Site(member, path, _within(put, name)), (*above, shape.name))
    elif shape.type_name == "list":
        yield from _items(shape.member, site, "Member must satisfy", lambda it: [it], "1.member", (*above, shape.name))
    elif shape.type_name == "map":
        below = (*above, shape.name)
        yield Site(shape.key, site.path, lambda it: put({it: _some(shape.value)}), "Map keys must satisfy")
        yield from _items(shape.value, site, "Map value must satisfy", lambda it: {"k": it}, "k.member", below)


def _within(put: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    return lambda value: put({name: value})


def _items(
    shape: Any, of: Site, told: str, wrap: Callable[[Any], Any], step: str, above: tuple[str, ...]
) -> Iterator[Site]:
    def put(value: Any) -> Any:
        return of.put(wrap(value))

    if _rules(shape) and shape.type_name not in {"structure", "list", "map"}:
        yield Site(shape, of.path, put, told)
    else:
        yield from _sites(Site(shape, f"{of.path}.{step}", put), above)


def _some(shape: Any) -> Any:
    """Give a value of the right type."""
    return {"string": "x", "list": [], "map": {}, "structure": {}, "boolean": True}.get(shape.type_name, 1)


def _rules(shape: Any) -> dict[str, str]:
    """Give the texts of a shape's constraints, in AWS's order."""
    traits = shape.metadata
    what = "length" if shape.type_name in {"string", "list", "map"} else "value"
    rules = {}
    if "max" in traits:
        rules["max"] = f"Member must have {what} less than or equal to {traits['max']}"
    if "min" in traits:
        rules["min"] = f"Member must have {what} greater than or equal to {traits['min']}"
    if getattr(shape, "enum", None):
        rules["enum"] = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    if pattern := traits.get("pattern"):
        shown = pattern if pattern[0] in "^." else f"^{pattern}"
        rules["pattern"] = f"Member must satisfy regular expression pattern: {shown}"
    return rules


def _sized(shape: Any, size: int) -> Any:
    """Give a value of this length, or this number itself."""
    match shape.type_name:
        case "string":
            return "a" * size
        case "list":
            return [_some(shape.member)] * size
        case "map":
            return {f"k{number}": _some(shape.value) for number in range(size)}
    return size


def _wrong(shape: Any) -> Iterator[tuple[str, Any]]:
    """Give the rules that can be broken, each with a value that breaks it."""
    traits = shape.metadata
    if "max" in traits and traits["max"] < 1 << 31:
        yield "max", _sized(shape, int(traits["max"]) + 1)
    if "min" in traits and (traits["min"] > 0 or "value" in _rules(shape)["min"]):
        yield "min", _sized(shape, int(traits["min"]) - 1)
    if getattr(shape, "enum", None):
        yield "enum", "no such"
    if (pattern := traits.get("pattern")) and (text := next(_mismatches(pattern), None)) is not None:
        yield "pattern", text


def _mismatches(pattern: str) -> Iterator[str]:
    return (each for each in ("\n", "\0", " ", "é!", "") if not _compiled(pattern).fullmatch(each))


@cache
def _compiled(pattern: str) -> Any:
    """Compile as Java does: `\\d` and its like are ASCII, `\\p{…}` is not; surrogate pairs are characters."""
    readable = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    return regex.compile(readable, 0 if r"\p" in pattern else regex.ASCII)


def _refused(service: str, operation: str, value: Any) -> str:
    try:
        load_service(service).operation(operation).input.accept(value)
    except ServiceError as error:
        return f"{error.code}: {error.message}"
    return ""


def _told(site: Site, rule: str) -> str:
    constraint = _rules(site.shape)[rule]
    if site.within:
        constraint = f"{site.within} constraint: [{', '.join(_rules(site.shape).values())}]"
    return f"at '{site.path}' failed to satisfy constraint: {constraint}"


@cache
def _all(service: str, operation: str) -> tuple[Site, ...]:
    model: botocore_model.ServiceModel = Session().get_service_model(service)
    return tuple(_sites(Site(model.operation_model(operation).input_shape, "", lambda it: it)))


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_every_constraint_is_kept(service: str, operation: str) -> None:
    """One that is broken is named with its path; what stands exactly at a limit is not."""
    broken = 0
    for site in _all(service, operation):
        for rule, value in _wrong(site.shape):
            broken += 1
            said = _refused(service, operation, site.put(value))
            assert said.startswith("ValidationException: "), (site.path, rule, said)
            assert _told(site, rule) in said
        for rule in {"min", "max"} & set(site.shape.metadata):
            limit = site.shape.metadata[rule]
            if limit < 1 << 31 and not site.within:
                assert _told(site, rule) not in _refused(service, operation, site.put(_sized(site.shape, limit)))
    assert broken >= 3, "the walk has found next to nothing"


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_every_required_member_is_missed(service: str, operation: str) -> None:
    """With the value null, at its path."""
    for site in _all(service, operation):
        for name in getattr(site.shape, "required_members", ()):
            path = f"{site.path}.{_camel(name)}" if site.path else _camel(name)
            said = _refused(service, operation, site.put({}))
            assert f"Value null at '{path}' failed to satisfy constraint: Member must not be null" in said


def _patterns() -> dict[str, tuple[str, Any]]:
    """Give every pattern with its service and a shape that has it."""
    return {
        site.shape.metadata["pattern"]: (service, site.shape)
        for service, operation in OPERATIONS
        for site in _all(service, operation)
        if "pattern" in site.shape.metadata
    }


@pytest.mark.parametrize(("pattern", "where"), _patterns().items())
def test_a_pattern_takes_what_it_describes(pattern: str, where: tuple[str, Any]) -> None:
    """Texts made from a pattern, and some that are near, are taken exactly if a backtracking engine takes them."""
    service, shape = where
    ours = load_service(service).shape(shape.name)
    rule = _rules(shape)["pattern"]
    texts = st.text(max_size=5)
    with contextlib.suppress(re.error):  # classes that `re` does not know: other texts are left
        texts |= st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)

    @settings(max_examples=20, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(texts, st.sampled_from(["", "\n", " ", "é", "/"]))
    def agrees(text: str, more: str) -> None:
        assert (rule not in ours.broken(text + more)) is bool(_compiled(pattern).fullmatch(text + more))

    agrees()
