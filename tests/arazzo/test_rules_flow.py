"""Rules about what is never reached, never ends, never used, and about secrets: each broken once and kept once."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent

import pytest

from tests.counting import lines_run
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.rules import check
from treadle.errors import Diagnostic

HEAD = """\
arazzo: 1.1.0
info: {title: Test, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.yaml, type: openapi}
"""


def checked(text: str) -> list[Diagnostic]:
    document = load((HEAD + dedent(text)).encode(), "test.yaml")
    description, found = build(document)
    assert [each.render() for each in found if each.severity == "error"] == []
    assert description is not None
    return check(description, document)


def workflow(steps: str, more: str = "", name: str = "main") -> str:
    """A workflow with these steps (one line each) and more fields."""
    lines = [f"  - {line}" for line in dedent(steps).strip().splitlines()]
    extra = [f"  {line}" for line in dedent(more).strip().splitlines()]
    return "\n".join([f"- workflowId: {name}", *extra, "  steps:", *lines, ""])


@dataclass
class Case:
    """A document after its head, and the findings of one rule: `severity pointer`, with words of message and hint."""

    id: str
    text: str
    want: list[str] = field(default_factory=list)
    words: str = ""


def of(rule: str, *cases: Case) -> list[object]:
    return [pytest.param(rule, case, id=f"{rule}-{case.id}") for case in cases]


A, B, C = (f"{{stepId: {name}, operationId: x}}" for name in "abc")
HALT = "{name: halt, type: end}"
WHEN = "criteria: [{condition: $statusCode == 200}]"
TO_C = "{name: on, type: goto, stepId: c}"

CASES = [
    *of(
        "unreachable-step",
        Case("in-order", workflow(f"{A}\n{B}\n{C}")),
        Case("after-end", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}]}}\n{B}"), ["warning /workflows/0/steps/1/stepId"], "`halt` ends the workflow after `a`"),
        Case("after-goto", workflow(f"{{stepId: a, operationId: x, onSuccess: [{TO_C}]}}\n{B}\n{C}"), ["warning /workflows/0/steps/1/stepId"], "always leads from `a` elsewhere"),
        Case("whole-stretch-once", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}]}}\n{B}\n{C}"), ["warning /workflows/0/steps/1/stepId"]),
        Case("conditional-end", workflow(f"{{stepId: a, operationId: x, onSuccess: [{{name: halt, type: end, {WHEN}}}]}}\n{B}")),
        Case("by-failure", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}], onFailure: [{{name: f, type: goto, stepId: b}}]}}\n{B}")),
        Case("by-retry", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}], onFailure: [{{name: f, type: retry, stepId: b}}]}}\n{B}")),
        Case("by-action-of-workflow", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}]}}\n{B}", "failureActions: [{name: f, type: goto, stepId: b}]")),
        Case("other-order", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}]}}\n{{stepId: b, operationId: x, dependsOn: [a]}}")),
    ),
    *of(
        "unreachable-action",
        Case("last", workflow(f"{{stepId: a, operationId: x, onSuccess: [{{name: one, type: end, {WHEN}}}, {HALT}]}}")),
        Case("behind", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}, {{name: one, type: end, {WHEN}}}]}}"), ["warning /workflows/0/steps/0/onSuccess/1"], "`one` is never taken: `halt`"),
        Case("behind-retry", workflow("{stepId: a, operationId: x, onFailure: [{name: r, type: retry}, {name: e, type: end}]}")),
        Case("of-workflow", workflow(f"{{stepId: a, operationId: x, onSuccess: [{HALT}]}}", f"successActions: [{{name: one, type: end, {WHEN}}}]")),
    ),
    *of(
        "endless-loop",
        Case("three-steps", workflow(f"{A}\n{B}\n{{stepId: c, operationId: x, onSuccess: [{{name: back, type: goto, stepId: a}}]}}"), ["error /workflows/0/steps/2/onSuccess/0"], "from `c` back to `a`"),
        Case("crossed", workflow(f"{{stepId: a, operationId: x, onSuccess: [{TO_C}]}}\n{B}\n{{stepId: c, operationId: x, onSuccess: [{{name: back, type: goto, stepId: b}}]}}"), ["error /workflows/0/steps/2/onSuccess/0"]),
        Case("way-out-in-the-middle", workflow(f"{A}\n{{stepId: b, operationId: x, onSuccess: [{{name: halt, type: end, {WHEN}}}]}}\n{{stepId: c, operationId: x, onSuccess: [{{name: back, type: goto, stepId: a}}]}}")),
        Case("detour-is-no-loop", workflow(f"{A}\n{{stepId: b, operationId: x, onFailure: [{{name: r, type: retry, stepId: a}}]}}")),
    ),
    *of(
        "endless-recursion",
        Case("itself", workflow("{stepId: a, workflowId: main}"), ["error /workflows/0/workflowId"], "runs itself"),
        Case("each-other", workflow("{stepId: a, workflowId: other}") + workflow("{stepId: a, workflowId: main}", name="other"), ["error /workflows/0/workflowId", "error /workflows/1/workflowId"]),
        Case("goto-each-other", workflow("{stepId: a, operationId: x, onSuccess: [{name: g, type: goto, workflowId: other}]}") + workflow("{stepId: a, operationId: x, onSuccess: [{name: g, type: goto, workflowId: main}]}", name="other"), ["error /workflows/0/workflowId", "error /workflows/1/workflowId"]),
        Case("with-exit", workflow(f"{{stepId: a, operationId: x, onSuccess: [{{name: halt, type: end, {WHEN}}}]}}\n{{stepId: b, workflowId: main}}")),
        Case("exit-of-the-other", workflow("{stepId: a, workflowId: other}") + workflow(f"{{stepId: a, operationId: x, onSuccess: [{{name: halt, type: end, {WHEN}}}]}}\n{{stepId: b, workflowId: main}}", name="other")),
        Case("caller-of-both", workflow("{stepId: a, workflowId: other}") + workflow(A, name="other")),
    ),
    *of(
        "unused-input",
        Case("used", workflow("{stepId: a, operationId: x, parameters: [{name: q, in: query, value: $inputs.one}]}", "inputs: {properties: {one: {}}}")),
        Case("unused", workflow(A, "inputs: {properties: {one: {}, two: {}}}\noutputs: {o: $inputs.two}"), ["note /workflows/0/inputs/properties/one"]),
        Case("in-condition", workflow("{stepId: a, operationId: x, successCriteria: [{condition: $statusCode == $inputs.one}]}", "inputs: {properties: {one: {}}}")),
        Case("in-text", workflow("{stepId: a, operationId: x, parameters: [{name: q, in: query, value: 'a {$inputs.one} b'}]}", "inputs: {properties: {one: {}}}")),
        Case("navigated", workflow(A, "inputs: {properties: {one: {}}}\noutputs: {o: $inputs.one.a.b}")),
        Case("name-with-dot", workflow(A, "inputs: {properties: {a.b: {}}}\noutputs: {o: $inputs.a.b}")),
        Case("longer-name", workflow(A, "inputs: {properties: {one: {}}}\noutputs: {o: $inputs.onerous}"), ["note /workflows/0/inputs/properties/one"]),
        Case("as-one-object", workflow("{stepId: a, operationId: x, requestBody: {payload: $inputs}}", "inputs: {properties: {one: {}}}")),
        Case("handed-on", workflow("{stepId: a, operationId: x, onSuccess: [{name: g, type: goto, workflowId: other}]}", "inputs: {properties: {one: {}, two: {}}}") + workflow(A, "inputs: {properties: {one: {}}}\noutputs: {o: $inputs.one}", "other"), ["note /workflows/0/inputs/properties/two"]),
        Case("for-dependency", workflow(A, "dependsOn: [other]\ninputs: {properties: {one: {}}}") + workflow(A, "inputs: {properties: {one: {}}}\noutputs: {o: $inputs.one}", "other")),
        Case("seen-from-outside", workflow(A, "inputs: {properties: {one: {}}}") + workflow(A, "outputs: {o: $workflows.main.inputs.one}", "other")),
    ),
    *of(
        "plain-secret",
        Case("bearer", workflow("{stepId: a, operationId: x, parameters: [{name: Authorization, in: header, value: Bearer 9f8e7d6c5b4a39281706}]}"), ["warning /workflows/0/steps/0/parameters/0/value"], "looks like a real credential"),
        Case("expression", workflow("{stepId: a, operationId: x, parameters: [{name: Authorization, in: header, value: 'Bearer {$inputs.t}'}]}")),
        Case("placeholder", workflow("{stepId: a, operationId: x, parameters: [{name: Authorization, in: header, value: Bearer YOUR_ACCESS_TOKEN_1}]}")),
        Case("short", workflow("{stepId: a, operationId: x, parameters: [{name: api_key, in: header, value: special-key}]}")),
        Case("aws-key", workflow("{stepId: a, operationId: x, requestBody: {payload: {deep: [AKIAQYLPMN5HHHFPZAM2]}}}"), ["warning /workflows/0/steps/0/requestBody/payload/deep/0"], "an access key of AWS"),
        Case("aws-key-of-the-manual", workflow("{stepId: a, operationId: x, requestBody: {payload: AKIAIOSFODNN7EXAMPLE}}")),
        Case("ordinary-text", workflow("{stepId: a, operationId: x, description: 'skip this: ghost, task-list-of-many-words-without-a-number-in-it'}")),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_a_rule_finds_what_breaks_it(rule: str, case: Case) -> None:
    """And nothing else of its kind."""
    found = [each for each in checked("workflows:\n" + case.text) if each.rule == rule]
    assert [f"{each.severity} {each.place.pointer}" for each in found if each.place] == case.want
    assert all(case.words in each.message for each in found)


def test_a_secret_is_in_no_finding() -> None:
    """Findings end up in the logs of builds."""
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9" * 2
    (found,) = checked("workflows:\n" + workflow(f"{{stepId: a, operationId: x, description: {token}}}"))
    assert found.rule == "plain-secret"
    assert token not in found.render()
    assert found.place is not None
    assert found.place.line == 8


@pytest.mark.parametrize("ring", [False, True], ids=["chain", "ring"])
def test_thousands_of_workflows_are_checked_in_linear_time(ring: bool) -> None:
    """Each calls the next; in a ring none of them can end."""

    def of(count: int) -> None:
        workflows = "".join(
            workflow(f"{{stepId: a, workflowId: w{index + 1}}}", name=f"w{index}") for index in range(count)
        )
        last = "{stepId: a, workflowId: w0}" if ring else A
        found = checked("workflows:\n" + workflows + workflow(last, name=f"w{count}"))
        assert len(found) == (count + 1 if ring else 0)

    assert lines_run(of, 1200) < 5 * lines_run(of, 300)
