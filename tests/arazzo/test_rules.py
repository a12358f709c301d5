"""Rules: what a description must keep beyond its structure, each broken once and kept once."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent
from types import ModuleType

import pytest

from treadle.arazzo import rules
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.rules import check, dialect, planned
from treadle.errors import Diagnostic

HEAD = """\
arazzo: 1.1.0
info: {title: Test, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.yaml, type: openapi}
- {name: other, url: ./other.yaml, type: openapi}
"""


ADVICE = {"unreachable-step", "unreachable-action", "unused-input", "endless-recursion"}
"""What small documents are full of; it has tests of its own."""


def checked(text: str, *, strict: bool = False, head: str = HEAD) -> list[Diagnostic]:
    document = load((head + dedent(text)).encode(), "test.yaml")
    description, found = build(document)
    assert [each.render() for each in found] == []
    assert description is not None
    return [each for each in check(description, document, strict=strict) if each.rule not in ADVICE]


@dataclass
class Case:
    """A document after its head, and the findings: `severity rule pointer`, with words of message and hint."""

    id: str
    text: str
    want: list[str] = field(default_factory=list)
    words: str = ""
    hint: str = ""
    strict: bool = False


def workflow(steps: str, more: str = "", after: str = "") -> str:
    """A workflow `main` with these steps (one line each), more fields, and what follows the workflow."""
    lines = [f"  - {line}" for line in dedent(steps).strip().splitlines()]
    extra = [f"  {line}" for line in dedent(more).strip().splitlines()]
    return "\n".join(["workflows:", "- workflowId: main", *extra, "  steps:", *lines, dedent(after)])


ONE = "{stepId: one, operationId: api.first}"
TWO = "{stepId: two, operationId: api.second}"


def with_actions(on_success: str = "[]", on_failure: str = "[]", more: str = "", after: str = "") -> str:
    step = f"{{stepId: one, operationId: first, onSuccess: {on_success}, onFailure: {on_failure}}}"
    return workflow(f"{step}\n{TWO}", more, after)


CASES = [
    Case("good", workflow(f"{ONE}\n{TWO}")),
    # duplicate-id
    Case("two-steps", workflow(f"{ONE}\n{ONE}"), ["error duplicate-id /workflows/0/steps/1/stepId"], "line 9"),
    Case("two-workflows", workflow(ONE, after=f"- workflowId: main\n  steps: [{ONE}]"), ["error duplicate-id /workflows/1/workflowId"]),
    Case("same-step-elsewhere", workflow(ONE, after=f"- workflowId: next\n  steps: [{ONE}]")),
    # name-pattern, free-output-name
    Case("id-with-space", workflow("{stepId: a b, operationId: x}"), ["warning name-pattern /workflows/0/steps/0/stepId"]),
    Case("id-with-dot", workflow("{stepId: a.b, operationId: x}"), ["warning name-pattern /workflows/0/steps/0/stepId"]),
    Case("output-name", workflow(ONE, "outputs: {a b: $url}"), ["warning free-output-name /workflows/0/outputs/a b"]),
    Case("output-name-strict", workflow(ONE, "outputs: {a b: $url}"), ["error free-output-name /workflows/0/outputs/a b"], strict=True),
    Case("output-name-with-dot", workflow(ONE, "outputs: {a.b-c_d: $url}"), strict=True),
    # step-target
    Case("no-target", workflow("{stepId: one}"), ["error step-target /workflows/0/steps/0"], "does not say"),
    Case("two-targets", workflow("{stepId: one, operationId: a, operationPath: '#'}"), ["error step-target /workflows/0/steps/0/operationPath"]),
    Case("channel-without-action", workflow("{stepId: one, channelPath: x}"), ["error step-target /workflows/0/steps/0/channelPath"]),
    Case("correlation-of-send", workflow("{stepId: one, channelPath: x, action: send, correlationId: 1}"), ["error step-target /workflows/0/steps/0/correlationId"]),
    Case("receiving", workflow("{stepId: one, channelPath: x, action: receive, correlationId: 1}")),
    # unknown-source
    Case("source", workflow("{stepId: one, operationId: $sourceDescriptions.apo.x}"), ["error unknown-source /workflows/0/steps/0/operationId"], "`apo`", "`api`"),
    Case("source-in-path", workflow("{stepId: one, operationPath: '{$sourceDescriptions.API.url}#/paths/~1a/get'}"), ["error unknown-source /workflows/0/steps/0/operationPath"], "`API`", "`api`"),
    Case("source-in-short-path", workflow("{stepId: one, operationPath: '$sourceDescriptions.api#/paths/~1a.b/get'}")),
    Case("source-known", workflow("{stepId: one, operationPath: '{$sourceDescriptions.api.url}#/paths/~1a/get'}")),
    # unknown-workflow
    Case("called", workflow("{stepId: one, workflowId: man}"), ["error unknown-workflow /workflows/0/steps/0/workflowId"], "`man`", "`main`"),
    Case("called-otherwise", workflow("{stepId: one, workflowId: $workflows.main}"), ["error unknown-workflow /workflows/0/steps/0/workflowId"], "", "`main`"),
    Case("called-elsewhere", workflow("{stepId: one, workflowId: $sourceDescriptions.other.x}")),
    Case("needed", workflow(ONE, "dependsOn: [login]"), ["error unknown-workflow /workflows/0/dependsOn/0"], "", "main"),
    Case("goto-workflow", with_actions("[{name: a, type: goto, workflowId: nowhere}]"), ["error unknown-workflow /workflows/0/steps/0/onSuccess/0/workflowId"]),
    # unknown-step
    Case("goto", with_actions("[{name: a, type: goto, stepId: tow}]"), ["error unknown-step /workflows/0/steps/0/onSuccess/0/stepId"], "`tow`", "`two`"),
    Case("retry", with_actions("[]", "[{name: a, type: retry, stepId: tow}]"), ["error unknown-step /workflows/0/steps/0/onFailure/0/stepId"]),
    Case("goto-elsewhere", with_actions("[{name: a, type: goto, stepId: far}]", after="- workflowId: next\n  steps: [{stepId: far, operationId: x}]"), ["error unknown-step /workflows/0/steps/0/onSuccess/0/stepId"], "", "`next`"),
    Case("goto-workflow-as-step", with_actions("[{name: a, type: goto, stepId: next}]", after="- workflowId: next\n  steps: [{stepId: far, operationId: x}]"), ["error unknown-step /workflows/0/steps/0/onSuccess/0/stepId"], "", "`workflowId`"),
    Case("goto-in-workflow", workflow(ONE, "successActions: [{name: a, type: goto, stepId: zzz}]"), ["error unknown-step /workflows/0/successActions/0/stepId"], "", "one"),
    Case("goto-both", with_actions("[{name: a, type: goto, stepId: two, workflowId: main}]"), ["error unknown-step /workflows/0/steps/0/onSuccess/0"], "both"),
    Case("goto-nowhere", with_actions("[{name: a, type: goto}]"), ["error unknown-step /workflows/0/steps/0/onSuccess/0"], "where to"),
    Case("end-somewhere", with_actions("[{name: a, type: end, stepId: two}]"), ["warning unknown-step /workflows/0/steps/0/onSuccess/0/stepId"], "ignored"),
    Case("parameters-for-step", with_actions("[{name: a, type: goto, stepId: two, parameters: [{name: x, value: 1}]}]"), ["error unknown-step /workflows/0/steps/0/onSuccess/0/parameters"]),
    Case("component-to-nowhere", with_actions("[{reference: $components.successActions.a}]", after="components:\n  successActions: {a: {name: a, type: goto, stepId: zzz}}"), ["error unknown-step /components/successActions/a/stepId"]),
    Case("component-unused", workflow(ONE, after="components:\n  successActions: {a: {name: a, type: goto, stepId: zzz}}")),
    # unknown-component
    Case("component", with_actions("[{reference: $components.successActions.dome}]", after="components:\n  successActions: {done: {name: d, type: end}}"), ["error unknown-component /workflows/0/steps/0/onSuccess/0/reference"], "dome", "$components.successActions.done"),
    Case("component-kind", with_actions("[{reference: $components.failureActions.a}]", after="components:\n  failureActions: {a: {name: d, type: end}}"), ["error unknown-component /workflows/0/steps/0/onSuccess/0/reference"], "", "$components.successActions."),
    Case("no-components", workflow(ONE, "parameters: [{reference: $components.parameters.a}]"), ["error unknown-component /workflows/0/parameters/0/reference"], "", "no components/parameters"),
    Case("action-value", with_actions("[{reference: $components.successActions.a, value: 1}]", after="components:\n  successActions: {a: {name: d, type: end}}"), ["warning unknown-component /workflows/0/steps/0/onSuccess/0/value"]),
    # duplicate-parameter
    Case("same-parameter", workflow("{stepId: one, operationId: x, parameters: [{name: a, in: query, value: 1}, {name: a, in: query, value: 2}]}"), ["error duplicate-parameter /workflows/0/steps/0/parameters/1"]),
    Case("same-name", workflow("{stepId: one, operationId: x, parameters: [{name: a, in: query, value: 1}, {name: a, in: header, value: 2}]}")),
    Case("same-header", workflow("{stepId: one, operationId: x, parameters: [{name: X-A, in: header, value: 1}, {name: x-a, in: header, value: 2}]}"), ["error duplicate-parameter /workflows/0/steps/0/parameters/1"]),
    Case("same-input", workflow("{stepId: one, workflowId: main, parameters: [{name: a, value: 1}, {name: a, in: query, value: 2}]}"), ["error duplicate-parameter /workflows/0/steps/0/parameters/1"]),
    Case("same-by-reference", workflow("{stepId: one, operationId: x, parameters: [{name: a, in: query, value: 1}, {reference: $components.parameters.p}]}", after="components:\n  parameters: {p: {name: a, in: query, value: 3}}"), ["error duplicate-parameter /workflows/0/steps/0/parameters/1"]),
    # parameter-place
    Case("no-place", workflow("{stepId: one, operationId: x, parameters: [{name: a, value: 1}]}"), ["error parameter-place /workflows/0/steps/0/parameters/0"], "", "in:"),
    Case("no-place-but-a-reference", workflow("{stepId: one, operationId: x, parameters: [{name: $components.parameters.p, value: 1}]}"), ["error parameter-place /workflows/0/steps/0/parameters/0"], "", "write `reference: $components.parameters.p`"),
    Case("no-place-by-reference", workflow("{stepId: one, operationId: x, parameters: [{reference: $components.parameters.p}]}", after="components:\n  parameters: {p: {name: a, value: 3}}"), ["error parameter-place /workflows/0/steps/0/parameters/0"]),
    Case("no-place-for-all", workflow(ONE, "parameters: [{name: a, value: 1}]"), ["error parameter-place /workflows/0/parameters/0"]),
    Case("no-place-for-call", workflow(f"{ONE}\n{{stepId: two, workflowId: main}}", "parameters: [{name: a, value: 1}]")),
    Case("place-in-action", with_actions("[{name: a, type: goto, workflowId: main, parameters: [{name: x, in: query, value: 1}]}]"), ["error parameter-place /workflows/0/steps/0/onSuccess/0/parameters/0"]),
    Case("query-twice", workflow("{stepId: one, operationId: x, parameters: [{name: a, in: querystring, value: a=b}, {name: c, in: query, value: 1}]}"), ["error parameter-place /workflows/0/steps/0/parameters/0"]),
    Case("query-of-workflow", workflow("{stepId: one, operationId: x, parameters: [{name: a, in: querystring, value: a=b}]}", "parameters: [{name: c, in: query, value: 1}]"), ["error parameter-place /workflows/0/steps/0/parameters/0"]),
    # duplicate-action
    Case("same-action", with_actions("[{name: a, type: end}, {name: a, type: end}]"), ["error duplicate-action /workflows/0/steps/0/onSuccess/1"]),
    Case("same-action-by-reference", with_actions("[{name: a, type: end}, {reference: $components.successActions.x}]", after="components:\n  successActions: {x: {name: a, type: end}}"), ["error duplicate-action /workflows/0/steps/0/onSuccess/1"]),
    Case("same-action-at-workflow", with_actions("[{name: a, type: end}]", more="successActions: [{name: a, type: end}]")),
    # input-schema, boolean-required, inputs
    Case("schema", workflow(ONE, "inputs: {type: object, required: [a], properties: {a: {type: string, default: x}}}")),
    Case("no-properties", workflow(ONE, "inputs: {a: {type: string}, b: {description: d}}"), ["warning input-schema /workflows/0/inputs"], "`a`, `b` under `properties`"),
    Case("not-schemas", workflow(ONE, "inputs: {type: object, items: {type: string}, note: {a: 1}}")),
    Case("required-not-declared", workflow(ONE, "inputs: {type: object, required: [aB], properties: {ab: {type: string}}}"), ["warning input-schema /workflows/0/inputs/required/0"], "`aB`", "`ab`"),
    Case("required-but-open", workflow(ONE, "inputs: {type: object, required: [a], additionalProperties: true}")),
    Case("default-of-another-type", workflow(ONE, "inputs: {type: object, properties: {a: {type: integer, default: x}}}"), ["warning input-schema /workflows/0/inputs/properties/a/default"], "of type integer"),
    Case("default-of-an-odd-type", workflow(ONE, "inputs: {type: object, properties: {a: {type: [[], integer], default: x}}}"), ["warning input-schema /workflows/0/inputs/properties/a/default"], "of type integer"),
    Case("default-not-listed", workflow(ONE, "inputs: {type: object, properties: {a: {enum: [x, y], default: z}}}"), ["warning input-schema /workflows/0/inputs/properties/a/default"], "one of x, y"),
    Case("whole-number-is-a-number", workflow(ONE, "inputs: {type: object, properties: {a: {type: number, default: 1}}}")),
    Case("no-such-type", workflow(ONE, "inputs: {type: object, properties: {a: {type: sting}}}"), ["error inputs /workflows/0/inputs/properties/a/type"], "did you mean `string`?"),
    Case("shared-and-broken", workflow(ONE, "inputs: {$ref: '#/components/inputs/i'}", "components: {inputs: {i: {properties: []}}}"), ["error inputs /components/inputs/i/properties"]),
    Case("required-is-true", workflow(ONE, "inputs: {type: object, properties: {a: {type: string, required: true}}}"), ["warning boolean-required /workflows/0/inputs/properties/a/required"]),
    Case("required-is-true-strict", workflow(ONE, "inputs: {type: object, properties: {a: {type: string, required: true}}}"), ["error boolean-required /workflows/0/inputs/properties/a/required"], strict=True),
    Case("property-called-required", workflow(ONE, "inputs: {type: object, properties: {required: {type: boolean}, type: {type: string}}}")),
    # criterion-context
    Case("no-context", workflow("{stepId: one, operationId: x, successCriteria: [{condition: a, type: regex}]}"), ["error criterion-context /workflows/0/steps/0/successCriteria/0"], "regex", "$response.body"),
    Case("no-context-in-action", with_actions("[{name: a, type: end, criteria: [{condition: a, type: regex}]}]"), ["error criterion-context /workflows/0/steps/0/onSuccess/0/criteria/0"], "regex"),
    Case("query-without-context", with_actions("[{name: a, type: end, criteria: [{condition: $.a, type: {type: jsonpath, version: rfc9535}}]}]")),
    Case("simple", workflow("{stepId: one, operationId: x, successCriteria: [{condition: a, type: simple}]}"), ["warning simple-without-context /workflows/0/steps/0/successCriteria/0"]),
    Case("simple-strict", workflow("{stepId: one, operationId: x, successCriteria: [{condition: a, type: simple}]}"), ["error simple-without-context /workflows/0/steps/0/successCriteria/0"], strict=True),
    Case("pointer-as-condition", workflow("{stepId: one, operationId: x, successCriteria: [{context: $url, condition: /a, type: {type: jsonpointer, version: rfc6901}}]}"), ["error criterion-context /workflows/0/steps/0/successCriteria/0/type"]),
    # depends-on
    Case("needs-itself", workflow(ONE, "dependsOn: [main]"), ["error depends-on /workflows/0/dependsOn"], "main → main"),
    Case("circle", workflow(ONE, "dependsOn: [b]", f"- {{workflowId: b, dependsOn: [c], steps: [{ONE}]}}\n- {{workflowId: c, dependsOn: [main], steps: [{ONE}]}}"), ["error depends-on /workflows/0/dependsOn"], "main → b → c → main"),
    Case("diamond", workflow(ONE, "dependsOn: [b, c]", f"- {{workflowId: b, dependsOn: [d], steps: [{ONE}]}}\n- {{workflowId: c, dependsOn: [d], steps: [{ONE}]}}\n- {{workflowId: d, steps: [{ONE}]}}")),
    Case("needs-twice", workflow(ONE, "dependsOn: [b, b]", f"- {{workflowId: b, steps: [{ONE}]}}"), ["error depends-on /workflows/0/dependsOn/1"]),
    Case("step-needs", workflow(f"{ONE}\n{{stepId: two, operationId: x, dependsOn: [oen]}}"), ["error depends-on /workflows/0/steps/1/dependsOn/0"], "`oen`", "`one`"),
    Case("step-circle", workflow("{stepId: one, operationId: x, dependsOn: [two]}\n{stepId: two, operationId: x, dependsOn: [one]}"), ["error depends-on /workflows/0/steps/0/dependsOn"], "one → two → one"),
    Case("step-expression", workflow(f"{ONE}\n{{stepId: two, operationId: x, dependsOn: [$steps.one]}}"), ["error depends-on /workflows/0/steps/1/dependsOn/0"], "", "`one`"),
    Case("step-of-other", workflow(f"{ONE}\n{{stepId: two, operationId: x, dependsOn: [$workflows.main.steps.one, $workflows.main.steps.no]}}"), ["error depends-on /workflows/0/steps/1/dependsOn/1"]),
    Case("step-of-other-document", workflow("{stepId: two, operationId: x, dependsOn: [$sourceDescriptions.api.w.steps.s]}")),
    # endless-loop
    Case("back-to-itself", with_actions("[{name: a, type: goto, stepId: one}]"), ["error endless-loop /workflows/0/steps/0/onSuccess/0"], "back to `one`", "`criteria`"),
    Case("back-on-condition", with_actions("[{name: a, type: goto, stepId: one, criteria: [{condition: $statusCode == 202}]}]")),
    Case("back-unless-failed", with_actions("[{name: a, type: goto, stepId: one}]", "[{name: b, type: end}]")),
    Case("back-and-on-when-failed", with_actions("[{name: a, type: goto, stepId: one}]", "[{name: b, type: goto, stepId: two}]")),
    Case("back-and-retry", with_actions("[{name: a, type: goto, stepId: one}]", "[{name: b, type: retry}]"), ["error endless-loop /workflows/0/steps/0/onSuccess/0"]),
    Case("end-before", with_actions("[{name: e, type: end, criteria: [{condition: $statusCode == 200}]}, {name: a, type: goto, stepId: one}]")),
    Case("end-after", with_actions("[{name: a, type: goto, stepId: one}, {name: e, type: end}]"), ["error endless-loop /workflows/0/steps/0/onSuccess/0"]),
    Case("two-step-loop", workflow(f"{ONE}\n{{stepId: two, operationId: x, onSuccess: [{{name: a, type: goto, stepId: one}}]}}"), ["error endless-loop /workflows/0/steps/1/onSuccess/0"], "from `two` back to `one`"),
    Case("two-step-loop-with-exit", workflow("{stepId: one, operationId: x, onSuccess: [{name: e, type: end, criteria: [{condition: $statusCode == 200}]}]}\n{stepId: two, operationId: x, onSuccess: [{name: a, type: goto, stepId: one}]}")),
    Case("loop-never-reached", workflow("{stepId: zero, operationId: x, onSuccess: [{name: e, type: end}]}\n{stepId: one, operationId: x, onSuccess: [{name: a, type: goto, stepId: one}]}")),
    Case("loop-of-workflow", workflow(ONE, "successActions: [{name: a, type: goto, stepId: one}]"), ["error endless-loop /workflows/0/successActions/0"]),
    Case("forward", with_actions("[{name: a, type: goto, stepId: two}]")),
    # number-range
    Case("negative-delay", with_actions("[]", "[{name: a, type: retry, retryAfter: -1}]"), ["error number-range /workflows/0/steps/0/onFailure/0/retryAfter"]),
    Case("negative-limit", with_actions("[]", "[{name: a, type: retry, retryLimit: -1}]"), ["error number-range /workflows/0/steps/0/onFailure/0/retryLimit"]),
    Case("endless-delay", with_actions("[]", "[{name: a, type: retry, retryAfter: .inf}]"), ["error number-range /workflows/0/steps/0/onFailure/0/retryAfter"]),
    Case("no-retry", with_actions("[]", "[{name: a, type: end, retryAfter: 1}]"), ["warning number-range /workflows/0/steps/0/onFailure/0/retryAfter"], "ignored"),
    Case("zero", with_actions("[]", "[{name: a, type: retry, retryAfter: 0, retryLimit: 0}]")),
    Case("negative-timeout", workflow("{stepId: one, operationId: x, timeout: -5}"), ["error number-range /workflows/0/steps/0/timeout"]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_rule_finds_what_breaks_it(case: Case) -> None:
    """And nothing else."""
    found = checked(case.text, strict=case.strict)
    assert [f"{each.severity} {each.rule} {each.place.pointer}" for each in found if each.place] == case.want
    assert all(each.place is not None and each.place.line for each in found)
    assert all(case.words in each.message and case.hint in each.hint for each in found)


def test_sources_have_names_of_their_own() -> None:
    """The name is how expressions refer to them."""
    head = HEAD.replace("name: other", "name: api")
    (found,) = checked(workflow(ONE), head=head)
    assert (found.rule, found.place and found.place.pointer) == ("duplicate-id", "/sourceDescriptions/1/name")


def test_a_workflow_of_another_document_may_stand_unqualified() -> None:
    """1.0.0 allowed it while there is an Arazzo source; the planner finds out."""
    head = HEAD.replace("type: openapi}", "type: arazzo}", 1)
    assert checked(workflow("{stepId: one, workflowId: refund}"), head=head) == []


def test_findings_come_in_the_order_of_the_document() -> None:
    """So that a person reads them from top to bottom."""
    text = workflow("{stepId: one}\n{stepId: one, operationId: x, timeout: -1}\n{stepId: two}", "dependsOn: [x]")
    lines = [each.place.line for each in checked(text) if each.place]
    assert lines == sorted(lines)
    assert len(lines) == 5


EVERY = [*rules.ALL, *planned.ALL]


@pytest.mark.parametrize("rule", EVERY, ids=[rule.__name__.rpartition(".")[2] for rule in EVERY])
def test_each_rule_says_what_it_demands(rule: ModuleType) -> None:
    """A name that the file has too, and a docstring that cites the specification."""
    assert rule.RULE.replace("-", "_") == rule.__name__.rpartition(".")[2]
    assert "§" in (rule.__doc__ or "")
    assert rule.SEVERITY in {"error", "warning", "note"}
    assert rule.CLAUSE


@pytest.mark.parametrize("rule", dialect.RULES.values(), ids=list(dialect.RULES))
def test_each_leniency_explains_itself(rule: dialect.Rule) -> None:
    """What is written, what it means, and how it is said properly."""
    assert rule.written
    assert rule.meant
    assert rule.properly
    assert rule.severity in {"warning", "note"}
    assert dialect.RULES[rule.name] is rule


def test_a_leniency_can_be_switched_off_by_its_name() -> None:
    """The others stay."""
    text = workflow(
        "{stepId: one, operationId: x, successCriteria: [{condition: a, type: simple}]}", "outputs: {a b: c}"
    )
    document = load((HEAD + text).encode(), "test.yaml")
    description, _ = build(document)
    assert description is not None
    found = check(description, document, off=frozenset({"free-output-name"}))
    assert {each.rule: each.severity for each in found} == {
        "free-output-name": "error",
        "simple-without-context": "warning",
    }
