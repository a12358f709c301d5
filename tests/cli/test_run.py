"""`treadle run` and `treadle resume` against a server of a script, mostly as processes of their own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Arguments = Callable[..., list[str]]
Start = Callable[..., subprocess.Popen[str]]


def test_a_run_gives_its_outputs(said: Any, arguments: Arguments, trainer: Any) -> None:
    """Outputs alone on standard output; inputs read as their schema wants them; the default filled in."""
    code, out, err = said(*arguments("-i", "token=secret-token"))
    assert code == 0
    assert out == "arn:    arn:aws:sagemaker:us-east-1:000000000000:training-job/churn-1\nstatus: Completed\n"
    assert "status: InProgress  secondaryStatus: Training" in err
    assert err.splitlines()[-1].startswith("succeeded in ")
    assert "secret-token" not in err
    assert trainer.calls[0][1]["ResourceConfig"]["InstanceCount"] == 1
    assert trainer.calls[0][1]["Token"] == "secret-token"


def test_json_lines_for_programs(said: Any, arguments: Arguments) -> None:
    """Every line is an event; the last one is the result; nothing secret is in them."""
    code, out, _ = said(*arguments("--json", "-i", "token=secret-token"))
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [lines[0]["event"], lines[-1]["event"]] == ["RunStarted", "RunFinished"]
    assert lines[-1]["status"] == "succeeded"
    assert lines[-1]["outputs"]["status"] == "Completed"
    assert "secret-token" not in out


def test_inputs_from_a_file(said: Any, document: str, trainer: Any, tmp_path: Path) -> None:
    """JSON or YAML; what stands on the command line is stronger."""
    (tmp_path / "in.yml").write_text("job: from-file\nhosts: 7\n")
    args = ["--inputs", str(tmp_path / "in.yml"), "-i", "hosts=2", "--on", trainer.url, "--poll", "0"]
    assert said("run", document, *args)[0] == 0
    assert trainer.calls[0][1]["TrainingJobName"] == "from-file"
    assert trainer.calls[0][1]["ResourceConfig"]["InstanceCount"] == 2


NOTHING_SENT = [
    pytest.param(["-i", "hosts=two"], "the input `hosts` must be a whole number", id="wrong type"),
    pytest.param(
        ["--expect", "stauts == 'x'"], "stauts is no output of the workflow.\nhint: Did you mean status?", id="expect"
    ),
    pytest.param(["--expect", "status =="], "can never be evaluated", id="expect, no condition"),
    pytest.param(["--server", "tariner=http://h"], "the document has no source tariner", id="unknown source"),
    pytest.param(["--poll", "-1"], "Invalid value for '--poll'", id="poll"),
    pytest.param(["--poll", "nan"], "'nan' is no duration", id="poll, no number"),
    pytest.param(["--timeout", "soon"], "'soon' is no duration", id="timeout"),
    pytest.param(["-i", "job"], "'job' is not of the form NAME=VALUE", id="no pair"),
    pytest.param(["--inputs", "nix.json"], "The inputs file nix.json cannot be read: No such file", id="no file"),
    pytest.param(["other"], "the document has no workflow 'other'", id="unknown workflow"),
]


@pytest.mark.parametrize(("more", "message"), NOTHING_SENT)
def test_what_is_wrong_is_known_before_anything_is_sent(
    said: Any, arguments: Arguments, trainer: Any, more: list[str], message: str
) -> None:
    """Exit code 2, a message with a place or a hint, and no request."""
    code, out, err = said(*arguments(*more))
    assert (code, out) == (2, "")
    assert message in err
    assert trainer.calls == []


def test_a_missing_input_is_named_with_its_description(said: Any, document: str, trainer: Any) -> None:
    """All that are missing at once, with how to give them."""
    code, _, err = said("run", document, "--on", trainer.url)
    assert code == 2
    assert "the input `job` is missing" in err
    assert "-i job=… (The name of the job.)" in err
    assert "the input `hosts` is missing" in err


BROKEN = [
    pytest.param("nix.yml", None, "there is no file", id="no document"),
    pytest.param("a.yml", "arazzo: [", "a.yml:1:", id="unreadable YAML"),
    pytest.param("a.yml", "arazzo: 9.0.0\n", "9.0.0", id="wrong version"),
    pytest.param("a.yml", "", "a.yml", id="empty"),
]


MANY_MISTAKES = """
arazzo: 1.0.1
info: {title: t, version: "1"}
sourceDescriptions: [{name: api, url: api.yml, type: openapi}]
workflows:
- workflowId: w
  steps:
  - stepId: a
    operationId: nope
    successCriteria: [{condition: $statusCode = 200}]
    onSuccess: [{name: on, type: goto, stepId: bb}]
"""
NO_SERVER = """
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /first: {get: {operationId: first, servers: [{url: "http://127.0.0.1:9"}], responses: {"200": {description: ok}}}}
  /last: {get: {operationId: last, responses: {"200": {description: ok}}}}
"""


def test_all_mistakes_are_told_at_once(said: Any, tmp_path: Path) -> None:
    """Whoever mends a document by running it has not to run it once for each kind of mistake."""
    (tmp_path / "api.yml").write_text(NO_SERVER)
    (tmp_path / "a.yml").write_text(MANY_MISTAKES)
    code, _, err = said("run", str(tmp_path / "a.yml"))
    assert code == 2
    assert [rule for rule in ("unknown-operation", "bad-condition", "unknown-step") if f"[{rule}]" not in err] == []


NEEDS_INPUT = """
  inputs: {type: object, properties: {x: {type: string}, y: {type: string, default: d}}}
  steps:
  - {stepId: a, operationId: first, parameters: [{name: q, in: query, value: "{$inputs.y}"}]}
  - {stepId: b, operationId: first, parameters: [{name: q, in: query, value: "at {$inputs.x}"}]}
"""


def test_an_input_that_a_later_request_needs_is_asked_for_before_the_first_one(said: Any, tmp_path: Path) -> None:
    """The schema lets it be left out, and the second step cannot do without it."""
    (tmp_path / "api.yml").write_text(NO_SERVER)
    (tmp_path / "a.yml").write_text(MANY_MISTAKES.partition("\n  steps:")[0] + NEEDS_INPUT)
    code, _, err = said("run", str(tmp_path / "a.yml"))
    assert code == 2
    assert "a.yml:10:50: error: the step 'b' cannot be sent without the input 'x', which was not given" in err
    assert "hint: give it with -i x=…" in err


def test_a_step_without_a_server_is_known_before_the_first_request(said: Any, tmp_path: Path) -> None:
    """Not when it is reached: the requests before it would have been sent for nothing."""
    steps = "  steps:\n  - {stepId: a, operationId: first}\n  - {stepId: b, operationId: last}\n"
    (tmp_path / "api.yml").write_text(NO_SERVER)
    (tmp_path / "a.yml").write_text(MANY_MISTAKES.partition("  steps:")[0] + steps)
    code, _, err = said("run", str(tmp_path / "a.yml"))
    assert code == 2
    assert "a.yml:9:5: error: the step 'b' cannot be sent: the description names no server" in err
    assert "hint: name one with --server api=URL" in err


@pytest.mark.parametrize(("name", "text", "message"), BROKEN)
def test_broken_documents(said: Any, tmp_path: Path, name: str, text: str | None, message: str) -> None:
    """Exit code 2 and a place, from run, plan and check alike."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    for command in ("run", "plan", "check"):
        code, out, err = said(command, str(path))
        assert code == 2, (command, out, err)
        assert message in err
        assert "Traceback" not in err


def test_an_expectation_decides_the_exit_code(said: Any, arguments: Arguments, trainer: Any) -> None:
    """A job that failed: the workflow succeeds, the expectation does not, and the reason is shown."""
    trainer.end = status("Failed", FailureReason="AlgorithmError: boom, exit code: 1")
    _, _, err = said(*arguments("--expect", 'status == "Completed"', "-i", "token=Failed"))
    assert '"•••" == "Completed" is false' in err
    code, out, err = said(*arguments("--expect", 'status == "Completed"'))
    assert code == 1
    assert "status: Failed" in out
    assert "FailureReason: AlgorithmError: boom, exit code: 1" in err
    assert "--expect 'status == \"Completed\"' does not hold: " in err
    assert '"Failed" == "Completed" is false' in err


def test_a_failed_job_is_told_though_the_workflow_succeeded(said: Any, arguments: Arguments, trainer: Any) -> None:
    """Without an expectation the exit code is the workflow's; the reason and the way to an error are shown."""
    trainer.end = status("Failed", FailureReason="AlgorithmError: boom")
    code, _, err = said(*arguments())
    assert code == 0
    assert "its status is Failed" in err
    assert "AlgorithmError: boom" in err
    assert "--expect 'status == \"Completed\"' makes this an error" in err


def test_a_poll_that_is_answered_with_nothing_is_told_loudly(said: Any, arguments: Arguments, trainer: Any) -> None:
    """The exit code is the workflow's; what ended the loop, what has no value, and how to make it an error."""
    trainer.instead["DescribeTrainingJob"] = (200, {})
    code, _, err = said(*arguments())
    assert code == 0
    assert "warning: the loop ends because the answer lacks something" in err
    assert "A loop ended because its answer lacks what the conditions look at, and status has no value" in err
    assert "hint: --expect 'status == \"…\"' makes anything else an error (exit code 1)." in err
    code, _, err = said(*arguments("--expect", 'status == "Completed"'))
    assert code == 1
    assert "A loop ended" in err
    assert "hint: --expect" not in err


def test_a_refusal_fails_the_run(said: Any, arguments: Arguments, trainer: Any) -> None:
    """The step, the reason, and the server's own words."""
    trainer.instead["CreateTrainingJob"] = 400, {"__type": "ValidationException", "message": "1 validation error"}
    code, out, err = said(*arguments())
    assert (code, out) == (1, "")
    assert "failed at create after" in err
    assert "it says: ValidationException: 1 validation error" in err


def test_a_server_that_answers_html_fails_the_run(said: Any, arguments: Arguments, trainer: Any) -> None:
    """An answer that is not what was promised never falls through to success."""
    trainer.instead["DescribeTrainingJob"] = 200, b"<html><title>Sign in</title></html>"
    code, _, err = said(*arguments())
    assert code == 1
    assert "HTML" in err


def test_a_server_that_is_not_there(said: Any, document: str) -> None:
    """Tried for a few seconds, then said; nothing that claims it came back."""
    code, _, err = said("run", document, "-i", "job=j", "-i", "hosts=1", "--on", "http://127.0.0.1:9")
    assert code == 1
    assert "failed at create" in err
    assert "nothing listens on 127.0.0.1:9" in err
    assert "answers again" not in err


def test_ctrl_c_and_resume(start: Start, treadle: Run, arguments: Arguments, trainer: Any) -> None:
    """The first Ctrl-C saves and says what goes on and how; resume goes on where it was and creates nothing anew."""
    trainer.polls_until_end = 10**6
    process = start(*arguments())
    trainer.wait_for("DescribeTrainingJob", 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the state is saved" in err
    assert "The training job churn-1 goes on. To stop it: aws sagemaker stop-training-job" in err
    command = next(line for line in err.splitlines() if "treadle resume" in line).rpartition(": ")[2]
    listed = treadle("runs", "ls", "--resumable")
    assert command.split()[-1] in listed.stdout
    assert "interrupted" in listed.stdout
    trainer.polls_until_end = 0
    done = treadle(*command.split()[1:], "--poll", "0")
    assert done.returncode == 0, done.stderr
    assert "status: Completed" in done.stdout
    assert trainer.count("CreateTrainingJob") == 1


def test_a_second_ctrl_c_ends_it_at_once(start: Start, arguments: Arguments, trainer: Any) -> None:
    """While a request with effects is out the first one waits for its answer; the second one does not."""
    trainer.held.clear()
    process = start(*arguments())
    trainer.wait_for("CreateTrainingJob", 1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "a second Ctrl-C" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    assert "ended at once; go on with: treadle resume 2" in process.stderr.read()


def test_a_run_that_was_killed_while_creating_is_in_doubt(
    start: Start, treadle: Run, arguments: Arguments, trainer: Any
) -> None:
    """It is not known whether the job was created: resume does not create it again unless it is told to."""
    trainer.held.clear()
    process = start(*arguments())
    trainer.wait_for("CreateTrainingJob", 1)
    process.kill()
    process.communicate()
    trainer.held.set()
    run_id = json.loads(treadle("runs", "ls", "--json").stdout)[0]["run_id"]
    doubtful = treadle("resume", run_id)
    assert doubtful.returncode == 1
    assert "in doubt at create" in doubtful.stderr
    assert f"treadle resume {run_id} --resend" in doubtful.stderr
    assert trainer.count("CreateTrainingJob") == 1
    done = treadle("resume", run_id, "--resend")
    assert done.returncode == 0, done.stderr
    assert trainer.count("CreateTrainingJob") == 2


def test_a_run_that_was_killed_while_polling_goes_on(
    start: Start, treadle: Run, arguments: Arguments, trainer: Any
) -> None:
    """kill -9 in the middle of a poll loses nothing."""
    trainer.polls_until_end = 10**6
    process = start(*arguments())
    trainer.wait_for("DescribeTrainingJob", 2)
    process.kill()
    process.communicate()
    trainer.polls_until_end = 0
    run_id = json.loads(treadle("runs", "ls", "--json").stdout)[0]["run_id"]
    done = treadle("resume", run_id[:-2])
    assert done.returncode == 0, done.stderr
    assert trainer.count("CreateTrainingJob") == 1
    assert "treadle resume" not in treadle("runs", "show", run_id).stderr


def test_a_run_has_one_driver(start: Start, treadle: Run, arguments: Arguments, trainer: Any) -> None:
    """While a process drives a run nobody else can; when that one was killed, the run is seen to be broken off."""
    trainer.polls_until_end = 10**6
    process = start(*arguments())
    trainer.wait_for("DescribeTrainingJob", 2)
    (one,) = json.loads(treadle("runs", "ls", "--json").stdout)
    assert (one["status"], one["resumable"]) == ("running", False)
    assert "  running  " in treadle("runs", "ls").stdout
    refused = treadle("resume", one["run_id"])
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "goes on in another process" in refused.stderr
    process.kill()
    process.communicate()
    assert "broken off" in treadle("runs", "ls", "--resumable").stdout
    trainer.polls_until_end = 0
    assert treadle("resume", one["run_id"]).returncode == 0
    assert json.loads(treadle("runs", "ls", "--json").stdout)[0]["status"] == "succeeded"


def test_a_run_goes_on_when_nobody_listens(environment: dict[str, str], arguments: Arguments, treadle: Run) -> None:
    """`treadle run … 2>&1 | head -1` has read enough; the run has not done enough."""
    command = '"$@" 2>&1 | head -1; exit ${PIPESTATUS[0]}'
    words = ["bash", "-c", command, "bash", sys.executable, "-m", "treadle.cli", *arguments()]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert json.loads(treadle("runs", "ls", "--json").stdout)[0]["status"] == "succeeded"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_result_that_cannot_be_written_is_an_error(environment: dict[str, str], arguments: Arguments) -> None:
    """The work is done, and whoever wants its result is told that it is lost."""
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "treadle.cli", *arguments()]
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.endswith("error: No space left on device.\n")
    assert "succeeded in" in done.stderr


def test_a_closed_terminal_interrupts_in_order(
    environment: dict[str, str], arguments: Arguments, trainer: Any, treadle: Run
) -> None:
    """The window is closed: nothing can be written any longer, and the state is saved all the same."""
    trainer.polls_until_end = 10**6
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "treadle.cli", *arguments()],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(theirs)
    trainer.wait_for("DescribeTrainingJob", 3)
    os.close(ours)
    process.send_signal(signal.SIGHUP)  # the kernel sends it to the sessions that the terminal controls
    assert process.wait(timeout=30) == 130
    assert json.loads(treadle("runs", "ls", "--json").stdout)[0]["status"] == "interrupted"


def test_time_that_is_over_says_what_goes_on(said: Any, arguments: Arguments, trainer: Any) -> None:
    """The run is suspended, the job is not: it may cost money."""
    trainer.polls_until_end = 10**6
    code, out, err = said(*arguments("--timeout", "0.3s"))
    assert (code, out) == (1, "")
    assert "suspended at poll after" in err
    assert "the time for the run is over (--timeout)" in err
    assert "The training job churn-1 goes on." in err
    assert err.count("treadle resume") == 1


def test_a_new_time_limit_holds_from_now_on(start: Start, treadle: Run, arguments: Arguments, trainer: Any) -> None:
    """`treadle resume --timeout` also where the run had more time before."""
    trainer.polls_until_end = 10**6
    process = start(*arguments("--timeout", "1h"))
    trainer.wait_for("DescribeTrainingJob", 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    run_id = json.loads(treadle("runs", "ls", "--json").stdout)[0]["run_id"]
    again = treadle("resume", run_id, "--timeout", "0.3s")
    assert again.returncode == 1
    assert "the time for the run is over (--timeout)" in again.stderr


def test_resume_says_what_it_cannot_do(treadle: Run, said: Any, arguments: Arguments) -> None:
    """An unknown run, and one that has ended."""
    missing = treadle("resume", "nix")
    assert missing.returncode == 2
    assert "error: There is no run nix.\nhint: treadle runs ls lists them.\n" in missing.stderr
    said(*arguments())
    run_id = json.loads(treadle("runs", "ls", "--json").stdout)[0]["run_id"]
    ended = treadle("resume", run_id)
    assert ended.returncode == 2
    assert "has succeeded" in ended.stderr


def test_a_terminal_sees_a_live_view(environment: dict[str, str], arguments: Arguments, trainer: Any) -> None:
    """On a terminal there is a line that moves; outputs go to standard output all the same."""
    trainer.polls_until_end = 10**6
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "treadle.cli", *arguments()],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(theirs)
    trainer.wait_for("DescribeTrainingJob", 5)
    seen = _read_until(ours, "looks again in", "asking")
    trainer.polls_until_end = 0
    seen += _read_until(ours, "succeeded in")
    out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert "status: Completed" in out
    assert "\x1b[2K" in seen
    assert "Traceback" not in seen


def _read_until(descriptor: int, *signs: str) -> str:
    seen, end = "", time.monotonic() + 30
    while not any(sign in seen for sign in signs):
        assert time.monotonic() < end, seen
        seen += os.read(descriptor, 65536).decode(errors="replace")
    return seen


def test_hosts_can_be_limited(said: Any, arguments: Arguments, trainer: Any, tmp_path: Path) -> None:
    """What is on no list is not called, and that is known before anything is sent."""
    code, _, err = said(*arguments("--allow-host", "*.example.com"))
    assert code == 2
    assert "the step 'create' calls 127.0.0.1:" in err
    assert "hint: allowed are: *.example.com" in err
    assert trainer.calls == []
    settings = tmp_path / "limited.toml"
    settings.write_text('hosts = ["*.example.com"]\n')
    assert said(*arguments("--config", str(settings)))[0] == 2
    assert said(*arguments("--config", str(settings), "--allow-host", "127.0.0.1"))[0] == 0


def test_plan_sends_nothing_and_shows_everything(said: Any, document: str, trainer: Any) -> None:
    """Requests with what is known, names for what is not, secrets hidden, guards and targets."""
    code, out, _ = said("plan", document, "--on", trainer.url, "-i", "job=churn-1", "-i", "token=secret-token")
    assert code == 0
    assert trainer.calls == []
    assert f"1. create  POST {trainer.url}/  (changes something)" in out
    assert '"TrainingJobName": "churn-1"' in out
    assert '"InstanceCount": "$inputs.hosts"' in out
    assert "secret-token" not in out
    assert "hosts: not given; a whole number" in out
    assert "on success: goto poll (again) if $response.body#/TrainingJobStatus == 'InProgress'" in out
    assert "outputs: arn, status" in out


def test_plan_with_inputs_that_are_not_all_there(said: Any, document: str) -> None:
    """One that is missing is not wrong yet; one that is wrong is."""
    code, out, err = said("plan", document, "--on", "http://127.0.0.1:9", "-i", "job=churn-1")
    assert (code, "is missing" in err) == (0, False)
    assert "hosts: not given" in out
    code, out, err = said("plan", document, "--on", "http://127.0.0.1:9", "-i", "hosts=two")
    assert code == 2
    assert "the input `hosts` must be a whole number" in err
    assert "1. create" in out


def test_plan_as_json(said: Any, document: str, trainer: Any) -> None:
    """The same for programs."""
    _, out, _ = said("plan", document, "--on", trainer.url, "--json")
    steps = json.loads(out)["workflows"]["train"]
    assert [(each["stepId"], each["changes"]) for each in steps] == [("create", True), ("poll", False)]


def test_check_gives_places(said: Any, document: str, tmp_path: Path) -> None:
    """Good documents in one line; findings with place, caret and hint; JSON for programs; 2 when one is wrong."""
    code, out, err = said("check", document, "--on", "local")
    assert code == 0, err
    assert out.startswith(f"{document}: good (")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(Path(document).read_text().replace("stepId: poll\n      criteria", "stepId: pull\n      criteria"))
    code, out, err = said("check", str(wrong), document, "--on", "local")
    assert code == 2
    assert f"{wrong}:" in err
    assert "did you mean" in err
    assert "error" in out
    code, out, _ = said("check", "--json", str(wrong), "--on", "local")
    found = [each for each in json.loads(out)[0]["diagnostics"] if each["severity"] == "error"]
    assert found[0]["line"] > 40


def test_on_aws_nobody_is_asked_without_a_terminal(treadle: Run, document: str) -> None:
    """What would be created is told, nothing is sent, exit code 2."""
    done = treadle("run", document, "-i", "job=j", "-i", "hosts=2", "--on", "aws")
    assert done.returncode == 2
    assert "On AWS, us-east-1, this run sends:" in done.stderr
    assert "CreateTrainingJob  (step create): ml.m5.large × 2, at most 1 h 00 min" in done.stderr
    assert "hint: --yes says that it is meant." in done.stderr


NESTED = """\
arazzo: 1.0.1
info: {title: Nested, version: 1.0.0}
sourceDescriptions:
- {name: trainer, url: ./not-there.yml, type: openapi}
workflows:
- workflowId: outer
  steps:
  - {stepId: call, workflowId: inner, parameters: [{name: tag, value: x}]}
- workflowId: inner
  inputs: {type: object, properties: {tag: {type: string}}}
  steps:
  - stepId: create
    operationId: CreateTrainingJob
    parameters: [{name: X-Amz-Target, in: header, value: SageMaker.CreateTrainingJob}]
    requestBody:
      contentType: application/x-amz-json-1.1
      payload: {TrainingJobName: "j-{$inputs.tag}", ResourceConfig: {InstanceType: ml.m5.large, InstanceCount: 2}}
"""


@pytest.mark.parametrize(
    ("value", "size"),
    [
        pytest.param("$inputs.tag", "ml.m5.large × 2", id="an input that the caller gives"),
        pytest.param("$workflows.outer.outputs.x", "what it takes is not known yet", id="what nobody can know"),
    ],
)
def test_on_aws_what_a_called_workflow_creates_is_told_too(treadle: Run, tmp_path: Path, value: str, size: str) -> None:
    """Also where the request cannot be shown before the run."""
    (tmp_path / "nested.yaml").write_text(NESTED.replace("$inputs.tag", value))
    done = treadle("run", str(tmp_path / "nested.yaml"), "outer", "--on", "aws")
    assert done.returncode == 2
    assert f"CreateTrainingJob  (step create): {size}\n" in done.stderr
    assert "Nothing was sent." in done.stderr


def test_plan_shows_what_is_handed_to_a_called_workflow_by_its_name(said: Any, tmp_path: Path) -> None:
    """What it will be is known at the run."""
    (tmp_path / "nested.yaml").write_text(NESTED)
    code, out, _ = said("plan", str(tmp_path / "nested.yaml"), "outer", "--on", "http://127.0.0.1:9")
    assert code == 0
    assert '"TrainingJobName": "j-$inputs.tag"' in out


def status(status: str, **more: str) -> dict[str, str]:
    return {"TrainingJobStatus": status, "SecondaryStatus": status, **more}
