"""Everything that can be resolved before the first request, resolved.

`plan` takes a built description and the sources that were opened for it, and gives either a `Plan`, in which every
operation is bound, every expression and criterion is compiled and every target is known, or the diagnostics that say
why there is none. So what is wrong with a document is known before anything is sent.

`values` is what a plan is made of, `documents` the descriptions that it was made from, `workflows` and `operations`
find what steps and actions name, `order` puts steps into an order, `requests` holds what a step gives against what its
operation takes, and `planner` is the way through all of it.

What is checked elsewhere: the structure of the document (`build`), its rules (`rules`), inputs (`inputs`).
"""

from treadle.arazzo.plan.documents import OpenedDescription, OpenedSource
from treadle.arazzo.plan.messages import PlannedChannel
from treadle.arazzo.plan.planner import plan, plan_all
from treadle.arazzo.plan.reach import reachable, set_aside
from treadle.arazzo.plan.values import (
    Plan,
    PlannedAction,
    PlannedArgument,
    PlannedStep,
    PlannedWorkflow,
    PlanOptions,
    StepKey,
)
from treadle.arazzo.replacements import PlannedReplacement

__all__ = [
    "OpenedDescription",
    "OpenedSource",
    "Plan",
    "PlanOptions",
    "PlannedAction",
    "PlannedArgument",
    "PlannedChannel",
    "PlannedReplacement",
    "PlannedStep",
    "PlannedWorkflow",
    "StepKey",
    "plan",
    "plan_all",
    "reachable",
    "set_aside",
]
