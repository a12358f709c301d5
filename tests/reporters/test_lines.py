"""What a log without a terminal says."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from treadle.arazzo import events
from treadle.arazzo.events import Event
from treadle.reporters.lines import LinesReporter

MAIN = """\
      0.00 s  train-and-poll-job of train.yml, run r-7k2m
      0.00 s  createTrainingJob  POST http://127.0.0.1:4566/
      0.03 s  createTrainingJob  200 in 0.03 s  trainingJobArn: arn:aws:sagemaker:us-east-1:000000000000:training-job/churn-1
      0.03 s  pollTrainingJob  POST http://127.0.0.1:4566/
      0.04 s  pollTrainingJob  200 in 0.01 s  trainingJobStatus: InProgress  secondaryStatus: Starting
      0.04 s  pollTrainingJob  goto pollTrainingJob (stillTraining)
       5.0 s  pollTrainingJob  secondaryStatus: Training
        15 s  pollTrainingJob  secondaryStatus: Uploading
        20 s  pollTrainingJob  trainingJobStatus: Completed  secondaryStatus: Completed
        20 s  pollTrainingJob  end (trainingTerminal)
succeeded in 20 s
"""
OUTPUTS = """\
trainingJobArn:    arn:aws:sagemaker:us-east-1:000000000000:training-job/churn-1
trainingJobStatus: Completed
modelArtifacts:    s3://models/churn-1/output/model.tar.gz
"""


def told(happened: Iterable[Event], **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    reporter = LinesReporter(out, err, **options)
    for event in happened:
        reporter.report(event)
    reporter.close()
    return out.getvalue(), err.getvalue()


def test_the_main_job_reads_like_a_story(script: Any) -> None:
    """One line for each change; an unchanged look makes none; the outputs alone are on standard output."""
    assert told(script.whole()) == (OUTPUTS, MAIN)


@pytest.mark.parametrize("watched", [False, True], ids=["by the machine", "by a watch"])
def test_hours_of_polling_stay_readable(script: Any, watched: bool) -> None:
    """Six hours of unchanged looks: a sign of life after 10 s, 20 s, 40 s …, and every ten minutes in the end."""
    happened = [*script.start(), *script.poll("InProgress", "Training", wait=30)]
    for _ in range(719):
        happened += script.same(wait=30) if watched else script.poll("InProgress", "Training", wait=30)
    still = [line[14:] for line in told(happened)[1].splitlines() if "still " in line]
    assert still[:4] == [
        "pollTrainingJob  still InProgress, Training after 30 s (visit 2)",
        "pollTrainingJob  still InProgress, Training after 1 min 00 s (visit 3)",
        "pollTrainingJob  still InProgress, Training after 2 min 00 s (visit 5)",
        "pollTrainingJob  still InProgress, Training after 4 min 00 s (visit 9)",
    ]
    assert 35 < len(still) < 45


def test_polls_without_a_pause_make_no_lines(script: Any) -> None:
    """A thousand looks in ten seconds say one thing."""
    happened = [
        *script.start(),
        *(event for _ in range(900) for event in script.poll("InProgress", "Training", wait=0)),
    ]
    assert len(told(happened)[1].splitlines()) == 6


def test_a_fault_is_told_once_and_its_end_too(script: Any) -> None:
    """A server that is away for a minute makes a few lines, and one when it is back."""
    happened = [
        *script.start(),
        *script.poll("InProgress", "Training"),
        *(script.trouble(n + 1, 2.0) for n in range(30)),
    ]
    happened += script.poll("InProgress", "Training")
    lines = [line.split("  pollTrainingJob  ")[1] for line in told(happened)[1].splitlines() if "again" in line]
    assert lines == [
        "127.0.0.1:4566 refuses the connection; trying again in 2.0 s",
        "127.0.0.1:4566 refuses the connection (6 tries in 10 s); trying again in 2.0 s",
        "127.0.0.1:4566 refuses the connection (11 tries in 20 s); trying again in 2.0 s",
        "127.0.0.1:4566 refuses the connection (21 tries in 40 s); trying again in 2.0 s",
        "answers again after 1 min 00 s",
    ]


def test_explain_gives_the_reasons_of_every_verdict(script: Any) -> None:
    """With `explain` the criteria stand with their operands, once as long as they say the same."""
    _, err = told(script.whole(("Training", "Training")), explain=True)
    lines = [line[14:].removeprefix("pollTrainingJob  ") for line in err.splitlines()]
    assert lines[4:9] == [
        "success: $statusCode == 200 holds",
        "    $statusCode is 200",
        "200 in 0.01 s  trainingJobStatus: InProgress  secondaryStatus: Training",
        'action stillTraining: $.TrainingJobStatus == "InProgress" holds [jsonpath-comparison]',
        '    $.TrainingJobStatus is "InProgress"',
    ]
    assert sum("holds [jsonpath-comparison]" in line for line in lines) == 1
    assert 'action stillTraining: $.TrainingJobStatus == "InProgress" does not hold [jsonpath-comparison]' in lines


ENDS = [
    pytest.param(
        lambda script: script.finish(
            "failed",
            step_id="createTrainingJob",
            reason="$statusCode == 200 does not hold: $statusCode is 400",
            last_body={"__type": "ValidationException", "message": "1 validation error detected"},
        ),
        """\
failed at createTrainingJob after 0.03 s
  $statusCode == 200 does not hold: $statusCode is 400
  the last answer says:
    __type:  ValidationException
    message: 1 validation error detected
""",
        id="failed: the last answer's own words",
    ),
    pytest.param(
        lambda script: script.finish("failed", step_id="x", handled=True, reason="no"),
        "failed at x after 0.03 s (an onFailure action ended it)\n  no\n",
        id="failed, handled",
    ),
    pytest.param(
        lambda script: script.finish("succeeded", recovered=True),
        "succeeded in 0.03 s (after a failure that an action recovered)\n",
        id="recovered",
    ),
    pytest.param(
        lambda script: script.finish("suspended", step_id="pollTrainingJob", reason="the server has gone"),
        """\
suspended at pollTrainingJob after 0.03 s; nothing is lost
  the server has gone
  hint: go on with: treadle resume r-7k2m
""",
        id="suspended",
    ),
    pytest.param(
        lambda script: script.finish("interrupted", step_id="pollTrainingJob", reason="interrupted"),
        "interrupted at pollTrainingJob after 0.03 s; the state is saved\n",
        id="interrupted: the reason would say it twice",
    ),
    pytest.param(
        lambda script: script.finish("in-doubt", step_id="createTrainingJob", reason="the connection broke"),
        """\
in doubt at createTrainingJob: it is not known whether the last request took effect, so it was not repeated
  the connection broke
  hint: look whether it took effect; if it did not, send it again with: treadle resume r-7k2m --resend
  hint: if it did, go on behind it with: treadle resume r-7k2m --took-effect
""",
        id="in doubt",
    ),
]


@pytest.mark.parametrize(("end", "want"), ENDS)
def test_every_end_says_what_to_do(script: Any, end: Callable[[Any], Event], want: str) -> None:
    """Headline, reason, the server's own words, the next step."""
    _, err = told([*script.start(), end(script)])
    assert "\n".join(err.splitlines()[3:]) + "\n" == want


def test_quiet_leaves_the_outputs_alone(script: Any) -> None:
    """Nothing but the result when all is well."""
    assert told(script.whole(), quiet=True) == (OUTPUTS, "")


def test_a_server_cannot_move_the_cursor(script: Any) -> None:
    """Control characters in what a server says are written out."""
    out, err = told([*script.start(), *script.poll("\x1b[2J", "x\r"), script.finish(outputs={"a": "\x1b]0;title\x07"})])
    assert "\x1b" not in out + err
    assert out == "a: \\x1b]0;title\\x07\n"


def test_nested_steps_are_told_apart(script: Any) -> None:
    """A step of a called workflow carries the names that lead to it."""
    about = {"at": script.at, "run_id": "r", "path": ("outer", "call", "inner")}
    _, err = told([events.StepSucceeded(**about, step_id="s", outputs={}, status=200)])
    assert err == "      0.00 s  call/inner/s  200\n"
