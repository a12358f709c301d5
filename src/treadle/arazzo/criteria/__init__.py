"""Criteria: simple, regex, jsonpath and xpath conditions, compiled once; each judgement keeps its reasons.

What can never be evaluated is found while compiling and noted as an error. What cannot be evaluated in a run fails
and says why in the verdict's `problem`: it is never a silent false, since a poll would end on it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from treadle.arazzo.criteria.simple import compile_simple
from treadle.arazzo.criteria.verdict import Broken, ConditionError, Criterion, Verdict, place
from treadle.arazzo.expressions import Expression, ExpressionError, Note, Scope, compile_expression, suggestion
from treadle.arazzo.expressions.selectors import VERSIONS

__all__ = ["Criterion", "Verdict", "compile_criterion", "language_of"]


def compile_criterion(
    condition: str,
    scope: Scope,
    *,
    type: str = "simple",  # noqa: A002  (the specification's word)
    version: str | None = None,
    context: str | None = None,
) -> Criterion:
    """Compile a criterion. Raises nothing: what can never work gives a broken criterion.

    Findings go to `scope.notes`, with pointers into the criterion.

    `version` is that of an Expression Type Object; without one the newest of the specification holds.
    """
    before = len(scope.notes)
    made: Criterion
    try:
        made = _compile(condition, scope, type, version, context)
    except ConditionError as error:
        where = f" ({place(condition, error.position)})" if 0 < error.position <= len(condition) else ""
        message = f"the condition '{condition[:200]}' can never be evaluated: {error.message}{where}"
        hint, instead = error.hint, error.instead
        if context and _HALF.match(condition):
            instead = f"{context} {condition.strip()}"
            hint = f"say what is compared: {instead}"
        scope.note("bad-condition", message, "error", hint=hint, instead=instead)
        made = Broken(condition, message)
    except ExpressionError as error:  # of the context
        scope.note("bad-expression", error.message, "error", _CONTEXT, error.hint, instead=error.meant)
        made = Broken(condition, error.message)
    scope.notes[before:] = [each if each.pointer == _CONTEXT else _of_condition(each) for each in scope.notes[before:]]
    return made


_CONTEXT: Final = "/context"


def _of_condition(note: Note) -> Note:
    return replace(note, pointer=f"/condition{note.pointer}")


def _compile(condition: str, scope: Scope, kind: str, version: str | None, context: str | None) -> Criterion:
    language = language_of(condition, kind, context)
    if language != kind:
        message = f"no condition of type simple begins like this; it is taken as one of type {language}"
        scope.dialect("forgotten-type", message, hint=f"write type: {language}, or a simple condition")
        if scope.allows("forgotten-type"):
            kind = language
    if kind == "simple":
        return compile_simple(condition, scope)
    if kind not in ("regex", "jsonpath", "xpath"):
        hint = suggestion(kind, ("simple", "regex", "jsonpath", "xpath"))
        raise ConditionError(f"there is no criterion of type '{kind}'", hint=hint)
    chosen = _version(kind, version)
    subject = _context(kind, context, scope)
    # Most documents have simple conditions only: the other languages are loaded with the first one of theirs.
    if kind == "regex":
        from treadle.arazzo.criteria.regex import compile_regex

        return compile_regex(condition, subject, scope)
    if kind == "xpath":
        from treadle.arazzo.criteria.xpath import compile_xpath_criterion

        return compile_xpath_criterion(condition, subject, scope, chosen)
    from treadle.arazzo.criteria.jsonpath import compile_jsonpath

    return compile_jsonpath(condition, subject, scope, draft=chosen.startswith("draft"))


_HALF: Final = re.compile(r"\s*(?:[=!]=|[<>])")
"""A condition that leaves out what it compares, since the context says it."""
_FOREIGN: Final = re.compile(r"[\s!(]*(?:(?P<jsonpath>\$[.\[]|#/)|(?P<regex>\^))")


def language_of(condition: str, kind: str, context: str | None) -> str:
    """Give the type of a criterion: the one that is written, or that of the language which its condition speaks."""
    foreign = _FOREIGN.match(condition) if kind == "simple" else None
    if foreign is None or (foreign.lastgroup == "regex" and context is None):
        return kind
    return foreign.lastgroup or kind


def _version(kind: str, version: str | None) -> str:
    known = VERSIONS.get(kind, ("",))
    if not version or version in known:
        return version or known[0]
    raise ConditionError(f"there is no version '{version}' of {kind}", hint="known: " + ", ".join(known))


def _context(kind: str, context: str | None, scope: Scope) -> Expression:
    if context is None:
        # §4.6.11: "if type is specified, context MUST be provided". A query without one can only mean the answer.
        if kind == "regex":
            raise ConditionError("a criterion of type regex needs a context")
        message = f"a criterion of type {kind} needs a context; $response.body is taken"
        scope.dialect("implied-context", message, hint="add context: $response.body")
        context = "$response.body"
    text = context.strip()
    inner = text[1:-1] if text.startswith("{$") and text.endswith("}") else text
    return compile_expression(inner, scope, _CONTEXT)
