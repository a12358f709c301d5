"""The control flow of a run, rule by rule (Arazzo §1.14 of the checklist and the decisions), in virtual time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.arazzo.conftest import Fault, Story, Teller, make_plan
from treadle.arazzo import events
from treadle.arazzo.machine import MachineOptions

Tell = Callable[..., Story]

TWO_STEPS = """
- workflowId: w
  steps:
  - {stepId: a, operationId: one, outputs: {x: $response.body#/x}}
  - {stepId: b, operationId: two, requestBody: {payload: {got: $steps.a.outputs.x}}}
  outputs: {x: $steps.a.outputs.x}
"""

POLL = """
- workflowId: w
  steps:
  - stepId: create
    operationId: one
  - stepId: poll
    operationId: poll
    outputs: {status: $response.body#/status}
    onSuccess:
    - name: again
      type: goto
      stepId: poll
      criteria:
      - {context: $response.body, condition: '$.status == "busy"', type: jsonpath}
    - name: done
      type: end
      criteria:
      - {context: $response.body, condition: '$.status != "busy"', type: jsonpath}
  - {stepId: never, operationId: three}
  outputs: {status: $steps.poll.outputs.status}
"""


def with_failure(action: str, *, extra: str = "") -> str:
    """Give a workflow whose first step has one failure action."""
    return f"""
- workflowId: w
  steps:
  - stepId: a
    operationId: one
    onFailure:
    - {action}
{extra}
  - {{stepId: b, operationId: two}}
  - {{stepId: c, operationId: three}}
"""


def test_steps_run_in_their_order_and_outputs_flow(tell: Tell) -> None:
    """§1.5: without actions the next step follows; the workflow's outputs are evaluated at its end."""
    story = tell(TWO_STEPS, [(200, {"x": 7}), 200])
    assert story.requests == [("one", None), ("two", {"got": 7})]
    assert story.end.status == "succeeded"
    assert story.end.outputs == {"x": 7}


def test_a_missing_output_is_left_out_of_the_payload_and_of_the_outputs(tell: Tell) -> None:
    """Missing is not null: the member goes, and whoever reads the run is told what there was instead."""
    story = tell(TWO_STEPS, [(200, {"y": 1}), 200])
    assert story.requests[1] == ("two", {})
    assert story.end.outputs == {}
    notes = [fact for fact in story.of(events.Warned) if fact.rule == "output-missing"]
    assert [fact.severity for fact in notes] == ["note", "warning"]
    assert "the members y" in notes[0].message


@pytest.mark.parametrize(
    ("payload", "sent", "rule"),
    [
        pytest.param("[1, $inputs.x, 3]", [1, 3], "null-array-element", id="element"),
        pytest.param("$inputs.x", None, "missing", id="whole body"),
    ],
)
def test_what_is_left_out_is_noted(tell: Tell, payload: str, sent: object, rule: str) -> None:
    """For those who ask why a request was not what it looks like in the document."""
    story = tell(
        f"""
        - workflowId: w
          inputs: {{type: object, properties: {{x: {{}}}}}}
          steps: [{{stepId: a, operationId: one, requestBody: {{payload: {payload}}}}}]
        """
    )
    assert story.requests == [("one", sent)]
    assert [(fact.rule, fact.severity) for fact in story.of(events.Warned)] == [(rule, "note")]


@pytest.mark.parametrize("status", [300, 404, 500])
def test_without_criteria_anything_but_2xx_fails(tell: Tell, status: int) -> None:
    """A-1: success without successCriteria is 2xx; a failure without a matching action ends the workflow."""
    story = tell(TWO_STEPS, [(status, {"message": "no such thing"})])
    assert story.operations == ["one"]
    assert story.end.status == "failed"
    assert f"the server answered {status}" in story.end.reason


def test_the_servers_own_words_are_in_the_reason(tell: Tell) -> None:
    """Who reads why a run failed wants to know what the server said."""
    story = tell(TWO_STEPS, [(400, {"__type": "ValidationException", "message": "bad name"})])
    assert "ValidationException: bad name" in story.end.reason


# -- polls ------------------------------------------------------------------------------------------------------------


def test_a_poll_goes_on_until_its_guard_no_longer_holds(tell: Tell) -> None:
    """The main job's shape: goto the same step while busy, end when not; `end` skips what follows."""
    story = tell(POLL, [200, (200, {"status": "busy"}), (200, {"status": "busy"}), (200, {"status": "ready"})])
    assert story.operations == ["one", "poll", "poll", "poll"]
    assert story.end.status == "succeeded"
    assert story.end.outputs == {"status": "ready"}
    assert [why for _, why in story.waits] == ["poll", "poll"]
    assert [fact.visit for fact in story.of(events.StepStarted) if fact.step_id == "poll"] == [1, 2, 3]


def test_a_poll_is_paced_by_the_time_in_the_loop(tell: Tell) -> None:
    """Waits are 5 % of the time in the loop, at least 0.2 s on loopback, at most 30 s (and 10 % jitter)."""
    story = tell(POLL, [200, (200, {"status": "busy"})], stop_after=1000)
    waits = [seconds for seconds, _ in story.waits]
    assert waits[0] == pytest.approx(0.2)
    assert waits[-1] == pytest.approx(30.0)
    assert waits == sorted(waits)
    hour = [w for w in waits if w < 30]
    assert len(hour) < 120, "requests grow with the logarithm of the time"


def test_poll_zero_switches_pacing_off(tell: Tell) -> None:
    """`--poll 0` is for tests and benchmarks."""
    story = tell(POLL, [200, *[(200, {"status": "busy"})] * 20, (200, {"status": "x"})], options=MachineOptions(poll=0))
    assert {seconds for seconds, _ in story.waits} == {0}
    assert len(story.requests) == 22


def test_a_retry_after_header_overrules_the_pace(tell: Tell) -> None:
    """A server that says when to come back is obeyed, also on a success."""
    story = tell(POLL, [200, (200, {"status": "busy"}, {"Retry-After": "7"}), (200, {"status": "x"})])
    assert story.waits == [(7.0, "Retry-After")]


def test_visits_that_change_nothing_are_not_stored(tell: Tell) -> None:
    """Size and time per run are O(steps), never O(polls)."""
    few = tell(POLL, [200, *[(200, {"status": "busy"})] * 5, (200, {"status": "x"})])
    many = tell(POLL, [200, *[(200, {"status": "busy"})] * 100, (200, {"status": "x"})])
    assert many.durable == few.durable


def test_a_loop_over_two_steps_counts_from_where_it_was_entered(tell: Tell) -> None:
    """A goto to an earlier step closes a loop, too."""
    story = tell(
        """
        - workflowId: w
          steps:
          - {stepId: a, operationId: one}
          - stepId: b
            operationId: two
            onSuccess:
            - {name: again, type: goto, stepId: a, criteria: [{condition: $response.body#/n < 3}]}
          - {stepId: c, operationId: three}
        """,
        [200, (200, {"n": 1}), 200, (200, {"n": 2}), 200, (200, {"n": 3}), 200],
    )
    assert story.operations == ["one", "two", "one", "two", "one", "two", "three"]
    assert len(story.waits) == 2


def test_a_goto_forward_does_not_wait(tell: Tell) -> None:
    """Only what leads back is paced."""
    story = tell(
        """
        - workflowId: w
          steps:
          - stepId: a
            operationId: one
            onSuccess: [{name: skip, type: goto, stepId: c}]
          - {stepId: b, operationId: two}
          - {stepId: c, operationId: three}
        """
    )
    assert story.operations == ["one", "three"]
    assert story.waits == []


# -- what never falls through ------------------------------------------------------------------------------------------


def test_html_where_json_was_promised_fails_the_step(tell: Tell) -> None:
    """A body that criteria read and that is not what its media type says never leads to success."""
    story = tell(POLL, [200, (200, "<html><title>Sign in</title></html>")])
    assert story.end.status == "failed"
    assert "HTML" in story.end.reason


def test_an_empty_answer_to_a_poll_fails_the_step(tell: Tell) -> None:
    """Both guards of a poll are false without a body; going on to the next step would be a silent wrong result."""
    story = tell(POLL, [200, (200, None)])
    assert story.end.status == "failed"
    assert "no body" in story.end.reason
    assert story.operations == ["one", "poll"]


GUARDED = re.sub(r"    - name: done\n(?:      .*\n)+", "", POLL)
"""The poll without an action that ends it: what is not busy goes on to the next step."""


@pytest.mark.parametrize("document", [POLL, GUARDED], ids=["ended", "left"])
def test_a_loop_that_ends_on_a_missing_value_says_so(document: str, tell: Tell) -> None:
    """`!=` holds for what is missing, and `==` does not: a poll is over with `{}`. That is seldom meant."""
    story = tell(document, [200, (200, {"status": "busy"}), (200, {"stauts": "busy"}), 200])
    (warning,) = [fact for fact in story.of(events.Warned) if fact.rule == events.LOOP_LEFT]
    assert 'missing == "busy" is false' in warning.message
    assert warning.step_id == "poll"
    assert story.end.status == "succeeded"


def test_a_loop_that_ends_on_a_value_says_nothing(tell: Tell) -> None:
    """Null is a value, and a word is one."""
    for last in ({"status": None}, {"status": "ready"}):
        story = tell(POLL, [200, (200, {"status": "busy"}), (200, last)])
        assert not [fact for fact in story.of(events.Warned) if fact.rule == events.LOOP_LEFT]


def test_an_action_criterion_that_cannot_be_evaluated_fails_the_step(tell: Tell) -> None:
    """If no action matched and one could not be judged, nobody can say that the step is done."""
    story = tell(
        """
        - workflowId: w
          steps:
          - stepId: a
            operationId: one
            onSuccess:
            - {name: x, type: end, criteria: [{context: $response.body, type: jsonpath, condition: '$.a[*] == 1'}]}
          - {stepId: b, operationId: two}
        """,
        [(200, {"a": [1, 2]})],
    )
    assert story.operations == ["one"]
    assert story.end.status == "failed"
    assert "cannot be evaluated" in story.end.reason


# -- failure actions ---------------------------------------------------------------------------------------------------


def test_end_in_on_failure_fails_the_run_but_handled(tell: Tell) -> None:
    """A-2: the author foresaw it, yet the workflow did not succeed."""
    story = tell(with_failure("{name: stop, type: end}"), [500])
    assert (story.end.status, story.end.handled) == ("failed", True)


def test_goto_in_on_failure_recovers(tell: Tell) -> None:
    """A-3: recovered by goto is a success."""
    story = tell(with_failure("{name: other, type: goto, stepId: c}"), [500, 200])
    assert story.operations == ["one", "three"]
    assert (story.end.status, story.end.recovered) == ("succeeded", True)


def test_retry_is_made_once_unless_the_action_says_otherwise(tell: Tell) -> None:
    """A-4: without retryLimit a single retry; then the workflow fails."""
    story = tell(with_failure("{name: r, type: retry}"), [500])
    assert story.operations == ["one", "one"]
    assert story.end.status == "failed"
    assert story.waits == [(0.0, "retry")]


def test_retry_honours_its_limit_its_pause_and_the_servers_wish(tell: Tell) -> None:
    """§1.7: retryAfter in decimal seconds, overruled by Retry-After; attempts are counted."""
    story = tell(
        with_failure("{name: r, type: retry, retryAfter: 1.5, retryLimit: 3}"),
        [500, (500, {}, {"Retry-After": "9"}), 500, 200],
    )
    assert story.waits == [(1.5, "retry"), (9.0, "Retry-After"), (1.5, "retry")]
    assert story.operations == ["one"] * 4 + ["two", "three"]
    assert (story.end.status, story.end.recovered) == ("succeeded", True)
    assert [fact.attempt for fact in story.of(events.StepStarted)][:4] == [1, 2, 3, 4]


def test_after_exhaustion_the_next_matching_action_is_taken(tell: Tell) -> None:
    """A-5: a retry must be exhausted before subsequent failure actions."""
    story = tell(
        with_failure("{name: r, type: retry, retryLimit: 2}\n    - {name: other, type: goto, stepId: c}"),
        [500, 500, 500, 200],
    )
    assert story.operations == ["one", "one", "one", "three"]


def test_a_retry_limit_of_zero_never_retries(tell: Tell) -> None:
    """A limit is a limit."""
    assert tell(with_failure("{name: r, type: retry, retryLimit: 0}"), [500]).operations == ["one"]


def test_a_retry_with_criteria_sees_the_response(tell: Tell) -> None:
    """Action criteria are judged with the response of the step."""
    action = "{name: r, type: retry, retryLimit: 5, criteria: [{condition: $statusCode == 503}]}"
    assert tell(with_failure(action), [503, 500]).operations == ["one", "one"]


def test_retry_counters_start_again_with_each_visit(tell: Tell) -> None:
    """A-6: per visit and action."""
    story = tell(
        """
        - workflowId: w
          steps:
          - stepId: a
            operationId: one
            onFailure: [{name: r, type: retry, retryLimit: 1}]
            onSuccess: [{name: again, type: goto, stepId: a, criteria: [{condition: $response.body#/n == 1}]}]
        """,
        [500, (200, {"n": 1}), 500, (200, {"n": 2})],
    )
    assert story.end.status == "succeeded"
    assert len(story.requests) == 4


def test_retry_with_a_step_runs_it_first(tell: Tell) -> None:
    """A-8: the named step, then the failed one again; the named step's own successor is not entered."""
    action = "{name: r, type: retry, stepId: b, retryLimit: 2}"
    story = tell(with_failure(action), [401, 200, 401, 200, 200, 200])
    assert story.operations == ["one", "two", "one", "two", "one", "two", "three"]
    assert story.end.status == "succeeded"


def test_a_failing_detour_goes_on_to_the_next_action(tell: Tell) -> None:
    """A-8: its failure makes the retry fail, and the original answer decides about the next action."""
    action = (
        "{name: r, type: retry, stepId: b}\n"
        "    - {name: other, type: goto, stepId: c, criteria: [{condition: $statusCode == 401}]}"
    )
    story = tell(with_failure(action), [401, 500, 200])
    assert story.operations == ["one", "two", "three"]
    assert story.end.status == "succeeded"


def test_a_retry_that_names_its_own_step_is_a_plain_retry(tell: Tell) -> None:
    """Dialect `retry-self-step`."""
    story = tell(with_failure("{name: r, type: retry, stepId: a, retryLimit: 2}"), [500, 500, 200])
    assert story.operations == ["one", "one", "one", "two", "three"]


def test_workflow_level_actions_hold_where_a_step_has_none_of_that_name(tell: Tell) -> None:
    """A-11: overridden by name, never removed."""
    story = tell(
        """
        - workflowId: w
          failureActions:
          - {name: r, type: retry, retryLimit: 2}
          steps:
          - {stepId: a, operationId: one, onFailure: [{name: only404, type: end, criteria: [{condition: $statusCode == 404}]}]}
          - {stepId: b, operationId: two, onFailure: [{name: r, type: retry, retryLimit: 0}]}
        """,
        [500, 500, 200, 500],
    )
    assert story.operations == ["one", "one", "one", "two"]
    assert story.end.status == "failed"


# -- passing faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(503, id="503"),
        pytest.param(429, id="429"),
        pytest.param((400, {"__type": "ThrottlingException", "message": "Rate exceeded"}), id="throttled"),
        pytest.param(Fault("reset"), id="reset"),
        pytest.param(Fault("refused", sent=False), id="refused"),
        pytest.param(Fault("timeout"), id="timeout"),
    ],
)
def test_a_passing_fault_does_not_end_a_poll(tell: Tell, fault: Any) -> None:
    """It is retried below the document: no visit of it is counted."""
    story = tell(POLL, [200, (200, {"status": "busy"}), fault, fault, (200, {"status": "ready"})])
    assert story.end.status == "succeeded"
    assert story.end.recovered is False
    assert [fact.tries for fact in story.of(events.Trouble)] == [1, 2]
    assert [fact.visit for fact in story.of(events.StepStarted) if fact.step_id == "poll"] == [1, 2]


def test_an_outage_of_half_an_hour_does_not_end_a_poll(tell: Tell) -> None:
    """Patience in a loop is an hour; the pauses grow to 30 s."""
    story = tell(POLL, [200, (200, {"status": "busy"}), *[Fault("refused", sent=False)] * 60, (200, {"status": "x"})])
    assert story.end.status == "succeeded"


def test_an_outage_without_end_leaves_the_run_resumable(teller: Callable[..., Teller]) -> None:
    """What was done is not lost with the network."""
    player = teller(POLL)
    story = player.begin([200, (200, {"status": "busy"}), Fault("refused", sent=False)])
    assert story.end.status == "suspended"
    assert "refused" in story.end.reason
    again = player.resume(story, [(200, {"status": "ready"})])
    assert again.operations == ["poll"]
    assert again.end.status == "succeeded"


def test_a_wrong_address_is_told_soon(tell: Tell) -> None:
    """The first request of a run is not waited for long, and nothing is left to resume."""
    story = tell(TWO_STEPS, [Fault("refused", sent=False)])
    assert story.end.status == "failed"
    assert sum(seconds for seconds, _ in story.waits) < 4


def test_the_documents_own_retry_goes_before_the_engines(tell: Tell) -> None:
    """An author who wrote what to do with 503 gets exactly that."""
    story = tell(with_failure("{name: r, type: retry, retryLimit: 1, retryAfter: 2}"), [503, 200])
    assert story.of(events.Trouble) == []
    assert story.waits == [(2.0, "retry")]


# -- requests with effects ---------------------------------------------------------------------------------------------


def test_a_reset_connection_leaves_a_request_with_effects_in_doubt(teller: Callable[..., Teller]) -> None:
    """It may have been carried out: it is not repeated unless somebody says so."""
    player = teller(TWO_STEPS)
    story = player.begin([Fault("reset", sent=True)])
    assert story.end.status == "in-doubt"
    assert story.operations == ["one"]
    assert player.resume(story, [200]).end.status == "in-doubt"
    assert player.resume(story, [(200, {"x": 1}), 200], resend=True).operations == ["one", "two"]


def test_somebody_who_knows_that_it_took_effect_goes_on_behind_it(teller: Callable[..., Teller]) -> None:
    """Not repeated, not lost: the next step runs, only the answer's outputs are missing."""
    player = teller(TWO_STEPS)
    again = player.resume(player.begin([Fault("reset", sent=True)]), [200], took_effect=True)
    assert again.requests == [("two", {})]
    assert again.end.status == "succeeded"


def test_a_refused_connection_is_safe_to_repeat(tell: Tell) -> None:
    """Nothing was sent, so nothing can have happened."""
    story = tell(TWO_STEPS, [Fault("refused", sent=False), (200, {"x": 1}), 200])
    assert story.end.status == "succeeded"


def test_a_kill_before_the_answer_leaves_the_run_in_doubt(teller: Callable[..., Teller]) -> None:
    """The intent was stored before the request went out."""
    player = teller(TWO_STEPS)
    story = player.begin(["kill"])
    assert story.state is not None
    assert story.state.intent
    assert player.resume(story, [200]).end.status == "in-doubt"


def test_a_kill_in_the_middle_of_a_poll_goes_on_with_the_poll(teller: Callable[..., Teller]) -> None:
    """A read is simply repeated."""
    player = teller(POLL)
    story = player.begin([200, (200, {"status": "busy"}), "kill"])
    again = player.resume(story, [(200, {"status": "busy"}), (200, {"status": "ready"})])
    assert again.operations == ["poll", "poll"]
    assert again.end.outputs == {"status": "ready"}


def test_the_deadline_suspends_the_run(tell: Tell) -> None:
    """`--timeout`: the run stops, the outer world goes on, the run can be resumed."""
    story = tell(POLL, [200, (200, {"status": "busy"})], options=MachineOptions(timeout=60))
    assert story.end.status == "suspended"
    assert "--timeout" in story.end.reason


# -- workflows ---------------------------------------------------------------------------------------------------------

NESTED = """
- workflowId: outer
  steps:
  - stepId: call
    workflowId: inner
    parameters: [{name: n, value: 5}]
    outputs: {again: $outputs.y}
  - {stepId: b, operationId: two, requestBody: {payload: {y: $steps.call.outputs.y, again: $steps.call.outputs.again}}}
  outputs: {y: $steps.call.outputs.y}
- workflowId: inner
  inputs: {type: object, required: [n], properties: {n: {type: integer}, d: {type: string, default: deep}}}
  steps:
  - stepId: a
    operationId: one
    requestBody: {payload: {n: $inputs.n, d: $inputs.d}}
    outputs: {y: $response.body#/y}
  outputs: {y: $steps.a.outputs.y}
"""


def test_a_step_can_be_a_workflow(tell: Tell) -> None:
    """Its inputs come from the parameters and its defaults; its outputs are reachable both ways (A-14)."""
    story = tell(NESTED, [(200, {"y": 9}), 200], workflow_id="outer")
    assert story.requests == [("one", {"n": 5, "d": "deep"}), ("two", {"y": 9, "again": 9})]
    assert story.end.outputs == {"y": 9}
    assert [fact.path for fact in story.of(events.StepStarted)] == [(), ("outer",), ()]


def test_a_failing_nested_workflow_fails_its_step(tell: Tell) -> None:
    """Without criteria a workflow step succeeds exactly when its workflow does."""
    story = tell(NESTED, [500], workflow_id="outer")
    assert story.end.status == "failed"
    assert "'inner' failed" in story.end.reason


def test_nested_inputs_are_checked_before_the_workflow_begins(tell: Tell) -> None:
    """A wrong type is a failed step, not a request with rubbish in it."""
    story = tell(NESTED.replace("value: 5", "value: five"), [200], workflow_id="outer")
    assert story.requests == []
    assert "'inner' cannot be called" in story.end.reason


def test_goto_a_workflow_is_a_tail_call(tell: Tell) -> None:
    """A-9: this workflow ends, the other's outputs are the result."""
    story = tell(
        """
        - workflowId: first
          inputs: {type: object, properties: {n: {type: integer, default: 4}}}
          steps:
          - {stepId: a, operationId: one, onSuccess: [{name: go, type: goto, workflowId: second}]}
          - {stepId: never, operationId: three}
          outputs: {mine: $steps.a.outputs.x}
        - workflowId: second
          inputs: {type: object, properties: {n: {type: integer}}}
          steps:
          - {stepId: b, operationId: two, requestBody: {payload: {n: $inputs.n}}, outputs: {z: $response.body#/z}}
          outputs: {theirs: $steps.b.outputs.z}
        """,
        [200, (200, {"z": "last"})],
        workflow_id="first",
    )
    assert story.requests == [("one", None), ("two", {"n": 4})]
    assert story.end.outputs == {"theirs": "last"}


ROUND = """
- workflowId: ask
  steps:
  - stepId: a
    operationId: poll
    onSuccess: [{name: go, type: goto, workflowId: TARGET, criteria: [{condition: $response.body#/status == 'busy'}]}]
- workflowId: rest
  steps: [{stepId: b, operationId: read, onSuccess: [{name: back, type: goto, workflowId: ask}]}]
"""
BUSY_ANSWER = (200, {"status": "busy"})


@pytest.mark.parametrize(
    ("target", "answers", "waits"),
    [
        pytest.param("ask", [BUSY_ANSWER, BUSY_ANSWER, 200], [0.2, 0.2], id="itself"),
        pytest.param(
            "rest", [BUSY_ANSWER, 200, BUSY_ANSWER, 200, 200], [0.0, 0.2, 0.0, 0.2], id="another, which comes back"
        ),
        pytest.param("ask", [(200, {"status": "busy"}, {"Retry-After": "7"}), 200], [7.0], id="as the server asks"),
    ],
)
def test_workflows_that_go_to_each_other_are_a_loop(
    tell: Tell, target: str, answers: list[Any], waits: list[float]
) -> None:
    """It is paced as one of steps: once for each time round, and longer the longer it goes on."""
    story = tell(ROUND.replace("TARGET", target), answers, workflow_id="ask")
    assert story.end.status == "succeeded"
    assert [seconds for seconds, _ in story.waits] == waits
    busy = [BUSY_ANSWER if target == "ask" or number % 2 == 0 else 200 for number in range(1000)]
    story = tell(ROUND.replace("TARGET", target), [*busy, 200], workflow_id="ask", stop_after=4000)
    assert max(seconds for seconds, _ in story.waits) > 20


DEPENDS = """
- workflowId: main
  dependsOn: [setup]
  steps:
  - {stepId: a, operationId: two, requestBody: {payload: {token: $workflows.setup.outputs.token}}}
- workflowId: setup
  dependsOn: [base]
  steps:
  - {stepId: s, operationId: one, outputs: {t: $response.body#/t}}
  outputs: {token: $steps.s.outputs.t}
- workflowId: base
  steps: [{stepId: z, operationId: three}]
"""


def test_depends_on_runs_first_and_once(tell: Tell) -> None:
    """A-16: topologically, each once; results in `$workflows`."""
    story = tell(DEPENDS, [200, (200, {"t": "T"}), 200], workflow_id="main")
    assert story.requests == [("three", None), ("one", None), ("two", {"token": "T"})]


def test_a_failed_dependency_stops_the_dependent_with_a_reason(tell: Tell) -> None:
    """What needs it is not run."""
    story = tell(DEPENDS, [500], workflow_id="main")
    assert story.operations == ["three"]
    assert story.end.status == "failed"
    assert story.end.reason.count("that it depends on failed: ") == 2
    assert story.end.reason.endswith("failed: the server answered 500")


def test_retry_with_a_workflow_runs_it_first(tell: Tell) -> None:
    """A retry may refresh something first, such as a token."""
    story = tell(
        """
        - workflowId: w
          steps:
          - stepId: a
            operationId: one
            onFailure: [{name: r, type: retry, workflowId: refresh, criteria: [{condition: $statusCode == 401}]}]
        - workflowId: refresh
          steps: [{stepId: f, operationId: fix}]
        """,
        [401, 200, 200],
        workflow_id="w",
    )
    assert story.operations == ["one", "fix", "one"]
    assert story.end.status == "succeeded"


def test_workflows_that_call_each_other_for_ever_end_with_a_reason(tell: Tell) -> None:
    """A recursion without end is bounded."""
    story = tell("- {workflowId: w, steps: [{stepId: a, workflowId: w}]}")
    assert story.end.status == "failed"
    assert "deep" in story.end.reason


# -- properties --------------------------------------------------------------------------------------------------------

ANSWERS = st.lists(
    st.one_of(
        st.sampled_from([200, 404, 429, 500, 503]),
        st.sampled_from(["busy", "ready"]).map(lambda status: (200, {"status": status, "n": 1})),
        st.just((200, "<html>")),
        st.sampled_from([Fault("reset"), Fault("refused", sent=False), Fault("tls")]),
        st.just("kill"),
    ),
    min_size=1,
    max_size=12,
)
DOCUMENTS = st.sampled_from(
    [
        TWO_STEPS,
        POLL,
        with_failure("{name: r, type: retry, retryLimit: 2}"),
        with_failure("{name: r, type: retry, stepId: b}\n    - {name: c, type: goto, stepId: c}"),
        with_failure("{name: back, type: goto, stepId: a}"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(document=DOCUMENTS, answers=ANSWERS)
def test_a_run_always_moves_on_or_says_why_it_ended(document: str, answers: list[Any]) -> None:
    """Whatever the answers: one effect per turn, a reason for each end but success, attempts within their limits."""
    made, _ = make_plan(document)
    assert made is not None
    story = Teller(made).begin(answers, stop_after=200)
    for started in story.of(events.StepStarted):
        assert started.visit >= 1
        assert 1 <= started.attempt <= 3
    if story.result is not None:
        assert story.result.status == "succeeded" or story.result.reason
    ended = [*story.of(events.StepSucceeded), *story.of(events.StepFailed)]
    # A step whose retry had to run something that failed says twice that it failed: with each reason once.
    detours = [taken for taken in story.of(events.ActionTaken) if taken.type == "retry"]
    assert len(ended) <= len(story.requests) + len(detours)


@settings(max_examples=100, deadline=None)
@given(answers=ANSWERS, cut=st.integers(0, 20))
def test_a_run_that_is_cut_anywhere_goes_on_where_it_was(answers: list[Any], cut: int) -> None:
    """Resume from any stored state ends as it would have, or says that it is in doubt."""
    made, _ = make_plan(POLL)
    assert made is not None
    player = Teller(made)
    story = player.begin(answers, stop_after=cut)
    if story.result is not None and story.result.status not in {"suspended", "in-doubt"}:
        return
    again = player.resume(story, [(200, {"status": "ready"})])
    assert story.state is not None
    wanted = "in-doubt" if story.state.intent else "succeeded"
    assert again.end.status == wanted


def test_a_retry_that_runs_a_step_first_has_an_end(tell: Tell) -> None:
    """The step that runs first has counts of its own: those of the step that is retried stay what they were."""
    story = tell(with_failure("{name: r, type: retry, stepId: b, retryLimit: 2}"), [500, 200, 500, 200, 500])
    assert story.operations == ["one", "two", "one", "two", "one"]
    assert story.end.status == "failed"
    assert [fact.attempt for fact in story.of(events.StepStarted) if fact.step_id == "a"] == [1, 2, 3]


def test_a_failing_detour_ends_the_patience_with_its_origin(tell: Tell) -> None:
    """A step that asked to slow down, and whose retry failed, has failed: it is not sent again below the document."""
    story = tell(with_failure("{name: r, type: retry, stepId: c}"), [429, 500, 200])
    assert story.operations == ["one", "three"]
    assert story.end.status == "failed"
