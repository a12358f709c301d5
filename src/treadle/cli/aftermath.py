"""What is said after a run about the training jobs behind it: why one failed, the end of its log, how to stop it.

A workflow that polls a job to its end succeeds also when the job fails, and need not output why. The person who waits
for it wants to know all the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from treadle.arazzo.events import LOOP_LEFT, Event, RunFinished, StepSucceeded, Warned
from treadle.errors import TreadleError
from treadle.reporters.ending import remarks, unhappy
from treadle.reporters.text import plain
from treadle.seams import Json, Reporter

if TYPE_CHECKING:
    from treadle.arazzo.run import Outcome

__all__ = ["Jobs", "aftermath", "interrupted", "unsure"]

_ARN: Final = re.compile(r"arn:[\w-]+:sagemaker:[\w-]*:\d*:training-job/([A-Za-z0-9-]{1,63})")
_LAST_LINES: Final = 15


class _Told(Reporter, Protocol):
    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class Jobs:
    """A reporter that passes everything on, and remembers the training jobs whose ARNs go by."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.in_doubt = False
        """Whether a loop was left because of something that was missing."""
        self.outputs: Mapping[str, Json] = {}
        """The outputs of the run that has ended, without secrets."""
        self._to: _Told | None = None

    def tells(self, reporter: _Told) -> None:
        """Pass events on to this reporter."""
        self._to = reporter

    def report(self, event: Event) -> None:
        """Take notice of an event and pass it on."""
        self.note(event)
        if self._to is not None:
            self._to.report(event)

    def note(self, event: Event) -> None:
        """Remember the jobs that a step's outputs name, a poll that ended on nothing, and how the run ended."""
        self.in_doubt = self.in_doubt or (isinstance(event, Warned) and event.rule == LOOP_LEFT)
        if isinstance(event, RunFinished):
            self.outputs = event.outputs
        if isinstance(event, StepSucceeded):
            found = [match[1] for match in _ARN.finditer(" ".join(_texts(event.outputs)))]
            self.names += [name for name in dict.fromkeys(found) if name not in self.names]

    def say(self, text: str) -> None:
        """Let the reporter say something that is no event."""
        if self._to is not None:
            self._to.say(text)

    def close(self) -> None:
        """Let the reporter go."""
        if self._to is not None:
            self._to.close()


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def interrupted(outcome: Outcome, jobs: Sequence[str], *, on_local: bool) -> Iterator[str]:
    """Give the lines that follow an interruption: what goes on, and the exact commands to go on with it or stop it."""
    for job in jobs:
        yield f"The training job {job} goes on. To stop it: {_stop(job, on_local=on_local)}"
    if outcome.status == "interrupted":  # the end of a run that was suspended says it already
        yield f"To go on with the run: treadle resume {outcome.run_id}"


def _stop(job: str, *, on_local: bool) -> str:
    return f"treadle jobs stop {job}" if on_local else f"aws sagemaker stop-training-job --training-job-name {job}"


def aftermath(outcome: Outcome, jobs: Sequence[str], *, on_local: bool, expected: bool) -> list[str]:
    """Give the lines that follow the end of a run whose job did not complete; none when it did."""
    status = unhappy(outcome.outputs, outcome.last_body)
    if not status:
        return []
    more = _in_detail(outcome.last_body, status)
    lines = [f"What the workflow waited for did not complete: its status is {status}{more}."]
    job = _the_job(outcome.last_body, jobs)
    log = _log(job) if job and on_local else []
    if outcome.status == "succeeded":
        # A failed run has been told with the last answer's remarks already. What a reason quotes from the log (its
        # further lines) is not said twice.
        said = [(name, text.partition("\n")[0] if log else text) for name, text in remarks(outcome.last_body)]
        lines += [f"  {name}: {plain(text)}" for name, text in said]
    lines += log
    if outcome.status == "succeeded" and not expected:
        name = next((name for name, value in outcome.outputs.items() if value == status), "")
        if name:
            lines.append(f"hint: --expect '{name} == \"Completed\"' makes this an error (exit code 1).")
    return lines


def unsure(outcome: Outcome, declared: Collection[str], *, expected: bool) -> list[str]:
    """Give the lines that follow a success that nothing but a missing value speaks for."""
    if outcome.status != "succeeded":
        return []
    without = [name for name in declared if name not in outcome.outputs]
    missing = f", and {', '.join(without)} {'has' if len(without) == 1 else 'have'} no value" if without else ""
    lines = [
        f"A loop ended because its answer lacks what the conditions look at{missing}: see whether this is a success."
    ]
    name = (without or [*declared, ""])[0]
    if name and not expected:
        lines.append(f"hint: --expect '{name} == \"…\"' makes anything else an error (exit code 1).")
    return lines


def _in_detail(body: Json, status: str) -> str:
    """Give the detail of a status that says more, such as `MaxRuntimeExceeded` of a job that was stopped."""
    detail: Any = body.get("SecondaryStatus") if isinstance(body, dict) else None
    return f" ({plain(detail)})" if isinstance(detail, str) and detail not in ("", status) else ""


def _the_job(body: Json, jobs: Sequence[str]) -> str:
    named: Any = body.get("TrainingJobName") if isinstance(body, dict) else None
    return named if isinstance(named, str) else jobs[-1] if jobs else ""


def _log(job: str) -> list[str]:
    """Give the end of a job's log as the embedded service has it. That it cannot be had must not hide the result."""
    from treadle.cli.client import tail
    from treadle.cli.local import client

    try:
        with client() as service:
            found = tail(service, job, _LAST_LINES)
    except TreadleError as error:
        return [f"Its log cannot be read: {error}"]
    if not found:
        return ["Its log is empty."]
    return [
        "The end of its log:",
        *(f"  {plain(line.text)}" for line in found[-_LAST_LINES:]),
        f"The whole log: treadle jobs logs {job}",
    ]
