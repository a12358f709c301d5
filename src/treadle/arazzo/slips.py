"""What authors probably meant where the structure of a document is wrong: dashes, braces, names, places.

Pure guesses about plain values, as hints for people; a `Repair` only where there is one certain way.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Final, NamedTuple

from treadle.errors import Repair
from treadle.seams import Json

__all__ = [
    "Slip",
    "braced",
    "close_to",
    "component",
    "cut_off",
    "did_you_mean",
    "elsewhere",
    "in_list",
    "not_a_list",
    "not_a_map",
]


# Likeness costs a while for each name, and a hostile document has thousands of both.
_MOST_NAMES: Final = 1000
_SEPARATORS: Final = dict.fromkeys(map(ord, "-_ \t\n\r"))
_MOST_COMPARED: Final = 200


def close_to(name: str, known: Iterable[str]) -> str:
    """Give the known name that was probably meant, or ""."""
    import difflib  # only on the way to a finding

    names = list(islice(known, _MOST_NAMES))
    folded = {each.translate(_SEPARATORS).lower(): each for each in reversed(names)}
    alike = folded.get(name.translate(_SEPARATORS).lower())
    # Two letters in the wrong order make a short name two thirds like itself.
    cutoff = 0.6 if len(name) <= 5 else 0.7
    return alike or next(iter(difflib.get_close_matches(name[:200], names[:_MOST_COMPARED], n=1, cutoff=cutoff)), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the known name that was probably meant, or ""."""
    meant = close_to(word, known)
    return f"did you mean {meant!r}?" if meant else ""


class Slip(NamedTuple):
    """What to do, and how it is done where that is certain. `single`: the value stands for a list of itself."""

    hint: str
    repair: Repair | None = None
    single: bool = False


def not_a_list(value: Json, fields: Collection[str], naming: str) -> Slip:
    """Judge what stands where a list should: of items with these fields, `naming` the one that tells them apart."""
    if isinstance(value, dict) and value:
        first = next(iter(value))
        if any(field in value or close_to(field, value) for field in fields):
            return Slip(f"put `- ` before `{first}`: it is a list with one item", Repair("listed"), single=True)
        if naming and all(isinstance(each, (dict, str, int, float)) for each in value.values()):
            return Slip(f"begin each of its items with `- {naming}: …`, such as `- {naming}: {first}`")
    if isinstance(value, str) and not fields:
        return Slip(f"write it as a list: `- {value}`", Repair("listed"), single=True)
    if isinstance(value, str) and "condition" in fields:
        return Slip(f"write it as a list: `- condition: {value}`", Repair("listed") if "$" in value else None)
    return Slip("begin each of its items with `- `")


def not_a_map(value: Json) -> Slip:
    """Judge a list that stands where an object with members of any name should."""
    items = value if isinstance(value, list) else []
    members = [next(iter(each.items())) for each in items if isinstance(each, dict) and len(each) == 1]
    if items and len({name for name, _ in members}) == len(items):
        name, first = members[0]
        return Slip(f"leave out the dashes: `{name}: {_short(first)}`", Repair("joined"))
    if items and all(isinstance(each, dict) and {"name", "value"} <= each.keys() for each in items):
        first = items[0]
        return Slip(f"write each as its name and its value: `{_short(first['name'])}: {_short(first['value'])}`")
    return Slip("give each a name: `name: $…`") if items else Slip("")


def in_list(value: Json, fields: Collection[str]) -> Slip:
    """Judge an item of a list, or a member, that should be an object with these fields."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return Slip(f"leave out the dash before `{next(iter(value[0]), '')}`", Repair("joined"))
    if isinstance(value, str) and value.startswith("$components.") and "condition" not in fields:
        return Slip(f"write `reference: {value}`", Repair("named", "reference"))
    if isinstance(value, str) and "condition" in fields:
        return Slip(f"write `condition: {value}`", Repair("named", "condition") if "$" in value else None)
    return Slip("")


def cut_off(value: Mapping[str, Json], fields: Collection[str]) -> str:
    """Give a hint for an object that lacks what is required: a dash too many cuts an item in two.

    >>> cut_off({"context": "$response.body"}, ("context", "condition", "type"))
    'is there a dash too many? `context` alone makes no item'
    >>> cut_off({"name": "$components.failureActions.again"}, ("name", "type"))
    'write `reference: $components.failureActions.again`'
    """
    name = value.get("name")
    if isinstance(name, str) and name.startswith("$components."):
        return f"write `reference: {name}`"
    only = next(iter(value)) if len(value) == 1 else ""
    return f"is there a dash too many? `{only}` alone makes no item" if only in fields else ""


def component(reference: Json) -> str:
    """Give the expression for what a JSON Pointer into the components means, "" for anything else.

    >>> component("#/components/parameters/page")
    '$components.parameters.page'
    """
    if not isinstance(reference, str) or not reference.startswith("#/components/"):
        return ""
    parts = reference.removeprefix("#/components/").split("/")
    return "$components." + ".".join(parts) if len(parts) == 2 else ""


def braced(value: Json) -> str:
    """Give the expression of `{$inputs.x}` without quotes, which YAML reads as an object without a value; "" for none.

    >>> braced({"$inputs.x": None})
    '$inputs.x'
    """
    if isinstance(value, dict) and len(value) == 1:
        name, member = next(iter(value.items()))
        return name if member is None and name.startswith("$") else ""
    return ""


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


# ---------------------------------------------------------------------------------------------------------------------
# Fields at a wrong place
# ---------------------------------------------------------------------------------------------------------------------

_UNDER_BODY: Final = "indent it: it belongs under `requestBody`"
_UNDER_ACTION: Final = "it belongs to an item of `onFailure`"
_TOO_FAR: Final = "it is indented too far: it is a field of the step"
_OF_STEP: Final = "it is a field of a step"

_ELSEWHERE: Final[Mapping[str, Mapping[str, str]]] = {
    "Step Object": {
        **dict.fromkeys(("payload", "contentType", "replacements"), _UNDER_BODY),
        "condition": "it belongs to an item of `successCriteria`: `- condition: …`",
        "criteria": "those of a step are its `successCriteria`",
        "successActions": "those of a step are called `onSuccess`",
        "failureActions": "those of a step are called `onFailure`",
        **dict.fromkeys(("retryAfter", "retryLimit"), _UNDER_ACTION),
        "inputs": "inputs of the called workflow are given as `parameters`: `- {name: …, value: …}`",
    },
    "Workflow Object": {
        "onSuccess": "those of a workflow are called `successActions`",
        "onFailure": "those of a workflow are called `failureActions`",
        **dict.fromkeys(("successCriteria", "requestBody", "operationId", "operationPath", "stepId"), _OF_STEP),
    },
    "Request Body Object": {
        **dict.fromkeys(("parameters", "successCriteria", "onSuccess", "onFailure", "outputs"), _TOO_FAR),
        "content": "write `contentType: application/json` and `payload: …`",
        "body": "the body itself is called `payload`",
    },
    "Success Action Object": {"condition": "it belongs to an item of `criteria`: `- condition: …`"},
    "Failure Action Object": {"condition": "it belongs to an item of `criteria`: `- condition: …`"},
    "Criterion Object": {
        "operator": "write it as one condition: `$response.body#/status == 'done'`",
        **dict.fromkeys(("onSuccess", "onFailure", "outputs"), _TOO_FAR),
    },
}
# Without these the step would not do what it says; the others are often written where they do no harm.
_WRONG: Final = frozenset({"payload", "contentType", "replacements", "condition", "retryAfter", "retryLimit"})


def elsewhere(shape: str, field: str) -> tuple[str, bool]:
    """Say where a field of another object belongs, "" for an unknown one, and whether nothing works without it."""
    hint = _ELSEWHERE.get(shape, {}).get(field, "")
    return hint, bool(hint) and field in _WRONG
