"""Conditions as the specification has them: simple ones without foreign quotes, comparisons out of JSONPath."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from treadle.arazzo.criteria import compile_criterion, jsonpath, language_of
from treadle.arazzo.criteria.conditions import Token, tokens
from treadle.arazzo.criteria.operands import extent
from treadle.arazzo.criteria.regex import slashed
from treadle.arazzo.criteria.verdict import ConditionError
from treadle.arazzo.expressions import Scope
from treadle.arazzo.expressions.pointer import print_pointer
from treadle.arazzo.fixes.expressions import proper, unwrapped
from treadle.arazzo.jsonpath import JsonPathError, compile_query, keys_of
from treadle.arazzo.model import Criterion

__all__ = ["Rewritten", "rewritten"]


class Rewritten(NamedTuple):
    """A condition in other words, and the members of its criterion that go. `rules` are those that are satisfied."""

    condition: str
    gone: tuple[str, ...]
    rules: tuple[str, ...]


def rewritten(criterion: Criterion, scope: Scope) -> Rewritten | None:
    """Give a criterion's condition as it is written properly, or None where there is nothing to do, or no sure way."""
    if _broken(criterion, scope):
        return None
    language = language_of(criterion.condition, criterion.kind, criterion.context)
    if language == "simple":
        return _simple(criterion, scope)
    if language == "regex":
        pattern = slashed(criterion.condition) if "{$" not in criterion.condition else None
        return None if pattern is None else Rewritten(pattern, (), ("slashed-pattern",))
    if language == "jsonpath":
        return _json_path(criterion, scope)
    return None


def _broken(criterion: Criterion, scope: Scope) -> bool:
    quiet = scope.quiet()
    version = criterion.version or None
    compile_criterion(criterion.condition, quiet, type=criterion.kind, version=version, context=criterion.context)
    return any(note.severity == "error" for note in quiet.notes)


# ---------------------------------------------------------------------------------------------------------------------
# Simple conditions
# ---------------------------------------------------------------------------------------------------------------------


def _simple(criterion: Criterion, scope: Scope) -> Rewritten | None:
    text = criterion.condition
    found: list[str] = ["split-condition"] if criterion.split else []
    split = _tokens_of_simple(text, scope)
    if any("{$" in token.content for token in split if token.kind == "string"):
        return None  # a text with expressions in it has no proper form
    pieces = [_in_simple(text, token, scope, found) for token in split]
    gone: tuple[str, ...] = ()
    if criterion.split:
        gone = ("context", "value", "type")
    elif criterion.type == "simple" and criterion.context is None:
        gone = ("type",)
        found.append("simple-without-context")
    if not found:
        return None
    return Rewritten(_joined(text, pieces), gone, tuple(dict.fromkeys(found)))


def _tokens_of_simple(text: str, scope: Scope) -> list[Token]:
    def end(text: str, start: int) -> int | None:
        if text.startswith("{$", start):
            return text.find("}", start) + 1 or len(text)
        return extent(text, start, scope) if text.startswith("$", start) else None

    return tokens(text, end, doubled_quotes=True)


Piece = tuple[int, int, str]


def _in_simple(text: str, token: Token, scope: Scope, found: list[str]) -> Piece:
    source = text[token.start : token.end]
    if token.kind == "string" and source.startswith('"'):
        found.append("double-quoted-string")
        return token.start, token.end, _quoted(token.content)
    if token.kind == "constant":
        found.append("foreign-constant")
        return token.start, token.end, token.content
    if token.kind == "word":
        found.append("bare-word")
        return token.start, token.end, _quoted(source)
    if token.kind != "operand":
        return token.start, token.end, source
    if source.startswith("{$"):
        found.append("braced-operand")
        source = source[1:-1]
    better = proper(source, scope)
    if better is not None:
        found += better.rules
        source = better.text
    return token.start, token.end, source


def _quoted(content: str) -> str:
    return "'" + content.replace("'", "''") + "'"


def _joined(text: str, pieces: Sequence[Piece]) -> str:
    """Put the pieces in place of their tokens; what stands between them stays."""
    result, position = [], 0
    for start, end, new in pieces:
        result += [text[position:start], new]
        position = end
    return "".join([*result, text[position:]])


# ---------------------------------------------------------------------------------------------------------------------
# Comparisons in JSONPath
# ---------------------------------------------------------------------------------------------------------------------

_LENGTH: Final = re.compile(r"\.length(?:\(\))?\Z")
_MORE_THAN_NONE: Final = frozenset({(">", "0"), (">=", "1"), ("!=", "0")})


class _NoWay(Exception):  # noqa: N818  (never leaves this module)
    pass


def _json_path(criterion: Criterion, scope: Scope) -> Rewritten | None:
    text = criterion.condition.strip()
    if criterion.version.startswith("draft") or "{$" in text or _is_query(text):
        return None
    try:
        found = jsonpath.condition_tokens(text, scope)
        many = _not_empty(text, found)
        if many is not None:
            return Rewritten(many, (), ("jsonpath-comparison",))
        subject = unwrapped(criterion.context or "$response.body", scope)
        if subject is None:
            return None
        pieces = [_in_comparison(text, token, index, found, subject, scope) for index, token in enumerate(found)]
    except (_NoWay, ConditionError):
        return None
    gone = ("context", "type") if criterion.context is not None else ("type",)
    return Rewritten(_joined(text, pieces), gone, ("jsonpath-comparison",))


def _is_query(text: str) -> bool:
    try:
        compile_query(text)
    except JsonPathError:
        return False
    return True


def _not_empty(text: str, found: Sequence[Token]) -> str | None:
    """Write `$.items.length > 0` as the query that passes when there is an element; None for everything else."""
    if [token.kind for token in found] != ["operand", "comparison", "value"]:
        return None
    query, operator, number = found
    base = _LENGTH.sub("", text[query.start : query.end])
    if base == text[query.start : query.end] or (operator.content, number.content) not in _MORE_THAN_NONE:
        return None
    plain = jsonpath.with_quoted_names(base)
    return f"{plain}[*]" if keys_of(plain) is not None else None


def _in_comparison(text: str, token: Token, index: int, found: Sequence[Token], subject: str, scope: Scope) -> Piece:
    source = text[token.start : token.end]
    if token.kind == "string":
        if "{$" in token.content:
            raise _NoWay
        return token.start, token.end, _quoted(token.content)
    if token.kind == "word":
        return token.start, token.end, _quoted(source)
    if token.kind != "operand":
        return token.start, token.end, token.content if token.kind == "constant" else source
    beside = [each.kind for each in (*found[max(0, index - 1) : index], *found[index + 1 : index + 2])]
    if "comparison" not in beside:
        raise _NoWay  # alone it asks whether there is a node, which a simple condition cannot
    if jsonpath.is_runtime(source):
        better = proper(source, scope)
        return token.start, token.end, better.text if better is not None else source
    keys = keys_of(jsonpath.with_quoted_names(jsonpath.as_query(source)))
    if keys is None or not keys or keys[-1] == "length" or any(isinstance(key, int) and key < 0 for key in keys):
        raise _NoWay
    pointer = print_pointer([str(key) for key in keys])
    if any(each in pointer for each in " \t()<>!=&|'\"{}"):
        raise _NoWay  # a simple condition could not tell where it ends
    return token.start, token.end, f"{subject}{'' if '#' in subject else '#'}{pointer}"
