"""The documents of a plan: the entry, the Arazzo descriptions that it names, and what was opened for each of them.

Components, source names and workflowIds mean something in their own document only (§1.8). So whatever is planned is
planned as a part of its `Part`: a document with its own sources, its own way of being found (`name`), and its own
places for findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Unpack

from treadle.arazzo import model
from treadle.arazzo.expressions import Note, Scope
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.location import Document, MoreOfFinding, join
from treadle.arazzo.plan.values import PlanOptions
from treadle.arazzo.rules import dialect
from treadle.errors import Diagnostic
from treadle.seams import ChannelSource, Json, Source

__all__ = ["Findings", "OpenedDescription", "OpenedSource", "Part", "as_written"]


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source description after an attempt to open it.

    It is one of OpenAPI (`source`), AsyncAPI (`channels`) and Arazzo (`description`).
    `problem` says why it could not be read. Both `source` and `problem`: it could not be read, but a server was named
    for it, so steps that spell their request out can be sent there. `above`: how its url should be written, where it
    was found from a directory above the document's (dialect `source-root-relative`).
    """

    source: Source | None
    problem: Diagnostic | None = None
    base_url: str = ""
    description: OpenedDescription | None = None
    channels: ChannelSource | None = None
    above: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class OpenedDescription:
    """An Arazzo description that was read and built; `found` is what building it and its rules said.

    `sources` may open each when it is first asked for: only what a workflow needs has to be readable.
    """

    description: model.Description
    document: Document
    sources: Mapping[str, OpenedSource]
    found: tuple[Diagnostic, ...] = ()


@dataclass(slots=True)
class Findings:
    """What planning finds wrong. It collects and goes on, so that a user sees everything at once."""

    options: PlanOptions
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep a finding, once."""
        if diagnostic not in self.diagnostics:
            self.diagnostics.append(diagnostic)

    @property
    def errors(self) -> bool:
        """Whether there is a reason not to run."""
        return any(each.severity == "error" for each in self.diagnostics)


class Part:
    """A document of the plan. `name` is "" for the entry, else the way to it: names of source descriptions."""

    def __init__(self, opened: OpenedDescription, name: str, findings: Findings) -> None:
        self.opened = opened
        self.name = name
        self.findings = findings
        self.description = opened.description
        self.document = opened.document
        self.options = findings.options
        self.source_fields: dict[str, dict[str, Json]] = {
            each.name: {"url": each.url, "type": each.type} for each in self.description.source_descriptions
        }
        self._inputs: dict[str, Inputs] = {}
        self._asked: set[str] = set()
        self._told: set[tuple[str, str]] = set()

    def key(self, workflow_id: str) -> str:
        """Give the key of one of its workflows in the plan."""
        return f"{self.name}#{workflow_id}" if self.name else workflow_id

    def workflow_id(self, key: str) -> str:
        """Give the workflowId that a key of this document stands for."""
        return key.removeprefix(f"{self.name}#") if self.name else key

    def source(self, name: str) -> OpenedSource | None:
        """Give what a source description of this document opened as, None where the caller left it out."""
        opened = self.opened.sources.get(name)
        if opened is not None and opened.above and name not in self._asked:
            self._found_above(name, opened.above)
        self._asked.add(name)
        return opened

    def _found_above(self, name: str, properly: str) -> None:
        described = self.description.source(name)
        if described is not None:
            self.lenient(
                "source-root-relative",
                f"the source {name!r} is not there, seen from the document; it is {properly}",
                f"{described.pointer}/url",
                hint=f"write {properly}",
                instead=properly,
            )

    def needs(self, name: str) -> bool:
        """Tell whether a source was needed so far, or is named by an expression of the document."""
        text = self.document.text  # a document that was made from a value has none
        return name in self._asked or not text or f"$sourceDescriptions.{name}." in text

    def inputs(self, workflow: model.Workflow) -> Inputs:
        """Give the inputs of one of its workflows."""
        if workflow.workflow_id not in self._inputs:
            schema = {} if workflow.inputs is None else workflow.inputs
            pointer = join(workflow.pointer, "inputs")
            made = Inputs(schema, self.document, pointer, strict=self.options.strict)
            self._inputs[workflow.workflow_id] = made
        return self._inputs[workflow.workflow_id]

    @cached_property
    def signatures(self) -> Mapping[str, tuple[frozenset[str], frozenset[str]]]:
        """The names of each workflow's inputs and outputs."""
        return {
            each.workflow_id: (self.inputs(each).names, frozenset(each.outputs)) for each in self.description.workflows
        }

    @cached_property
    def component_values(self) -> Mapping[str, Json]:
        """The components as the document has them, for expressions."""
        value = self.document.value.get("components") if isinstance(self.document.value, dict) else None
        return value if isinstance(value, dict) else {}

    # -- findings -----------------------------------------------------------------------------------------------------

    def report(self, rule: str, message: str, pointer: str, **more: Unpack[MoreOfFinding]) -> None:
        """Report something at a place of this document."""
        self.findings.diagnostics.append(self.document.finding(rule, message, pointer, **more))

    def lenient(
        self, rule: str, message: str, pointer: str, *, once: bool = False, **more: Unpack[MoreOfFinding]
    ) -> None:
        """Report that a dialect rule was needed: an error where it is switched off. `once`: not at this place again."""
        if once and (rule, pointer) in self._told:
            return
        self._told.add((rule, pointer))
        known = dialect.RULES[rule]
        refused = (self.options.strict and not known.unavoidable) or rule in self.options.off
        more["severity"] = "error" if refused else known.severity
        more["hint"] = more.get("hint") or known.properly
        self.report(rule, message, pointer, **more)

    def taken(self, scope: Scope, pointer: str) -> None:
        """Turn the notes of a compilation into diagnostics, each at its place."""
        notes: list[Note] = list(scope.notes)
        scope.notes.clear()
        for note in notes:
            here = pointer + note.pointer
            self.report(note.rule, note.message, here, severity=note.severity, hint=note.hint, instead=note.instead)

    # -- names --------------------------------------------------------------------------------------------------------

    def qualified(self, written: str) -> tuple[str, str]:
        """Split `$sourceDescriptions.<name>.<rest>`, also without the first word (dialect); ("", written) for others.

        The longest declared name wins: in 1.0 names may have dots.
        """
        rest = written.strip("{}").removeprefix("$sourceDescriptions.")
        for name in sorted(self.source_fields, key=len, reverse=True):
            if rest.startswith(f"{name}."):
                return name, rest[len(name) + 1 :]
        return "", written


def as_written(value: Json) -> Json:
    """Give a value as the document has it: a Selector Object is compiled where its members stand."""
    if not isinstance(value, model.Selector):
        return value
    kind = value.type
    written = {"type": kind.type, "version": kind.version} if isinstance(kind, model.ExpressionType) else kind
    return {"context": value.context, "selector": value.selector, "type": written}
