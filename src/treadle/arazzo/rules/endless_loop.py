"""A loop has a way out (§1.7: goto is a one-way transfer, and nothing bounds it).

A goto back is how Arazzo waits for something, so loops are welcome, also through several steps. One is endless for
certain when none of its steps can lead out of it: every success leads back unconditionally, and no failure action leads
elsewhere. That a step fails and nothing handles it is no way out that anybody planned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.rules.context import Checked
from treadle.arazzo.rules.flow import always, free
from treadle.errors import Diagnostic, Severity

RULE: Final = "endless-loop"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Success Action Object: goto"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report the unconditional goto back of every loop that nothing leads out of.

    Of the steps that no way leads out of, the last one in the document must go back unconditionally: else the next step
    would come after it. So every such loop is found by its goto back, however many steps it has.
    """
    for flow in checked.flows:
        order = {step.step_id: index for index, step in enumerate(flow.workflow.steps)}
        ways_out, reached = free(flow.leads), flow.reached
        for step in flow.workflow.steps:
            action = always(flow.holds[step.step_id])
            if step.step_id in ways_out or step.step_id not in reached or action is None or action.step_id is None:
                continue
            if order.get(action.step_id, len(order)) <= order[step.step_id]:
                message = (
                    f"`{action.name}` leads from `{step.step_id}` back to `{action.step_id}` whatever happens, "
                    "and nothing leads out of this loop"
                )
                hint = "give it `criteria` that say for how long to go on"
                yield checked.finding(RULE, message, action.pointer, hint=hint)
