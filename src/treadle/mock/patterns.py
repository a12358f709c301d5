"""A text for a regular expression: what a `pattern` or a criterion of type regex wants to see.

The generator takes the shortest way: the first alternative, the fewest repetitions, the first member of a class. It
knows the common core of the dialects in use (ECMA 262, Python, RE2); what it does not know it gives up on. Nothing is
believed: the caller, or `matching` itself, tries the text against the pattern on RE2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

__all__ = ["compiled", "matching"]

_LONGEST: Final = 2000
_CLASSES: Final = {"d": "0123456789", "w": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", "s": " "}
_CONTROL: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
# The first of these that a negated class allows stands for it.
_COMMON: Final = "axA0z1-_ .:/b2B!#%&*+,;=?@~$'\"()[]{}<>|\\^`é\n"
_POSIX: Final = {"alpha": "a", "digit": "0123456789", "alnum": "a0", "lower": "a", "upper": "A", "xdigit": "a0"}


class _Unknown(Exception):  # noqa: N818  (never leaves this module)
    pass


@lru_cache(maxsize=512)
def matching(pattern: str, *, shortest: int = 0, longest: int | None = None) -> str | None:
    """Give a text in which the pattern is found, of a length between the two; None where none was found.

    >>> matching("^arn:aws[a-z-]*:sagemaker:.{2,5}$")
    'arn:aws:sagemaker:aa'
    """
    found = compiled(pattern)
    for extra in (0, 1, max(0, shortest - 1), shortest):
        try:
            text = _Reader(pattern, extra).whole()
        except (_Unknown, IndexError, ValueError):
            return None
        for made in (text, text.ljust(shortest, "a"), text.rjust(shortest, "a")):
            fits = shortest <= len(made) <= (_LONGEST if longest is None else longest)
            if fits and found is not None and found.search(made.encode()):
                return made
    return None


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """Give the pattern as RE2 has it, matching bytes; None where RE2 does not know it."""
    import re2  # 10 ms, only for descriptions with patterns

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern.encode(), options)
    except (re2.error, UnicodeEncodeError):
        return None


@dataclass(slots=True)
class _Reader:
    """Reads a pattern and writes a text at the same time. `extra` is how often an unbounded repetition goes on."""

    text: str
    extra: int
    at: int = field(default=0)

    def whole(self) -> str:
        found = self.either()
        if self.at < len(self.text):
            raise _Unknown
        return found

    def either(self) -> str:
        first = self.sequence()
        while self.take("|"):
            self.sequence()
        return first

    def sequence(self) -> str:
        parts: list[str] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            each = self.one()
            least = self.times()
            parts.append(each * least)
            if sum(map(len, parts)) > _LONGEST:
                raise _Unknown
        return "".join(parts)

    def take(self, token: str) -> bool:
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def one(self) -> str:
        each = self.text[self.at]
        self.at += 1
        if each in "^$":
            return ""
        if each == ".":
            return "a"
        if each == "(":
            return self.group()
        if each == "[":
            return self.members()
        if each == "\\":
            return self.escaped()
        return each

    def times(self) -> int:
        least = 1
        counted = re.compile(r"\{(\d+)(,(\d*))?\}").match(self.text, self.at)
        if counted:
            self.at = counted.end()
            least, open_ended = int(counted[1]), counted[2] is not None
            most = int(counted[3]) if counted[3] else None
            if open_ended:
                least = max(least, self.extra if most is None else min(self.extra, most))
            if least > 1000:
                raise _Unknown
        elif self.take("*"):
            least = self.extra
        elif self.take("+"):
            least = max(1, self.extra)
        elif self.take("?"):
            least = 0
        else:
            return 1
        self.take("?")
        return least

    def group(self) -> str:
        if self.take("?"):
            flags = re.compile(r"[imsUu-]+([:)])").match(self.text, self.at)
            named = re.compile(r"P?<[A-Za-z_]\w*>").match(self.text, self.at)
            if flags:
                self.at = flags.end()
                if flags[1] == ")":
                    return ""
            elif named:
                self.at = named.end()
            elif not self.take(":"):
                raise _Unknown
        inner = self.either()
        if not self.take(")"):
            raise _Unknown
        return inner

    def escaped(self) -> str:
        each = self.text[self.at]
        self.at += 1
        if each in _CLASSES:
            return _CLASSES[each][0]
        if each in "DWS":
            return {"D": "a", "W": "-", "S": "a"}[each]
        if each in "bBAzZ":
            return ""
        return self.character(each)

    def character(self, each: str) -> str:
        if each in _CONTROL:
            return _CONTROL[each]
        if each in "xu":
            digits = re.compile(r"\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2})").match(self.text, self.at)
            if digits is None:
                raise _Unknown
            taken = digits[1] or (digits[2] if each == "u" and digits[2] else self.text[self.at : self.at + 2])
            self.at = digits.end() if digits[1] else self.at + len(taken)
            return chr(int(taken, 16))
        if each in "pP":
            self.take(self.text[self.at : self.text.index("}", self.at) + 1])
            return "a" if each == "p" else "0"
        if each.isalnum():
            raise _Unknown
        return each

    def members(self) -> str:
        """Read a class; give its first member, or a common character that a negated one allows."""
        negated = self.take("^")
        found: list[tuple[str, str]] = []
        first = True
        while first or self.text[self.at] != "]":
            first = False
            posix = re.compile(r"\[:(\w+):\]").match(self.text, self.at)
            if posix:
                self.at = posix.end()
                found += [(each, each) for each in _POSIX.get(posix[1], "a")]
                continue
            low = self.member()
            if len(low) == 1 and self.text[self.at] == "-" and self.text[self.at + 1] != "]":
                self.at += 1
                high = self.member()
                found.append((low, high[-1]))
            else:
                found += [(each, each) for each in low]
        self.at += 1
        if not negated:
            return _pleasant(found)
        return next(each for each in _COMMON if not any(low <= each <= high for low, high in found))

    def member(self) -> str:
        each = self.text[self.at]
        self.at += 1
        if each != "\\":
            return each
        each = self.text[self.at]
        self.at += 1
        if each in _CLASSES:
            return _CLASSES[each]
        if each in "DWS":
            return "a" if each != "W" else "-"
        return self.character(each)


def _pleasant(found: list[tuple[str, str]]) -> str:
    """Give a letter or digit where the class has one: it offends nobody."""
    for each in "aA0bB1":
        if any(low <= each <= high for low, high in found):
            return each
    return found[0][0]
