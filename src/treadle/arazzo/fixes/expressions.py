"""Runtime expressions as the specification has them: JSON Pointers instead of dots, braces inside of longer texts."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from treadle.arazzo.expressions import ExpressionError, Scope, compile_expression, compile_value, nodes
from treadle.arazzo.expressions.nodes import Expression, Index, Member, Pointer, Tail
from treadle.arazzo.expressions.template import placeholders

__all__ = ["Better", "in_text", "proper", "unwrapped"]


class Better(NamedTuple):
    """A text in proper words, and the rules that are satisfied by it."""

    text: str
    rules: tuple[str, ...]


_REWRITTEN = frozenset({"dotted-navigation", "implied-outputs", "implied-step", "plural-headers"})


def proper(text: str, scope: Scope) -> Better | None:
    """Give an expression as it is written properly; None where it is, or where there is no certain way."""
    quiet = scope.quiet()
    try:
        expression = compile_expression(text, quiet)
    except ExpressionError:
        return None
    rules = {note.rule for note in quiet.notes} & _REWRITTEN
    if "dotted-navigation" in rules:
        straight = _pointed(expression, scope)
        if straight is None:
            rules.discard("dotted-navigation")
        else:
            expression = straight
    if not rules:
        return None
    written = str(expression)
    # The names decide where an expression ends: what is written must still mean the same.
    try:
        same = compile_expression(written, scope.quiet()) == expression
    except ExpressionError:
        return None
    return Better(written, tuple(sorted(rules))) if same and written != text else None


def _pointed(expression: Expression, scope: Scope) -> Expression | None:
    """Give an expression whose navigation is one JSON Pointer.

    Into bodies every version can point, into inputs and outputs 1.1 only; a name that nobody declared may hold dots.
    """
    tail = _tail(getattr(expression, "tail", ()))
    if tail is None:
        return None
    match expression:
        case nodes.Body():
            return msgspec.structs.replace(expression, tail=tail)
        case nodes.MessagePayload():
            return msgspec.structs.replace(expression, tail=tail) if _newer(scope) else None
        case nodes.InputReference(name=name) if name in scope.inputs:
            return msgspec.structs.replace(expression, tail=tail) if _newer(scope) else None
        case nodes.StepReference(step_id=step_id, name=name) if name in scope.steps.get(step_id, ()):
            return msgspec.structs.replace(expression, tail=tail) if _newer(scope) else None
        case _:
            return None


def _newer(scope: Scope) -> bool:
    return not scope.version.startswith("1.0")


def _tail(tail: Tail) -> Tail | None:
    """Give navigation as a JSON Pointer; None for `[*]` and `.length`, which it does not have."""
    names: list[str] = []
    for part in tail:
        if isinstance(part, Pointer):
            names += part.tokens
        elif isinstance(part, Member) and part.name != "length":
            names.append(part.name)
        elif isinstance(part, Index):
            names.append(str(part.index))
        else:
            return None
    if not names or any(each in name for name in names for each in "{}"):
        return None
    return (Pointer(tuple(names)),)


def unwrapped(text: str, scope: Scope) -> str | None:
    """Give the expression of a `context`, so that a pointer can be put behind it; None where none can."""
    bare = text.strip()
    bare = bare[1:-1] if bare.startswith("{$") and bare.endswith("}") else bare
    better = proper(bare, scope)
    bare = better.text if better is not None else bare
    try:
        expression = compile_expression(bare, scope.quiet())
    except ExpressionError:
        return None
    tail = getattr(expression, "tail", None)
    if tail is None or (tail and not (len(tail) == 1 and isinstance(tail[0], Pointer))):
        return None
    if isinstance(expression, nodes.Body):
        return bare.removesuffix("#")
    named = bool(getattr(expression, "name", ""))
    return bare.removesuffix("#") if _newer(scope) and named else None


def in_text(text: str, scope: Scope, *, whole: bool = True) -> Better | None:
    """Give a text with its expressions written properly: alone, in braces, and without the braces that they need.

    `whole` says that the text may be one expression; of a payload that is one text only what is in braces is looked at.
    """
    if "$" not in text:
        return None
    if whole and text.startswith("$") and _is_whole(text, scope):
        return proper(text, scope)
    quiet = scope.quiet()
    found = placeholders(text, quiet, unbraced=whole)
    pieces: list[str] = []
    rules: list[str] = []
    position = 0
    for each in found:
        if not each.braced and (each.start, each.end) == (0, len(text)):
            continue  # with braces around all of it, it would be an expression with a type
        source = text[each.start + 1 : each.end - 1] if each.braced else text[each.start : each.end]
        better = proper(source, scope)
        if better is None and each.braced:
            continue
        rules += better.rules if better is not None else ()
        rules += () if each.braced else ("unbraced-interpolation",)
        pieces += [text[position : each.start], "{", better.text if better is not None else source, "}"]
        position = each.end
    if not rules:
        return None
    return Better("".join([*pieces, text[position:]]), tuple(dict.fromkeys(rules)))


def _is_whole(text: str, scope: Scope) -> bool:
    """Tell whether a text is one expression, as the compiler of values decides it."""
    template = compile_value(text, scope.quiet())
    return len(template.expressions) == 1 and type(template.part).__name__ == "_Whole"
