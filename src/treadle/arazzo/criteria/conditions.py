"""Boolean conditions: the shape that `simple` criteria and the dialect rule `jsonpath-comparison` share.

::

    condition   = or
    or          = and *( "||" and )
    and         = not *( "&&" not )
    not         = "!" not / "(" or ")" / comparison / operand
    comparison  = operand ( "==" / "!=" / "<=" / ">=" / "<" / ">" ) operand      ; comparisons do not chain

That is the grammar of the reference's §1.13.2; `!` before an operand of a comparison negates the comparison's result
only in parentheses, as `!` binds tighter. What an operand is, how strings are quoted and how values compare is the
`Dialect`'s business. Evaluation explains itself: each node adds a line to `reasons`, also where `&&` and `||` leave
the rest out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import msgspec

from treadle.arazzo.criteria.verdict import ConditionError
from treadle.arazzo.expressions import Context
from treadle.arazzo.expressions.parse import LONGEST
from treadle.arazzo.expressions.text import brief
from treadle.seams import Json, Missing

__all__ = ["Compare", "Condition", "Dialect", "Literal", "Operand", "Token", "parse_condition", "tokens", "truthy"]

DEEPEST: Final = 50
"""Parentheses and negations that may stand in each other."""


class Operand(Protocol):
    """Something that has a value when a condition is judged. `data` is the criterion's context value."""

    @property
    def text(self) -> str: ...  # noqa: D102

    def value(self, context: Context, data: Json) -> Json | Missing:
        """Give the value to compare. Raises `EvaluationError`."""
        ...

    def holds(self, context: Context, data: Json) -> tuple[bool, str]:
        """Tell what the operand alone means as a condition, and how it reads. Raises `EvaluationError`."""
        ...


Compare: TypeAlias = Callable[[str, "Json | Missing", "Json | Missing"], tuple[bool, str]]
"""(operator, left, right) → the result, and a remark about what made it so ("" for nothing worth saying)."""


@dataclass(slots=True)
class Dialect:
    """What differs between kinds of conditions.

    `read` reads an operand that begins at a position with `$`, `{` or a function's name, and gives it with the
    position behind it; None where there is none.
    """

    read: Callable[[str, int], tuple[Operand, int] | None]
    compare: Compare
    doubled_quotes: bool
    """Whether `''` inside quotes is a quote (Arazzo), or backslashes escape (JSONPath)."""
    found: Callable[[str, str], None]
    """Told about dialect rules: their name and the text."""
    quoted: Callable[[str, str], Operand | None] | None = None
    """May make an operand of a string literal (text, content)."""
    likely: Callable[[str], str] | None = None
    """Gives the operand that a word probably means, "" for none."""


# ---------------------------------------------------------------------------------------------------------------------
# Nodes
# ---------------------------------------------------------------------------------------------------------------------


class Condition(Protocol):
    """A node. `text` is its source."""

    @property
    def text(self) -> str: ...  # noqa: D102

    def judge(self, context: Context, data: Json, reasons: list[str]) -> bool:
        """Judge, and add the reasons. Raises `EvaluationError`."""
        ...


class Literal(msgspec.Struct, frozen=True):
    """A constant operand."""

    text: str
    constant: Json

    def value(self, context: Context, data: Json) -> Json | Missing:  # noqa: ARG002, D102  (protocol)
        return self.constant

    def holds(self, context: Context, data: Json) -> tuple[bool, str]:  # noqa: ARG002, D102  (protocol)
        return truthy(self.constant), "a constant"


class _Test(msgspec.Struct, frozen=True):
    text: str
    operand: Operand

    def judge(self, context: Context, data: Json, reasons: list[str]) -> bool:
        passed, reading = self.operand.holds(context, data)
        reasons.append(f"{self.text}: {reading}, so it {'holds' if passed else 'does not hold'}")
        return passed


class _Comparison(msgspec.Struct, frozen=True):
    text: str
    left: Operand
    operator: str
    right: Operand
    compare: Compare

    def judge(self, context: Context, data: Json, reasons: list[str]) -> bool:
        left, right = self.left.value(context, data), self.right.value(context, data)
        passed, remark = self.compare(self.operator, left, right)
        verdict = "true" if passed else "false"
        reasons.append(
            f"{self.text}: {brief(left)} {self.operator} {brief(right)} is {verdict}{remark and f' ({remark})'}"
        )
        return passed


class _Not(msgspec.Struct, frozen=True):
    text: str
    inner: Condition

    def judge(self, context: Context, data: Json, reasons: list[str]) -> bool:
        return not self.inner.judge(context, data, reasons)


class _Chain(msgspec.Struct, frozen=True):
    """`&&` (ends at the first false) or `||` (ends at the first true)."""

    text: str
    operator: str
    parts: tuple[Condition, ...]
    ends_with: bool

    def judge(self, context: Context, data: Json, reasons: list[str]) -> bool:
        for index, part in enumerate(self.parts):
            if part.judge(context, data, reasons) is self.ends_with:
                left_out = self.parts[index + 1 :]
                if left_out:
                    verdict = "true" if self.ends_with else "false"
                    rest = f" {self.operator} ".join(each.text for each in left_out)
                    reasons.append(f"{rest}: not looked at, since what stands before '{self.operator}' is {verdict}")
                return self.ends_with
        return not self.ends_with


def truthy(value: Json | Missing) -> bool:
    """Tell whether a bare operand passes: not for missing, null, false, 0 and ""; empty arrays and objects do."""
    return value is not None and (bool(value) or isinstance(value, (list, dict)))


# ---------------------------------------------------------------------------------------------------------------------
# Parsing
# ---------------------------------------------------------------------------------------------------------------------

_SPACE: Final = re.compile(r"\s*")
_OPERATOR: Final = re.compile(r"===|!==|==|!=|<>|<=|>=|<|>|=~|=")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?\Z")
_WORD: Final = re.compile(r"[^\s()<>=!&|,'\"${}\[\]]+")
_FOREIGN_SIGN: Final = re.compile(r"~=|[~&|,*+/%?\[-]")
_MORE_WORDS: Final = re.compile(r"(?:[ \t]+[^\W\d][\w'-]*)+(?=\s*\Z)")
_CONSTANTS: Final[dict[str, Json]] = {"true": True, "false": False, "null": None}
_CALLED: Final[dict[str, Json]] = {**_CONSTANTS, **dict.fromkeys(("none", "nil", "undefined"))}
"""What other languages call the constants, in any case."""
_WITHOUT_ZERO: Final = re.compile(r"(-?)(\.[0-9]{1,300}(?:[eE][+-]?[0-9]{1,3})?)\Z")
_OWN: Final = {"=": "==", "===": "==", "!==": "!=", "<>": "!=", "and": "&&", "or": "||", "&": "&&", "|": "||"}
"""What other languages call the operators, and what they are called here."""
_PATTERNS: Final = "a pattern, or a part of a text, needs a criterion of type regex, with a context"
_FOREIGN: Final = {
    **dict.fromkeys(("=~", "~=", "~", "contains", "matches", "like", "startswith", "endswith"), _PATTERNS),
    **dict.fromkeys(("in", ","), "compare with each, and join the comparisons with '||'"),
    **dict.fromkeys(("is", "exists"), "write '== null' or '!= null'"),
    **dict.fromkeys("*+-/%?", "conditions do not calculate: they compare one value with another"),
    "[": "no value is a list: compare with each value, joined with '||'; the number of elements is .length",
    "not": "write '!' before an operand or a parenthesis, '!=' to compare",
}
"""What other languages have, and Arazzo says otherwise."""
_FUNCTIONS: Final = {
    **dict.fromkeys(("length", "len", "count", "size"), "write .length behind the value"),
    **dict.fromkeys(("exists", "defined", "isset", "notnull"), "write '!= null' behind the value"),
    **dict.fromkeys(("contains", "matches", "match", "startswith", "endswith", "regex"), _PATTERNS),
}
"""What functions of other languages are here."""
_ANY: Final = "write an expression such as $response.body#/…, or a text in single quotes"


def parse_condition(text: str, dialect: Dialect) -> Condition:
    """Parse a whole condition. Raises `ConditionError`."""
    if len(text) > LONGEST:
        raise ConditionError(f"the condition is longer than {LONGEST} characters", position=LONGEST)
    parser = _Parser(text, dialect)
    found = parser.either(0)
    if parser.at < len(text):
        raise parser.unexpected()
    return found


class Token(msgspec.Struct, frozen=True):
    """A piece of a condition, for tools that rewrite.

    `content` is that of a string, unquoted; a constant as Arazzo has it; else the text.
    `kind`: "operand" (an expression, a query), "string", "value" (a constant, a number), "constant" (one that other
    languages have), "word" (a text without quotes), "comparison", "other" (parentheses, `!`, `&&`, `||`).
    """

    kind: str
    start: int
    end: int
    content: str


def tokens(text: str, extent: Callable[[str, int], int | None], *, doubled_quotes: bool) -> list[Token]:
    """Split a condition that can be parsed. `extent` gives where an operand that begins at a position ends, or None."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        end = extent(text, at)
        operator = _OPERATOR.match(text, at)
        word = _WORD.match(text, at)
        content = None
        if end is not None:
            kind = "operand"
        elif text[at] in "'\"":
            content, end = _string(text, at, doubled=doubled_quotes and text[at] == "'")
            kind = "string"
        elif operator:
            kind, end = "comparison", operator.end()
        elif word:
            kind, end = "word", word.end()
            if word.group() in _CONSTANTS or _NUMBER.match(word.group()):
                kind = "value"
            elif foreign := _as_here(word.group()):
                kind, content = "constant", foreign
        else:
            kind, end = "other", at + (2 if text[at] in "&|" else 1)
        found.append(Token(kind, at, end, text[at:end] if content is None else content))
        at = end
    return found


def _as_here(word: str) -> str:
    """Give a constant of other languages as Arazzo has it (number = int [frac] [exp], §1.13.2), "" for other words."""
    if word.lower() in _CALLED:
        return json.dumps(_CALLED[word.lower()])
    return _WITHOUT_ZERO.sub(r"\g<1>0\2", word) if _WITHOUT_ZERO.match(word) else ""


@dataclass(slots=True)
class _Parser:
    text: str
    dialect: Dialect
    at: int = field(default=0)

    def skip(self) -> int:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def take(self, token: str) -> bool:
        self.skip()
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def source(self, start: int) -> str:
        return self.text[start : self.at].strip()

    def unexpected(self) -> ConditionError:
        self.skip()
        rest = self.text[self.at :]
        if not rest:
            return ConditionError("the condition ends where an operand should stand", position=self.at)
        if rest[0] in "()":
            return ConditionError(f"'{rest[0]}' has no partner, and conditions have no functions", position=self.at)
        foreign = _OPERATOR.match(rest) or _FOREIGN_SIGN.match(rest) or _WORD.match(rest)
        written = foreign.group() if foreign else ""
        own = _OWN.get(written.lower(), "")
        hint = f"write '{own}'{' to compare' if written == '=' else ''}" if own else _FOREIGN.get(written.lower(), "")
        instead = self.text[: self.at] + own + rest[len(written) :] if own else ""
        shown = rest if len(rest) <= 30 else rest[:30] + "…"
        return ConditionError(f"'{shown}' cannot stand here", position=self.at, hint=hint, instead=instead)

    def either(self, depth: int) -> Condition:
        return self.chain("||", self.both, depth, ends_with=True)

    def both(self, depth: int) -> Condition:
        return self.chain("&&", self.negation, depth, ends_with=False)

    def chain(self, operator: str, part: Callable[[int], Condition], depth: int, *, ends_with: bool) -> Condition:
        start = self.skip()
        parts = [part(depth)]
        while self.take(operator):
            parts.append(part(depth))
        return parts[0] if len(parts) == 1 else _Chain(self.source(start), operator, tuple(parts), ends_with)

    def negation(self, depth: int) -> Condition:
        if depth >= DEEPEST:
            raise ConditionError(f"the condition is nested more than {DEEPEST} levels deep", position=self.at)
        start = self.skip()
        if self.text.startswith("!", start) and not self.text.startswith("!=", start):
            self.at += 1
            # `!` binds tighter than a comparison: of `!$a == 1` only `!$a` could be meant, which has no value here.
            inner = self.negated(depth + 1)
            return _Not(self.source(start), inner)
        if self.take("("):
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise self.unexpected() if self.skip() < len(self.text) else _unclosed(start)
            self.unchained("parentheses hold conditions, which cannot be compared")
            return inner
        return self.comparison()

    def negated(self, depth: int) -> Condition:
        start = self.skip()
        if self.text[start : start + 1] in ("!", "("):
            return self.negation(depth)
        operand = self.operand(right=False)
        self.unchained("'!' binds tighter than a comparison: put the comparison in parentheses")
        return _Test(operand.text, operand)

    def comparison(self) -> Condition:
        start = self.skip()
        left = self.operand(right=False)
        operator = self.operator()
        if not operator:
            return _Test(self.source(start), left)
        right = self.operand(right=True)
        self.unchained("comparisons do not chain: join them with '&&'")
        return _Comparison(self.source(start), left, operator, right, self.dialect.compare)

    def operator(self) -> str:
        match = _OPERATOR.match(self.text, self.skip())
        if match is None:
            return ""
        if match.group() in _OWN or match.group() in _FOREIGN:
            raise self.unexpected()
        self.at = match.end()
        return match.group()

    def unchained(self, hint: str) -> None:
        if _OPERATOR.match(self.text, self.skip()):
            raise ConditionError(
                f"a second comparison cannot follow '{self.source(0)[-60:]}'", position=self.at, hint=hint
            )

    def operand(self, *, right: bool) -> Operand:
        start = self.skip()
        first = self.text[start : start + 1]
        if first in ("'", '"') and first:
            return self.string(first)
        read = self.dialect.read(self.text, start)
        if read is not None:
            self.at = read[1]
            return read[0]
        match = _WORD.match(self.text, start)
        if match is None:
            raise self.unexpected()
        self.at = match.end()
        return self.word(match.group(), start, right=right)

    def word(self, word: str, start: int, *, right: bool) -> Operand:
        if word in _CONSTANTS:
            return Literal(word, _CONSTANTS[word])
        if _NUMBER.match(word):
            return Literal(word, json.loads(word))
        if foreign := _as_here(word):
            self.dialect.found("foreign-constant", word)
            return Literal(word, json.loads(foreign))
        if self.text.startswith("(", self.at) and word.lower() not in ("and", "or", "not"):
            hint = _FUNCTIONS.get(word.lower().replace("_", ""), "")
            message = f"conditions have no functions, and '{word}(' looks like one"
            raise ConditionError(message, position=start, hint=hint)
        if not right or word.lower() in ("and", "or", "not"):
            message = f"'{word}' is neither an expression nor a value"
            likely = self.dialect.likely(word) if self.dialect.likely else ""
            if likely:
                instead = self.text[:start] + likely + self.text[self.at :]
                raise ConditionError(message, position=start, hint=f"did you mean {likely}?", instead=instead)
            own = _OWN.get(word.lower())
            hint = f"write '{own}'" if own else _FOREIGN.get(word.lower(), _ANY)
            raise ConditionError(message, position=start, hint=hint)
        more = _MORE_WORDS.match(self.text, self.at)
        if more is not None and more.group().lower().split()[0] not in ("and", "or"):
            text = f"{word}{more.group()}"
            quoted = "'" + text.replace("'", "''") + "'"
            message = f"'{text}' is a text of several words, without quotes"
            raise ConditionError(
                message, position=start, hint=f"write {quoted}", instead=f"{self.text[:start]}{quoted}"
            )
        self.dialect.found("bare-word", word)
        return Literal(word, word)

    def string(self, quote: str) -> Operand:
        start = self.at
        content, self.at = _string(self.text, start, doubled=self.dialect.doubled_quotes and quote == "'")
        source = self.text[start : self.at]
        if quote == '"' and self.dialect.doubled_quotes:
            self.dialect.found("double-quoted-string", source)
        made = self.dialect.quoted(source, content) if self.dialect.quoted and "{$" in content else None
        return made or Literal(source, content)


def _unclosed(start: int) -> ConditionError:
    return ConditionError("a parenthesis is not closed", position=start)


_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _string(text: str, start: int, *, doubled: bool) -> tuple[str, int]:
    """Read a string literal that begins at `start`; give its content and the position behind it."""
    quote, position = text[start], start + 1
    parts: list[str] = []
    while position < len(text):
        each = text[position]
        if each == quote:
            if not (doubled and text.startswith(quote, position + 1)):
                return "".join(parts), position + 1
            position += 1
        elif each == "\\" and not doubled and position + 1 < len(text):
            position += 1
            each, position = _escaped(text, position)
        parts.append(each)
        position += 1
    raise ConditionError("a string is not closed", position=start)


def _escaped(text: str, position: int) -> tuple[str, int]:
    each = text[position]
    if each == "u" and re.match(r"[0-9A-Fa-f]{4}", text[position + 1 : position + 5]):
        code = int(text[position + 1 : position + 5], 16)
        low = re.match(r"\\u([dD][c-fC-F][0-9A-Fa-f]{2})", text[position + 5 : position + 11])
        if 0xD800 <= code < 0xDC00 and low:
            return chr(0x10000 + ((code - 0xD800) << 10) + int(low.group(1), 16) - 0xDC00), position + 10
        return chr(code), position + 4
    return _ESCAPES.get(each, each), position
