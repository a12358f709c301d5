"""`--expect`: a condition on a workflow's outputs that decides the exit code.

It is an Arazzo `simple` condition in which outputs may be named bare: `trainingJobStatus == "Completed"` means
`$outputs.trainingJobStatus == 'Completed'`. A word that is neither an output nor in quotes is refused before anything
is sent: it is a typing mistake, and a condition with a typing mistake would only ever be false.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treadle.arazzo.criteria import Criterion, Verdict, compile_criterion
from treadle.arazzo.expressions import Context, Scope
from treadle.errors import UsageError
from treadle.seams import Json

__all__ = ["Expectation", "expectations"]

_TOKEN: Final = re.compile(
    r"""
    (?P<text>'(?:[^']|'')*'|"[^"]*")
  | (?P<rooted>\$[^\s()!=<>&|]+)
  | (?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<word>[^\W\d][\w-]*(?:\.[\w-]+|\[[^\]]*\])*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LITERALS: Final = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """A compiled expectation; `text` as the user wrote it."""

    text: str
    criterion: Criterion

    def judge(self, outputs: Mapping[str, Json]) -> Verdict:
        """Judge it by a run's outputs."""
        return self.criterion.judge(Context(outputs=outputs))

    def missed(self, shown: Mapping[str, Json]) -> str:
        """Say why it does not hold, in the words in which it was given; `shown` are the outputs without secrets."""
        verdict = self.judge(shown)
        reasons = [each.removeprefix(f"{self.criterion.condition}: ") for each in verdict.reasons]
        because = verdict.problem or ", ".join(each.replace("$outputs.", "") for each in reasons)
        return f"--expect {self.text!r} does not hold: {because}"


def expectations(texts: Sequence[str], outputs: Collection[str]) -> list[Expectation]:
    """Compile expectations on a workflow that declares these outputs. Raises `UsageError`."""
    return [_compiled(text, outputs) for text in texts]


def _compiled(text: str, outputs: Collection[str]) -> Expectation:
    condition = "".join(_tokens(text, outputs))
    scope = Scope()
    criterion = compile_criterion(condition, scope)
    for note in scope.notes:
        if note.severity == "error":
            raise UsageError(f"--expect {text!r}: {note.message}.", hint=note.hint or _FORM)
    return Expectation(text, criterion)


_FORM: Final = "Write for example --expect 'trainingJobStatus == \"Completed\"'."


def _tokens(text: str, outputs: Collection[str]) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match[0]
        match match.lastgroup:
            case "text":
                # Arazzo's strings have single quotes, and shells like the double ones.
                yield token if token[0] == "'" else "'" + token[1:-1].replace("'", "''") + "'"
            case "rooted":
                _known(token.removeprefix("$outputs."), token, text, outputs)
                yield token
            case "word" if token not in _LITERALS:
                _known(token, token, text, outputs)
                yield f"$outputs.{token}"
            case _:
                yield token


def _known(name: str, token: str, text: str, outputs: Collection[str]) -> None:
    """Raise `UsageError` unless the name is an output, or leads into one."""
    head = re.split(r"[.\[#]", name, maxsplit=1)[0]
    if (
        name in outputs
        or head in outputs
        or any(name.startswith((f"{each}.", f"{each}[", f"{each}#")) for each in outputs)
    ):
        return
    close = difflib.get_close_matches(head, outputs, n=1)
    names = ", ".join(outputs) or "none"
    raise UsageError(
        f"--expect {text!r}: {token} is no output of the workflow.",
        hint=f"Did you mean {close[0]}?" if close else f"Its outputs are: {names}. Texts stand in quotes.",
    )
