"""What holds for every run of every document: documents, answers and interruptions are generated."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.arazzo.conftest import OPERATIONS, Fault, Story, Teller, api
from treadle.arazzo import events
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.machine import Begin, Continue, Due, Finish, Machine, Send, State, Turn, Wait
from treadle.arazzo.plan import OpenedSource, Plan, plan

NAMES = ["a", "b", "c", "d"]
WORKFLOWS = ["first", "second", "third"]
CALLED = ["one", "read", "poll", "fix"]

CRITERION = st.sampled_from(
    [
        {"condition": "$statusCode == 200"},
        {"condition": "$statusCode == 500"},
        {"condition": "$response.body#/status == 'busy'"},
        {"condition": "$.n > 1", "type": "jsonpath", "context": "$response.body"},
        {"condition": "$steps.a.outputs.n == 1"},
    ]
)
MORE = ["$steps.a.outputs.n", "$response.header.X-Count", "$inputs.x", "1"]
CRITERIA: st.SearchStrategy[list[dict[str, str]]] = st.one_of(st.just([]), st.lists(CRITERION, max_size=2))


@st.composite
def actions(draw: st.DrawFn, steps: list[str], later: list[str], *, failure: bool) -> list[dict[str, Any]]:
    """Give a list of actions with names of their own. Workflows lead to later ones, so that calls have an end."""
    made = []
    for index in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["retry", "retry", "goto", "end"] if failure else ["goto", "end"]))
        action: dict[str, Any] = {"name": f"act{index}", "type": kind, "criteria": draw(CRITERIA)}
        target = draw(st.sampled_from(["step", "workflow", "none"]))
        if kind == "goto" or (kind == "retry" and target != "none"):
            if target == "workflow" and later:
                action["workflowId"] = draw(st.sampled_from(later))
            else:
                action["stepId"] = draw(st.sampled_from(steps))
        if kind == "retry":
            action["retryLimit"] = draw(st.sampled_from([2, 1, 3, 0]))
            action["retryAfter"] = draw(st.sampled_from([0, 0.5, 2]))
        made.append(action)
    return made


@st.composite
def documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Give up to three workflows of up to four steps, with actions of both kinds at both levels."""
    made = []
    ids = WORKFLOWS[: draw(st.integers(1, 3))]
    for position, workflow_id in enumerate(ids):
        later = ids[position + 1 :]
        names = NAMES[: draw(st.integers(1, 4))]
        steps = []
        for name in names:
            step: dict[str, Any] = {"stepId": name}
            calls = draw(st.booleans())
            if later and calls:
                step["workflowId"] = draw(st.sampled_from(later))
            else:
                step["operationId"] = draw(st.sampled_from(CALLED))
                values = st.sampled_from([*MORE, f"$steps.{names[-1]}.outputs.more"])
                step["outputs"] = {"n": "$response.body#/n", "more": draw(values)}
                step["parameters"] = [{"name": "X-N", "in": "header", "value": draw(values)}]
            if draw(st.booleans()) and "operationId" in step:
                step["successCriteria"] = draw(st.lists(CRITERION, min_size=1, max_size=2))
            if draw(st.integers(0, 3)) == 0:
                step["timeout"] = draw(st.sampled_from([400, 3000]))
            step["onSuccess"] = draw(actions(names, later, failure=False)) if draw(st.booleans()) else []
            step["onFailure"] = draw(actions(names, later, failure=True))
            steps.append(step)
        workflow = {"workflowId": workflow_id, "steps": steps, "outputs": {"n": "$steps.a.outputs.n"}}
        if later and draw(st.integers(0, 3)) == 0:
            workflow["dependsOn"] = [draw(st.sampled_from(later))]
        made.append(workflow)
    return made


ANSWERS = st.lists(
    st.one_of(
        st.sampled_from([500, 200, 404, 429, 503]),
        st.sampled_from(["busy", "ready"]).map(lambda status: (200, {"status": status, "n": 1})),
        st.sampled_from([(200, {"n": 2}), (200, "<html>"), (200, None), (200, [1])]),
        st.sampled_from(["1", "2"]).map(lambda count: (200, {"n": 1}, {"X-Count": count})),
        st.sampled_from([Fault("reset"), Fault("refused", sent=False), Fault("timeout"), Fault("tls")]),
    ),
    min_size=1,
    max_size=20,
)


def planned(document: list[dict[str, Any]]) -> Plan:
    whole = {
        "arazzo": "1.0.1",  # in which references to later steps are a warning
        "info": {"title": "Test", "version": "1"},
        "sourceDescriptions": [{"name": "api", "url": "./api.yaml", "type": "openapi"}],
        "workflows": document,
    }
    text = load(msgspec.json.encode(whole), "test.arazzo.json")
    description, _ = build(text)
    assert description is not None
    made, found = plan(description, text, {"api": OpenedSource(api(OPERATIONS))}, workflow_id="first")
    assert made is not None, [each.render() for each in found]
    return made


def limits(document: list[dict[str, Any]], workflow: str, step: str) -> dict[str, int]:
    steps = next(each["steps"] for each in document if each["workflowId"] == workflow)
    chosen = next(each for each in steps if each["stepId"] == step)
    return {each["name"]: each["retryLimit"] for each in chosen["onFailure"] if each["type"] == "retry"}


@settings(max_examples=120, deadline=None)
@given(document=documents(), answers=ANSWERS)
def test_a_step_never_ends_without_exactly_one_reason(document: list[dict[str, Any]], answers: list[Any]) -> None:
    """Each attempt succeeds or fails, once; what a run was doing when it stopped may be left open, nothing else."""
    made = planned(document)
    story = Teller(made).begin(answers, stop_after=300)
    open_attempts: list[tuple[tuple[str, ...], str]] = []
    took_a_detour = False
    for fact in story.facts:
        if isinstance(fact, events.StepStarted):
            open_attempts = [each for each in open_attempts if len(each[0]) < len(fact.path) or each[0] == fact.path]
            assert (fact.path, fact.step_id) not in open_attempts, "begun again before it ended"
            open_attempts.append((fact.path, fact.step_id))
        elif isinstance(fact, events.StepSucceeded):
            assert open_attempts
            open_attempts.remove((fact.path, fact.step_id))
        elif isinstance(fact, events.StepFailed):
            assert fact.reason
            if (fact.path, fact.step_id) in open_attempts:
                open_attempts.remove((fact.path, fact.step_id))
            else:
                assert took_a_detour, "it failed without having begun"
        elif isinstance(fact, events.ActionTaken) and fact.type == "retry" and fact.target:
            took_a_detour = True
    if story.result is not None:
        assert story.result.status == "succeeded" or story.result.reason
        if story.result.status == "succeeded":
            assert open_attempts == []


@settings(max_examples=120, deadline=None)
@given(document=documents(), answers=ANSWERS)
def test_visits_and_attempts_keep_their_limits(document: list[dict[str, Any]], answers: list[Any]) -> None:
    """A retry is made as often as its limit says, in each visit; visits and attempts are counted without gaps."""
    made = planned(document)
    story = Teller(made).begin(answers, stop_after=300)
    retried: Counter[tuple[Any, ...]] = Counter()
    for fact in story.facts:
        if isinstance(fact, events.StepStarted):
            key = (fact.path, fact.step_id)
            assert fact.attempt >= 1
            assert fact.visit >= 1
            if fact.attempt == 1:
                retried = Counter({name: count for name, count in retried.items() if name[:2] != key})
        elif isinstance(fact, events.ActionTaken) and fact.type == "retry":
            retried[fact.path, fact.step_id, fact.name] += 1
            allowed = max(
                limits(document, each, fact.step_id).get(fact.name, 0)
                for each in WORKFLOWS
                if _has(document, each, fact.step_id)
            )
            assert retried[fact.path, fact.step_id, fact.name] <= allowed


def _has(document: list[dict[str, Any]], workflow: str, step: str) -> bool:
    return any(each["workflowId"] == workflow and any(s["stepId"] == step for s in each["steps"]) for each in document)


@settings(max_examples=80, deadline=None)
@given(document=documents(), answers=ANSWERS)
def test_whatever_leads_back_waits(document: list[dict[str, Any]], answers: list[Any]) -> None:
    """Whoever goes to the same or an earlier step waits first: so no document keeps a turn from ending, or a server busy."""
    made = planned(document)
    machine = Machine(made)
    player = Teller(made)
    turn = machine.begin(Begin(player.now, "r", {}))
    script = list(answers)
    for _ in range(200):
        begun = Counter((fact.path, fact.step_id) for fact in turn.facts if isinstance(fact, events.StepStarted))
        # What a retry runs first begins at once, and once for each retry.
        first = sum(isinstance(fact, events.ActionTaken) and fact.type == "retry" for fact in turn.facts)
        assert all(count <= 1 + first for count in begun.values())
        if _went_back(made, turn):
            assert isinstance(turn.effect, Wait)
        if isinstance(turn.effect, Finish):
            return
        written = msgspec.json.encode(turn.state)
        stored = msgspec.json.decode(written, type=State)
        event: Any
        if isinstance(turn.effect, Wait):
            player.now = max(player.now, turn.effect.until)
            event = Due(player.now)
        else:
            assert isinstance(turn.effect, Send)
            assert turn.durable or not turn.effect.intent
            assert turn.effect.timeout > 0
            player.now += 0.5
            event = player._event(script.pop(0) if len(script) > 1 else script[0], turn.effect.request)
        following = machine.advance(turn.state, event)
        # A machine has no memory but the state, and does not change what it was given.
        assert msgspec.json.encode(turn.state) == written
        again = machine.advance(stored, event)
        assert (again.facts, again.durable) == (following.facts, following.durable)
        assert msgspec.json.encode(again.state) == msgspec.json.encode(following.state)
        turn = following


def _went_back(made: Plan, turn: Turn) -> bool:
    taken = [fact for fact in turn.facts if isinstance(fact, events.ActionTaken)]
    if not taken or taken[-1].type != "goto" or not turn.state.frames:
        return False
    index = made.workflows[turn.state.frames[-1].workflow].index
    return index.get(taken[-1].target, len(index)) <= index.get(taken[-1].step_id, -1)


# A poll that begins with a retry: its first visit has one attempt more than those that the watch makes.
RETRIED = [
    {
        "workflowId": "first",
        "steps": [
            {
                "stepId": "a",
                "operationId": "read",
                "onSuccess": [{"name": "again", "type": "goto", "stepId": "a"}],
                "onFailure": [{"name": "retry", "type": "retry", "retryLimit": 2}],
            }
        ],
    }
]


@settings(max_examples=80, deadline=None)
@example(document=RETRIED, answers=[500, 200], cut=1)
@given(document=documents(), answers=ANSWERS, cut=st.integers(1, 30))
def test_a_run_can_be_taken_up_from_wherever_it_was_stored(
    document: list[dict[str, Any]], answers: list[Any], cut: int
) -> None:
    """After a crash: it goes on and ends, or it says that it is in doubt; it never begins from the start."""
    made = planned(document)
    player = Teller(made)
    story: Story = player.begin(answers, stop_after=cut)
    assert story.state is not None
    if story.result is not None or story.state.status:
        return
    state = msgspec.json.decode(msgspec.json.encode(story.state), type=State)
    turn = player.machine.advance(state, Continue(player.now))
    resumed = turn.facts[0]
    assert isinstance(resumed, events.Resumed)
    if state.intent:
        assert isinstance(turn.effect, Finish)
        assert turn.effect.result.status == "in-doubt"
    else:
        assert isinstance(turn.effect, Wait)
    if not state.intent:
        again = player.resume(story, [*answers, 200], stop_after=300)
        assert again.turns > 1
