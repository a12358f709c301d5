"""Which workflow a workflowId means: one of its own document, or one of another that a source description names.

A document is the same whatever way leads to it: its identity is its `$self`, else where it was read from (§1.2). So
documents may name each other in a circle, and each is planned once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from treadle.arazzo.plan.documents import Findings, OpenedDescription, OpenedSource, Part
from treadle.arazzo.plan.values import StepKey
from treadle.arazzo.registry import base_uri
from treadle.arazzo.slips import did_you_mean

__all__ = ["Parts"]


class Parts:
    """The documents of a plan, each opened when something in it is first needed."""

    def __init__(self, entry: OpenedDescription, findings: Findings) -> None:
        self.findings = findings
        self.entry = Part(entry, "", findings)
        self._by_identity = {base_uri(entry.document): self.entry}
        self._by_name = {"": self.entry}

    @property
    def all(self) -> Mapping[str, Part]:
        """The documents that were needed so far, by name."""
        return self._by_name

    def of(self, key: str) -> Part:
        """Give the document of a workflow of the plan."""
        return self._by_name.get(key.rpartition("#")[0], self.entry)

    def neighbours(self, part: Part) -> dict[str, str]:
        """Give the documents that were needed so far by the names that this one has for them."""
        found = {}
        for source in part.description.source_descriptions:
            name = f"{part.name}/{source.name}" if part.name else source.name
            may_be = (source.type == "arazzo" and part.needs(source.name)) or name in self._by_name
            opened = part.source(source.name) if may_be else None
            if opened is not None and opened.description is not None:
                known = self._by_identity.get(base_uri(opened.description.document))
                if known is not None:
                    found[source.name] = known.name
        return found

    def neighbour(self, part: Part, name: str) -> Part | None:
        """Give the document that a source description names, None where it is no Arazzo description."""
        opened = part.source(name)
        if opened is None or opened.description is None:
            return None
        identity = base_uri(opened.description.document)
        if identity not in self._by_identity:
            made = Part(opened.description, f"{part.name}/{name}" if part.name else name, self.findings)
            self._by_identity[identity] = self._by_name[made.name] = made
            for each in opened.description.found:
                self.findings.add(each)
        return self._by_identity[identity]

    def find(self, part: Part, written: str, pointer: str) -> str | None:
        """Give the key of the workflow that a text names; what stands in the way is reported."""
        if part.description.workflow(written) is not None:
            return part.key(written)
        name, workflow_id = part.qualified(written)
        if name:
            if not written.startswith(("$sourceDescriptions.", "{$sourceDescriptions.")):
                hint = f"write $sourceDescriptions.{name}.{workflow_id}"
                message = f"{written!r} is taken as the workflow {workflow_id!r} of the source {name!r}"
                part.lenient("unqualified-workflow-id", message, pointer, hint=hint)
            return self._foreign(part, name, workflow_id, pointer)
        if written.startswith(("$sourceDescriptions.", "{$sourceDescriptions.")):
            hint = "it has: " + ", ".join(part.source_fields)
            part.report("unknown-source", f"{written!r} names no source description", pointer, hint=hint)
            return None
        return self._unqualified(part, written, pointer)

    def _foreign(self, part: Part, name: str, workflow_id: str, pointer: str) -> str | None:
        there = self.neighbour(part, name)
        if there is None:
            self._unreadable(part, name, part.source(name), pointer)
            return None
        bare = workflow_id.removeprefix("workflows.")
        if there.description.workflow(workflow_id) is None and there.description.workflow(bare) is not None:
            message = f"{workflow_id!r} is taken as the workflow {bare!r} of the source {name!r}"
            part.lenient("spelled-out-workflow", message, pointer, hint=f"write $sourceDescriptions.{name}.{bare}")
            return there.key(bare)
        if there.description.workflow(workflow_id) is None:
            hint = did_you_mean(workflow_id, there.signatures) or "it has: " + ", ".join(there.signatures)
            message = f"the document of the source {name!r} has no workflow {workflow_id!r}"
            part.report("unknown-workflow", message, pointer, hint=hint)
            return None
        return there.key(workflow_id)

    def _unreadable(self, part: Part, name: str, opened: OpenedSource | None, pointer: str) -> None:
        if opened is not None and opened.problem is not None:
            self.findings.add(replace(opened.problem, severity="error"))
        else:
            message = f"the source {name!r} is no Arazzo description: it has no workflows"
            part.report("unknown-workflow", message, pointer)

    def _unqualified(self, part: Part, written: str, pointer: str) -> str | None:
        """Look in all Arazzo sources: 1.0.0 asked for the qualified form only where there are several."""
        names = [each.name for each in part.description.source_descriptions if each.type in {"arazzo", None}]
        there = {name: found for name in names if (found := self.neighbour(part, name)) is not None}
        having = {name: found for name, found in there.items() if found.description.workflow(written) is not None}
        if len(having) == 1:
            name, found = next(iter(having.items()))
            hint = f"write $sourceDescriptions.{name}.{written}"
            message = f"the workflow {written!r} is taken from the source {name!r}, the only one that has it"
            part.lenient("unqualified-workflow-id", message, pointer, hint=hint)
            return found.key(written)
        if having:
            hint = f"write $sourceDescriptions.<name>.{written}"
            message = f"several sources have a workflow {written!r}: {', '.join(having)}"
            part.report("ambiguous-workflow", message, pointer, hint=hint)
            return None
        problems = [opened.problem for name in names if (opened := part.source(name)) and opened.problem]
        described = {each.name for each in part.description.source_descriptions if each.type == "arazzo"}
        if problems and described - there.keys():
            for problem in problems:
                self.findings.add(replace(problem, severity="error"))
        known = {*part.signatures, *(each for found in there.values() for each in found.signatures)}
        part.report("unknown-workflow", f"there is no workflow {written!r}", pointer, hint=did_you_mean(written, known))
        return None

    def step(self, part: Part, workflow_id: str, written: str) -> StepKey | None:
        """Give the step that an entry of `dependsOn` means, or None; that a step is not there is reported by a rule."""
        head, steps, step_id = written.partition(".steps.")
        if not steps:
            return None if written.startswith("$") else StepKey(part.key(workflow_id), written)
        if head.startswith("$workflows."):
            return StepKey(part.key(head.removeprefix("$workflows.")), step_id)
        name, foreign_id = part.qualified(head)
        there = self.neighbour(part, name) if name and head.startswith("$sourceDescriptions.") else None
        return StepKey(there.key(foreign_id), step_id) if there is not None else None
