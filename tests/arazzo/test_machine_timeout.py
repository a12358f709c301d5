"""`timeout` of a step (1.1, §1.5): it aborts and fails the step, whatever kind of step it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.arazzo.conftest import Fault, Teller
from tests.arazzo.shelf import Shelf
from treadle.arazzo import events
from treadle.arazzo.machine import Begin, Due, Faulted, Send, Wait

TOP = "sourceDescriptions: [{name: api, url: api.json, type: openapi}]\nworkflows:\n"
GET: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        "/read": {"get": {"operationId": "read", "responses": {"200": {"description": "ok"}}}},
        "/one": {"post": {"operationId": "one", "responses": {"200": {"description": "ok"}}}},
        "/fix": {"post": {"operationId": "fix", "responses": {"200": {"description": "ok"}}}},
    },
}


def shelf(tmp_path: Path, workflows: str) -> Shelf:
    return Shelf(tmp_path, {"main.yaml": TOP + workflows, "api.json": GET}, version="1.1.0")


def test_the_request_may_take_as_long_as_the_step(tmp_path: Path) -> None:
    """Milliseconds in the document, seconds here."""
    made = shelf(tmp_path, "- {workflowId: w, steps: [{stepId: s, operationId: read, timeout: 1500}]}")
    turn = Teller(made.open().plan).machine.begin(Begin(0.0, "r", {}))
    assert isinstance(turn.effect, Send)
    assert turn.effect.timeout == 1.5


@pytest.mark.parametrize("operation", ["read", "one"])
def test_a_step_that_takes_too_long_fails_the_workflow(tmp_path: Path, operation: str) -> None:
    """Neither patience nor doubt: the author has said how long to wait. The request is not repeated."""
    made = shelf(tmp_path, f"- {{workflowId: w, steps: [{{stepId: s, operationId: {operation}, timeout: 400}}]}}")
    story = made.tell([Fault("timeout")])
    assert (story.end.status, story.operations) == ("failed", [operation])
    assert "longer than its timeout of 0.4 s" in story.end.reason


def test_on_failure_decides_about_a_timeout(tmp_path: Path) -> None:
    """A timeout fails the step, and what the author foresaw for a failure happens."""
    step = "{stepId: s, operationId: read, timeout: 400, onFailure: [{name: r, type: retry, retryLimit: 2}]}"
    story = shelf(tmp_path, f"- {{workflowId: w, steps: [{step}]}}").tell([Fault("timeout"), Fault("timeout"), 200])
    assert story.operations == ["read", "read", "read"]
    assert story.end.recovered


def test_passing_faults_are_retried_within_the_timeout_only(tmp_path: Path) -> None:
    """Below the document the engine tries again, as long as the step has time."""
    made = shelf(tmp_path, "- {workflowId: w, steps: [{stepId: s, operationId: read, timeout: 2000}]}")
    story = made.tell([Fault("refused", sent=False)])
    assert story.end.status == "failed"
    assert "timeout of 2 s" in story.end.reason
    assert 1 < len(story.requests) < 10
    last = story.of(events.Trouble)[-1]
    assert last.again_at <= 1000.0 + 2.0 + 0.01


NESTED = """
- workflowId: outer
  steps:
  - stepId: call
    workflowId: inner
    timeout: 3000
    onFailure: [{name: fix, type: goto, stepId: rescue}]
  - {stepId: never, operationId: one}
  - {stepId: rescue, operationId: fix}
- workflowId: inner
  steps:
  - stepId: poll
    operationId: read
    onSuccess: [{name: again, type: goto, stepId: poll, criteria: [{condition: $statusCode == 200}]}]
"""


def test_a_called_workflow_is_cut_off(tmp_path: Path) -> None:
    """The step that calls it fails; everything that it had begun is given up."""
    story = shelf(tmp_path, NESTED).tell([200], workflow="outer")
    assert story.operations[-1] == "fix"
    assert set(story.operations[:-1]) == {"read"}
    assert 2 <= len(story.operations) <= 6
    failed = story.of(events.StepFailed)[0]
    assert (failed.step_id, failed.path) == ("call", ())
    assert "timeout of 3 s" in failed.reason
    assert story.end.status == "succeeded"


def test_a_wait_in_a_called_workflow_ends_with_the_timeout(tmp_path: Path) -> None:
    """A server that asks to wait for an hour does not get it."""
    story = shelf(tmp_path, NESTED).tell([(200, {}, {"Retry-After": "3600"}), 200], workflow="outer")
    assert story.operations == ["read", "fix"]
    assert story.waits[0][0] == pytest.approx(2.5)


def test_a_request_of_a_called_workflow_has_what_is_left(tmp_path: Path) -> None:
    """The time of the outer step is the limit of everything within."""
    player = Teller(shelf(tmp_path, NESTED).open("outer").plan)
    story = player.begin([200], stop_after=1)
    assert story.state is not None
    turn = player.machine.advance(story.state, Due(player.now + 1))
    while isinstance(turn.effect, Wait):
        turn = player.machine.advance(turn.state, Due(max(player.now + 1, turn.effect.until)))
    assert isinstance(turn.effect, Send)
    assert turn.effect.timeout < 3.0
    ended = player.machine.advance(turn.state, Faulted(player.now + 3, "timeout", "no answer", sent=True))
    assert any(isinstance(fact, events.StepFailed) and fact.step_id == "call" for fact in ended.facts)
