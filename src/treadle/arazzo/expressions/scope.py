"""What an expression can see: statically (`Scope`, while compiling) and in a run (`Context`, while evaluating)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import ClassVar, TypeAlias

import msgspec

from treadle.arazzo.slips import did_you_mean
from treadle.errors import Severity, TreadleError
from treadle.seams import MISSING, Answer, Json, Missing, Request

__all__ = [
    "Context",
    "EvaluationError",
    "ExpressionError",
    "Note",
    "Remarks",
    "Scope",
    "suggestion",
]

Remarks: TypeAlias = "list[tuple[str, str]]"
"""What was left out of a value: the rule, and a sentence."""


class ExpressionError(TreadleError):
    """A text is no runtime expression; `position` counts characters from 0.

    `meant` is the expression that its author probably had in mind, "" where nobody can tell; `declared` says whether
    what that one names is there.
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self, message: str, *, position: int = 0, hint: str = "", meant: str = "", declared: bool = False
    ) -> None:
        super().__init__(message, hint=f"did you mean {meant}?" if meant else hint)
        self.position = position
        self.meant = meant
        self.declared = declared


class EvaluationError(TreadleError):
    """An expression has no usable value in this run.

    `expression` is its text, `missing` what was not there ("the input 'apiKey'"), "" when that is not the reason.
    """

    def __init__(self, message: str, *, expression: str = "", missing: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.expression = expression
        self.missing = missing


class Context(msgspec.Struct, gc=False):
    """What expressions can see at one moment of a run; cheap, built anew for each evaluation.

    `steps` gives each finished step's outputs, `workflows` each finished workflow's `{"inputs": …, "outputs": …}`,
    `outputs` what `$outputs.x` means here, `sources` the fields of the source descriptions, `method` that of the
    request that is being made. Names that have no value are absent: that is the missing value, which is not null.
    """

    inputs: Mapping[str, Json] = {}
    steps: Mapping[str, Mapping[str, Json]] = {}
    workflows: Mapping[str, Mapping[str, Mapping[str, Json]]] = {}
    outputs: Mapping[str, Json] = {}
    sources: Mapping[str, Mapping[str, Json]] = {}
    components: Mapping[str, Json] = {}
    self_uri: str = ""
    method: str = ""
    request: Request | None = None
    request_body: Json | Missing = MISSING
    path_parameters: Mapping[str, Json] = {}
    response: Answer | None = None
    message: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A finding while compiling. `rule` names a dialect rule or a check; `pointer` leads into the compiled value.

    `instead` is the text that should stand there, where one is certain.
    """

    rule: str
    message: str
    severity: Severity
    pointer: str = ""
    hint: str = ""
    instead: str = ""


@dataclass(slots=True)
class Scope:
    """What is known before the run: declared names, the version, and which dialect rules are allowed.

    `inputs` are the declared input names, `steps` each stepId's output names (for a workflow step those of the nested
    workflow too), `workflows` each workflowId's input and output names, `foreign` the same of workflows in other
    documents that are called or depended on. `off` lists dialect rules that are switched
    off, `strict` switches all of them off: using one is then an error. Compiling appends to `notes`.
    """

    version: str = "1.0.1"
    inputs: frozenset[str] = frozenset()
    steps: Mapping[str, frozenset[str]] = field(default_factory=dict)
    workflows: Mapping[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()
    off: frozenset[str] = frozenset()
    strict: bool = False
    notes: list[Note] = field(default_factory=list)
    foreign: Mapping[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    answering: frozenset[str] = frozenset()
    """The steps that call operations: of their answers undeclared outputs can be members (`undeclared-output`)."""
    implied: dict[str, set[str]] = field(default_factory=dict)
    """Filled by compiling: the outputs that are used so, by step."""
    earlier: Mapping[str, str] = field(default_factory=dict)
    """Where `$outputs` means nothing: the step that declares an output, of outputs that one step alone declares."""
    nested: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of steps that call workflows: the outputs of those that the step does not declare again."""
    components: Mapping[str, Json] | None = None
    """The components of the document, as it has them; None where nobody has looked."""

    def quiet(self) -> Scope:
        """Give a scope that knows the same, for guesses: what is noted there counts for nothing."""
        return replace(self, notes=[], implied={})

    def allows(self, rule: str) -> bool:
        """Tell whether a dialect rule may be used."""
        return not self.strict and rule not in self.off

    def note(
        self, rule: str, message: str, severity: Severity, pointer: str = "", hint: str = "", *, instead: str = ""
    ) -> None:
        """Record a finding."""
        self.notes.append(Note(rule, message, severity, pointer, hint, instead))

    def dialect(
        self, rule: str, message: str, pointer: str = "", hint: str = "", *, severity: Severity = "warning"
    ) -> None:
        """Record that a dialect rule was needed: an error where the rule is switched off."""
        self.note(rule, message, severity if self.allows(rule) else "error", pointer, hint)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Suggest the likely name, or list the few that there are: "did you mean 'x'?", "known: 'a', 'b'", or ""."""
    names = sorted(islice(known, 200))
    if meant := did_you_mean(name, names):
        return meant
    if names and len(names) <= 8:
        return "known: " + ", ".join(f"'{each}'" for each in names)
    return ""
