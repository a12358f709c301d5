"""Text → runtime expression: the ABNF of Arazzo 1.1.0, the looser one of 1.0.x, and the listed dialect rules.

The grammar of 1.0.x gives names no end (`name = *CHAR`), that of 1.1.0 forbids dots in some; real documents write
dots both as part of names and as navigation. One rule decides: *the longest declared name first, then navigation*.
Where nothing is declared under any prefix, the identifier characters of 1.1.0 make the name.

`parse` alone judges grammar; `compile_expression` also checks that what it names exists, and notes what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from treadle.arazzo.expressions import nodes, pointer
from treadle.arazzo.expressions.nodes import MEMBER_CHARACTERS, Each, Expression, Index, Member, Pointer, Tail
from treadle.arazzo.expressions.scope import Context, ExpressionError, Scope, suggestion
from treadle.arazzo.expressions.spelling import respelt
from treadle.seams import MISSING, Json

__all__ = ["LONGEST", "check", "compile_expression", "declared_extent", "is_rooted", "meant", "navigation", "parse"]

LONGEST: Final = 10_000
"""Characters that an expression or a condition may have."""

_MOST_STEPS: Final = 100
"""Members and indices that one expression may navigate through."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_\-]+")
_HEADER_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MAY_END: Final = re.compile(r"[.#\[]")
_SINGULAR: Final = re.compile(r"\.output(?:[.#\[]|\Z)")
_INDEX: Final = re.compile(r"\[(0|[1-9][0-9]{0,8})\]")
_ROOTED: Final = re.compile(
    r"\$(?:(?:url|method|statusCode|self)\Z|(?:request|response|message|inputs|outputs|steps|workflows"
    r"|sourceDescriptions|components)(?:[.#\[]|\Z))"
)


def is_rooted(text: str) -> bool:
    """Tell whether a text means to be an expression: `$` and one of the known roots."""
    return _ROOTED.match(text) is not None


def parse(text: str, scope: Scope | None = None) -> Expression:
    """Parse one runtime expression; with a scope, declared names decide where names end. Raises `ExpressionError`."""
    return _parse(text, scope)[0]


_OF_STEP: Final = re.compile(r"\$([A-Za-z0-9_\-]+)\.outputs\.")


def meant(text: str, scope: Scope) -> tuple[str, bool]:
    """Give the expression that a misspelt text means, "" for none, and whether what it names is declared."""
    of_step = _OF_STEP.match(text)
    candidate = f"$steps.{text[1:]}" if of_step and of_step[1] in scope.steps else respelt(text)
    if not candidate or candidate == text:
        return "", False
    quiet = scope.quiet()
    try:
        check(_parse(candidate, quiet)[0], quiet)
    except ExpressionError:
        return "", False
    return candidate, all(note.rule in {"unknown-output", "undeclared-output"} for note in quiet.notes)


def compile_expression(text: str, scope: Scope, at: str = "") -> Expression:
    """Parse, note the dialect rules that were needed and what does not exist. Raises `ExpressionError`."""
    try:
        expression, rules = _parse(text, scope)
    except ExpressionError as error:
        likely, declared = meant(text, scope)
        if not likely:
            raise
        raise ExpressionError(error.message, position=error.position, meant=likely, declared=declared) from None
    if isinstance(expression, nodes.OutputReference) and expression.name in scope.earlier:
        rules.append("implied-step")
        if scope.allows("implied-step"):
            expression = nodes.StepReference(scope.earlier[expression.name], expression.name, expression.tail)
    for rule in rules:
        severity, message = _RULES[rule]
        scope.dialect(
            rule,
            message.format(text),
            at,
            hint=f"write {expression}" if rule in _RESPELT else "",
            severity="note" if severity == "note" else "warning",
        )
    check(expression, scope, at)
    return expression


_RULES: Final[Mapping[str, tuple[str, str]]] = {
    "dotted-navigation": ("note", "'{}' navigates with dots or brackets; Arazzo's own way is a JSON Pointer: '#/…'"),
    "whole-object": ("note", "'{}' means all of them as one object, which Arazzo's grammar does not have"),
    "implied-outputs": ("warning", "'{}' leaves '.outputs' out"),
    "implied-step": ("warning", "'{}' is no output of a called workflow; the one step that has it is taken"),
    "plural-headers": ("warning", "'{}': the part is called 'header'"),
}
_RESPELT: Final = frozenset({"implied-outputs", "implied-step", "plural-headers"})


@dataclass(slots=True)
class _Reading:
    """One text being parsed: the scope, if there is one, and the dialect rules that were needed."""

    text: str
    scope: Scope | None
    rules: list[str]

    def fail(self, message: str, position: int, hint: str = "") -> ExpressionError:
        return ExpressionError(
            f"'{_shown(self.text)}' is no runtime expression: {message}", position=position, hint=hint
        )

    def beyond(self, position: int) -> ExpressionError:
        """Say that nothing like this can follow, and what to do instead."""
        rest = self.text[position:]
        hint = "a JSON Pointer begins with '#/'"
        if rest.startswith(("[", "..")):
            hint = "a JSONPath needs a Selector Object: {context: $response.body, selector: $…, type: jsonpath}"
        elif rest.startswith("("):
            hint = "an expression has no functions; a length is .length"
        elif _OPERATES.match(rest):
            hint = "an expression has no operators: compare in a condition, where the value is used"
        return self.fail(f"'{_shown(rest)}' cannot follow here", position, hint)


_OPERATES: Final = re.compile(r"\s*(?:[=!<>]=|[<>?*+/-]|&&|\|\|)")


def _shown(text: str) -> str:
    return text if len(text) <= 120 else text[:120] + "…"


def _parse(text: str, scope: Scope | None) -> tuple[Expression, list[str]]:
    reading = _Reading(text, scope, [])
    if len(text) > LONGEST:
        raise reading.fail(f"it is longer than {LONGEST} characters", LONGEST)
    if text in _PLAIN:
        return _PLAIN[text], []
    if not text.startswith("$"):
        raise reading.fail("it does not begin with '$'", 0)
    plain = next((each for each in _PLAIN if text.startswith(each) and not text[len(each)].isalnum()), "")
    if plain:
        raise reading.beyond(len(plain))
    end = next((index for index, each in enumerate(text) if each in ".#[" and index), len(text))
    read = _ROOTS.get(text[1:end])
    if read is None:
        raise reading.fail(f"there is no '{_shown(text[:end])}'", 0, suggestion(text[1:end], _KNOWN))
    return read(reading, end), reading.rules


# ---------------------------------------------------------------------------------------------------------------------
# One function per root; `at` is the position behind the root's name
# ---------------------------------------------------------------------------------------------------------------------


def _request(reading: _Reading, at: int) -> Expression:
    part, end = _part(reading, at)
    if part == "body":
        return nodes.Body("request", _tail(reading, end))
    if part in ("query", "path"):
        name = _rest(reading, end)
        return nodes.RequestParameter("query", name) if part == "query" else nodes.RequestParameter("path", name)
    return nodes.HeaderReference("request", _header(reading, part, end))


def _response(reading: _Reading, at: int) -> Expression:
    part, end = _part(reading, at)
    if part == "body":
        return nodes.Body("response", _tail(reading, end))
    return nodes.HeaderReference("response", _header(reading, part, end))


def _message(reading: _Reading, at: int) -> Expression:
    part, end = _part(reading, at)
    if part in ("payload", "body"):  # 1.0.0's grammar has `$message.body`
        return nodes.MessagePayload(_tail(reading, end))
    return nodes.HeaderReference("message", _header(reading, part, end))


def _inputs(reading: _Reading, at: int) -> Expression:
    name, tail = _name(reading, at, reading.scope.inputs if reading.scope else ())
    return nodes.InputReference(name, tail)


def _outputs(reading: _Reading, at: int) -> Expression:
    name, tail = _name(reading, at, ())
    return nodes.OutputReference(name, tail)


def _steps(reading: _Reading, at: int) -> Expression:
    known = reading.scope.steps if reading.scope else {}
    step_id, end = _holder(reading, at, known, ("outputs",), "$steps.<stepId>.outputs.<name>")
    if not reading.text.startswith(".outputs", end):
        if _SINGULAR.match(reading.text, end) and "output" not in known.get(step_id, ()):
            raise reading.fail("the part is called 'outputs'", end)
        reading.rules.append("implied-outputs")
    else:
        end += len(".outputs")
    name, tail = _name(reading, end, known.get(step_id, ()))
    return nodes.StepReference(step_id, name, tail)


def _workflows(reading: _Reading, at: int) -> Expression:
    known = {**reading.scope.foreign, **reading.scope.workflows} if reading.scope else {}
    form = "$workflows.<workflowId>.inputs|outputs.<name>"
    workflow_id, end = _holder(reading, at, known, ("inputs", "outputs"), form)
    inputs, outputs = known.get(workflow_id, (frozenset[str](), frozenset[str]()))
    if reading.text.startswith(".inputs", end):
        name, tail = _name(reading, end + len(".inputs"), inputs)
        return nodes.WorkflowReference(workflow_id, "inputs", name, tail)
    if not reading.text.startswith(".outputs", end):
        raise reading.fail(f"the form is {form}", end)
    name, tail = _name(reading, end + len(".outputs"), outputs)
    return nodes.WorkflowReference(workflow_id, "outputs", name, tail)


def _sources(reading: _Reading, at: int) -> Expression:
    rest = _rest(reading, at)
    known = reading.scope.sources if reading.scope else frozenset[str]()
    name = max((each for each in known if rest.startswith(each + ".")), key=len, default="")
    source = name or rest.partition(".")[0]
    reference = rest[len(source) + 1 :]
    if not source or not reference:
        raise reading.fail("the form is $sourceDescriptions.<name>.<reference>", at)
    return nodes.SourceReference(source, reference)


def _components(reading: _Reading, at: int) -> Expression:
    part, _, key = _rest(reading, at).partition(".")
    if not part or not key:
        raise reading.fail("the form is $components.<part>.<key>", at)
    return nodes.ComponentReference(part, key)


_ROOTS: Final[Mapping[str, Callable[[_Reading, int], Expression]]] = {
    "request": _request,
    "response": _response,
    "message": _message,
    "inputs": _inputs,
    "outputs": _outputs,
    "steps": _steps,
    "workflows": _workflows,
    "sourceDescriptions": _sources,
    "components": _components,
}
_PLAIN: Final[Mapping[str, Expression]] = {
    "$url": nodes.Plain("url"),
    "$method": nodes.Plain("method"),
    "$statusCode": nodes.Plain("statusCode"),
    "$self": nodes.Plain("self"),
}
_KNOWN: Final = (*_ROOTS, "url", "method", "statusCode", "self")


# ---------------------------------------------------------------------------------------------------------------------
# Parts of expressions
# ---------------------------------------------------------------------------------------------------------------------


def _part(reading: _Reading, at: int) -> tuple[str, int]:
    """Read `.body`, `.header` … and give it with the position behind it."""
    match = _IDENTIFIER.match(reading.text, at + 1) if reading.text.startswith(".", at) else None
    if match is None:
        raise reading.fail("a part such as '.body' or '.header.<name>' must follow", at)
    return match.group(), match.end()


def _header(reading: _Reading, part: str, at: int) -> str:
    if part not in ("header", "headers"):
        raise reading.fail(f"there is no part '{part}' here", at, suggestion(part, ("body", "header", "query", "path")))
    if part == "headers":
        reading.rules.append("plural-headers")
    name = _rest(reading, at)
    match = _HEADER_TOKEN.match(name)
    if match is None or match.end() != len(name):
        raise reading.fail("a header's name must follow", at)
    return name


def _rest(reading: _Reading, at: int) -> str:
    rest = reading.text[at + 1 :]
    if not reading.text.startswith(".", at) or not rest:
        raise reading.fail("a name must follow", at)
    return rest


def _holder(reading: _Reading, at: int, known: Collection[str], parts: tuple[str, ...], form: str) -> tuple[str, int]:
    """Read a stepId or workflowId: the longest known one, else what stands before the first part name."""
    text, start = reading.text, at + 1
    if not text.startswith(".", at) or start == len(text):
        raise reading.fail(f"the form is {form}", at)
    name = _longest(text, start, known)
    if name:
        return name, start + len(name)
    ends = [text.find(f".{part}", start) for part in parts]
    found = [end for end in ends if end > start]
    if not found:
        raise reading.fail(f"the form is {form}", start)
    return text[start : min(found)], min(found)


def _longest(text: str, start: int, names: Collection[str]) -> str:
    """Give the longest of the names that stands at `start` and ends where a name may end.

    There may be thousands of names, but only a few places where one could end.
    """
    if text[start:] in names:
        return text[start:]
    ends = [match.start() for match in _MAY_END.finditer(text, start)]
    return next((text[start:end] for end in reversed(ends) if text[start:end] in names), "")


def _name(reading: _Reading, at: int, declared: Collection[str]) -> tuple[str, Tail]:
    """Read `.name` and what follows it."""
    text = reading.text
    if at == len(text) or text[at] == "#":
        reading.rules.append("whole-object")
        return "", _tail(reading, at)
    start = at + 1
    if text[at] != "." or start == len(text):
        raise reading.fail("a name must follow", at)
    name = _longest(text, start, declared)
    if name:
        return name, _tail(reading, start + len(name))
    match = _IDENTIFIER.match(text, start)
    if match is not None and _tail_fits(reading, match.end()):
        return match.group(), _tail(reading, match.end())
    # The grammar of 1.0.x: a name may hold anything; only a JSON Pointer can end it.
    end = text.find("#/", start)
    if end < 0:
        return text[start:], ()
    if end == start:
        raise reading.fail("a name must follow", at)
    return text[start:end], _tail(reading, end)


def _tail_fits(reading: _Reading, at: int) -> bool:
    _, end = navigation(reading.text, at)
    return end == len(reading.text) or reading.text.startswith("#/", end) or reading.text[end:] == "#"


def _tail(reading: _Reading, at: int) -> Tail:
    text = reading.text
    steps, end = navigation(text, at)
    if steps:
        reading.rules.append("dotted-navigation")
    if end == len(text):
        return steps
    if text[end] != "#":
        raise reading.beyond(end)
    try:
        return (*steps, Pointer(pointer.tokens_of(text[end + 1 :])))
    except ValueError as error:
        raise reading.fail(str(error), end + 1) from None


def navigation(text: str, at: int) -> tuple[Tail, int]:
    """Read `.a`, `[0]`, `['a']`, `[*]` as far as they go; give them with the position behind them."""
    steps: list[Member | Index | Each | Pointer] = []
    while at < len(text) and len(steps) < _MOST_STEPS:
        step, end = _step(text, at)
        if step is None:
            break
        steps.append(step)
        at = end
    return tuple(steps), at


def _step(text: str, at: int) -> tuple[Member | Index | Each | None, int]:
    if text[at] == ".":
        end = at + 1
        while end < len(text) and (text[end] in MEMBER_CHARACTERS or text[end] >= "\x80"):
            end += 1
        return (Member(text[at + 1 : end]), end) if end > at + 1 else (None, at)
    if text.startswith("[*]", at):
        return Each(), at + 3
    match = _INDEX.match(text, at)
    if match:
        return Index(int(match.group(1))), match.end()
    if text[at : at + 2] in ("['", '["'):
        return _quoted(text, at)
    return None, at


def _quoted(text: str, at: int) -> tuple[Member | None, int]:
    quote, position, name = text[at + 1], at + 2, []
    while position < len(text):
        each = text[position]
        if each == "\\" and position + 1 < len(text):
            name.append(text[position + 1])
            position += 2
        elif each == quote:
            return (Member("".join(name)), position + 2) if text.startswith("]", position + 1) else (None, at)
        else:
            name.append(each)
            position += 1
    return None, at


def declared_extent(text: str, at: int, scope: Scope) -> int:
    """Give where an unquoted expression at `at` ends at least, when it uses a declared name with unusual characters.

    In 1.0.x names may hold spaces and operators (`$steps.Get Article.outputs.x`): only the declarations can tell.
    """
    for root, names in (("$inputs.", scope.inputs), ("$steps.", scope.steps), ("$workflows.", scope.workflows)):
        if text.startswith(root, at):
            start = at + len(root)
            end = start + len(_longest_odd(text, start, names))
            if root == "$steps." and end > start and text.startswith(".outputs.", end):
                outputs = end + len(".outputs.")
                name = _longest_odd(text, outputs, scope.steps[text[start:end]])
                return outputs + len(name)
            return end
    return at


def _longest_odd(text: str, start: int, names: Collection[str]) -> str:
    return max((name for name in names if text.startswith(name, start)), key=len, default="")


# ---------------------------------------------------------------------------------------------------------------------
# What does not exist
# ---------------------------------------------------------------------------------------------------------------------


def check(expression: Expression, scope: Scope, at: str = "") -> None:
    """Note a reference to something that is not declared: a warning for inputs and outputs, else an error."""
    _check_pointer(expression, scope, at)
    if isinstance(expression, nodes.InputReference):
        _check_name(expression, expression.name, scope.inputs, "input", "undeclared-input", scope, at)
    elif isinstance(expression, nodes.StepReference):
        if expression.step_id not in scope.steps:
            hint = suggestion(expression.step_id, scope.steps)
            scope.note("unknown-step", f"'{expression}': there is no step '{expression.step_id}'", "error", at, hint)
        else:
            _check_output(expression, scope, at)
    elif isinstance(expression, nodes.WorkflowReference):
        _check_workflow(expression, scope, at)
    elif isinstance(expression, nodes.SourceReference) and expression.source not in scope.sources:
        hint = suggestion(expression.source, scope.sources)
        message = f"'{expression}': there is no source description '{expression.source}'"
        scope.note("unknown-source", message, "error", at, hint)
    elif isinstance(expression, nodes.ComponentReference) and scope.components is not None:
        _check_component(expression, scope.components, scope, at)


_OPERATOR: Final = re.compile(r"\s(?:\|\||&&|[=!<>]=|[<>?+])\s")
_BRACKETS: Final = re.compile(r"[^\[]*\[([0-9]+|\*)\]|\*")


def _check_pointer(expression: Expression, scope: Scope, at: str) -> None:
    """Note what a JSON Pointer does not have: it is all names, so it would be taken for one."""
    tail: Tail = getattr(expression, "tail", ())
    for token in tail[-1].tokens if tail and isinstance(tail[-1], Pointer) else ():
        operator, brackets = _OPERATOR.search(token), _BRACKETS.fullmatch(token)
        if operator:
            message = f"'{expression}': '{token}' would be a name; an expression has no operators"
            hint = "write the expression alone; compare in a condition, where the value is used"
            scope.note("bad-expression", message, "error", at, hint)
        elif brackets:
            message = f"'{expression}': for a JSON Pointer '{token}' is a name, brackets and stars and all"
            hint = f"write /{brackets[1]} for an element" if (brackets[1] or "*") != "*" else "give the index, as in /0"
            scope.note("bad-expression", message, "warning", at, hint)


def _check_component(
    expression: nodes.ComponentReference, components: Mapping[str, Json], scope: Scope, at: str
) -> None:
    if expression.evaluate(Context(components=components)) is not MISSING:
        return
    part = components.get(expression.part)
    known = part if isinstance(part, Mapping) else {}
    whole = _longest(expression.key, 0, known)
    hint = suggestion(expression.key, known)
    if whole:
        hint = f"'$components.{expression.part}.{whole}' is the whole component; no expression leads into it"
    message = f"'{expression}': there is no component '{expression.part}.{expression.key}'"
    scope.note("unknown-component", message, "warning", at, hint)


def _check_output(expression: nodes.StepReference, scope: Scope, at: str) -> None:
    step_id, name = expression.step_id, expression.name
    known = scope.steps[step_id]
    if name in scope.nested.get(step_id, ()):
        what = f"'{expression}': step '{step_id}' declares no output '{name}'; that of the workflow it calls is taken"
        hint = f"declare it there: outputs: {{{name}: $outputs.{name}}}"
        scope.dialect("legacy-nested-outputs", what, at, hint, severity="note")
    if not name or name in known:
        return
    what = f"'{expression}': step '{step_id}' has no output '{name}'"
    meant = suggestion(name, known)
    if step_id not in scope.answering or meant.startswith("did you mean") or not _IDENTIFIER.fullmatch(name):
        scope.note("unknown-output", what, "warning", at, meant)
        return
    scope.implied.setdefault(step_id, set()).add(name)
    taken = f"; the member '{name}' of its answer is taken" if scope.allows("undeclared-output") else ""
    scope.dialect(
        "undeclared-output", what + taken, at, f"declare it there: outputs: {{{name}: $response.body#/{name}}}"
    )


def _check_workflow(expression: nodes.WorkflowReference, scope: Scope, at: str) -> None:
    known = scope.workflows.get(expression.workflow_id)
    if known is None and expression.workflow_id in scope.foreign:
        known = scope.foreign[expression.workflow_id]
        message = f"'{expression}': the workflow '{expression.workflow_id}' stands in another document"
        hint = "declare it as an output of the step that calls it: $outputs.<name>, then $steps.<stepId>.outputs.<name>"
        scope.dialect("foreign-workflow-name", message, at, hint)
    if known is None:
        hint = suggestion(expression.workflow_id, scope.workflows)
        message = f"'{expression}': there is no workflow '{expression.workflow_id}'"
        scope.note("unknown-workflow", message, "error", at, hint)
        return
    kind, names = ("input", known[0]) if expression.part == "inputs" else ("output", known[1])
    what = f"workflow '{expression.workflow_id}' has no {kind}"
    _check_name(expression, expression.name, names, what, "unknown-output", scope, at)


def _check_name(
    expression: Expression, name: str, known: Collection[str], what: str, rule: str, scope: Scope, at: str
) -> None:
    if not name or name in known:
        return
    claim = "no such input is declared" if what == "input" else f"{what} '{name}'"
    scope.note(rule, f"'{expression}': {claim}", "warning", at, suggestion(name, known))
