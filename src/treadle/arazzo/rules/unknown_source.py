"""What `$sourceDescriptions.<name>` names is a source description of this document; names are case-sensitive (§1.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.rules.context import Checked, few, source_reference
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity

RULE: Final = "unknown-source"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Source Description Object: name"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report sources that steps name and the document does not have."""
    names = frozenset(source.name for source in checked.description.source_descriptions)
    for written, pointer in _references(checked):
        found = source_reference(written, names)
        if found is None or found[0].partition("#")[0].rstrip("}") in names:
            continue
        name = found[0].partition("#")[0].rstrip("}")
        meant = close_to(name, names)
        hint = f"did you mean `{meant}`?" if meant else f"there are {few(sorted(names))}"
        yield checked.finding(RULE, f"there is no source description `{name}`", pointer, hint=hint)


def _references(checked: Checked) -> Iterator[tuple[str, str]]:
    for workflow in checked.description.workflows:
        for index, written in enumerate(workflow.depends_on):
            yield written, f"{workflow.pointer}/dependsOn/{index}"
    for _, step in checked.steps():
        written_as = {
            "operationId": step.operation_id,
            "operationPath": step.operation_path,
            "channelPath": step.channel_path,
            "workflowId": step.workflow_id,
        }
        yield from ((text, f"{step.pointer}/{name}") for name, text in written_as.items() if text is not None)
        for index, text in enumerate(step.depends_on):
            yield text, f"{step.pointer}/dependsOn/{index}"
