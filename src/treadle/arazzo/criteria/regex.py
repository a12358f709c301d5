"""Criteria of type `regex`: the pattern is searched in the context, on RE2, whose time is linear.

RE2 has neither look-around nor back references: a pattern that uses them is refused while compiling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

from treadle.arazzo.criteria.substitution import Substituted, find_plain
from treadle.arazzo.criteria.verdict import ConditionError, Verdict, look
from treadle.arazzo.expressions import Context, EvaluationError, Expression, Scope, text_of
from treadle.arazzo.expressions.text import brief
from treadle.seams import MISSING, Json

__all__ = ["Regex", "compile_pattern", "compile_regex", "slashed"]

LONGEST: Final = 10_000
"""Characters that a pattern may have."""

_LACKING: Final = (
    (re.compile(r"\(\?<?[=!]"), "look-around, '{}'"),
    (re.compile(r"\\[1-9]|\\k<|\(\?P="), "back references, '{}'"),
    (re.compile(r"\(\?>"), "atomic groups, '{}'"),
    (re.compile(r"[*+?}]\+"), "possessive quantifiers, '{}'"),
    (re.compile(r"\(\?\("), "conditional groups, '{}'"),
    (re.compile(r"\{[0-9]{4,}|\{[0-9]*,[0-9]{4,}"), "repetitions beyond 1000, '{}'"),
)
# `/^…$/i`: by the letter the slashes belong to the pattern, which can then never match anything.
_SLASHED: Final = re.compile(r"/(\^.*|.*\$)/([gimsu]*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Regex:
    """A compiled pattern with its context."""

    kind: ClassVar[str] = "regex"
    condition: str
    context: Expression
    pattern: Substituted
    rules: tuple[str, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The context and what is substituted."""
        return (self.context, *self.pattern.expressions)

    def judge(self, context: Context) -> Verdict:
        """Judge; never raises. A missing or null context does not pass."""
        try:
            value = look(self.context, context)
            if value is MISSING or value is None:
                return self.verdict(
                    passed=False, reason=f"{self.context} is {'missing' if value is MISSING else 'null'}"
                )
            text = self.pattern.fill(context) if self.pattern.places else self.pattern.text
            passed = bool(compile_pattern(text).search(_subject(value)))
        except (EvaluationError, ConditionError) as error:
            return Verdict(passed=False, problem=error.message, rules=self.rules, condition=self.condition)
        return self.verdict(
            passed=passed, reason=f"/{text}/ {'matches' if passed else 'does not match'} {brief(value)}"
        )

    def verdict(self, *, passed: bool, reason: str) -> Verdict:
        """Give the verdict with its one reason."""
        return Verdict(passed=passed, reasons=(reason,), rules=self.rules, condition=self.condition)


def _subject(value: Json) -> bytes:
    # Bytes: RE2 works on UTF-8, and a lone surrogate, which UTF-8 has no form for, becomes a replacement character.
    return text_of(value).encode("utf-8", "replace")


def compile_regex(condition: str, context: Expression, scope: Scope) -> Regex:
    """Compile. Raises `ConditionError`."""
    rules: tuple[str, ...] = ()
    text = condition
    meant = slashed(condition)
    if meant is not None and scope.allows("slashed-pattern"):
        text, rules = meant, ("slashed-pattern",)
    if meant is not None:
        message = "the slashes are JavaScript's way to write a pattern; as a pattern they could never match"
        scope.dialect("slashed-pattern", message, hint=f"write {meant}")
    pattern = find_plain(text, scope)
    if not pattern.places:
        compile_pattern(text)
    return Regex(condition, context, pattern, rules)


def slashed(condition: str) -> str | None:
    """Give the pattern between JavaScript's slashes, with its flags; None for any other pattern."""
    match = _SLASHED.match(condition)
    if match is None:
        return None
    flags = "".join(sorted(set(match.group(2)) & set("ims")))
    return f"(?{flags}){match.group(1)}" if flags else match.group(1)


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Any:
    """Compile a pattern for RE2. Raises `ConditionError`, which says what RE2 lacks."""
    import re2  # 10 ms, only for documents with patterns

    if len(text) > LONGEST:
        raise ConditionError(f"the pattern is longer than {LONGEST} characters", position=LONGEST)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(text.encode(), options)
    except UnicodeEncodeError:
        raise ConditionError("the pattern holds half of a surrogate pair, which is no character") from None
    except re2.error as error:
        for construct, name in _LACKING:
            found = construct.search(text)
            if found:
                what = name.format(found.group())
                raise ConditionError(
                    f"the pattern needs {what}, which the engine (RE2) does not have",
                    position=found.start(),
                    hint="patterns of documents run on an engine with linear time; rewrite it without that",
                ) from None
        said = error.args[0] if error.args else ""
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ConditionError(f"the pattern is wrong: {reason}") from None
