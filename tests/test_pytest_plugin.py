"""Workflows as tests: which are collected, where they run, and how a failure is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema_rs  # noqa: F401  (pytester forgets what is first imported within a test; the next one would pay again)
import pytest

import treadle.cli.mock
import treadle.mock
import treadle.reporters.story  # noqa: F401  (the same)
from tests.test_library import API, ARAZZO, SECOND

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """Give a project with a document of two workflows."""
    (pytester.path / "flows").mkdir()
    (pytester.path / "flows/orders.yaml").write_text(API)
    (pytester.path / "flows/orders.arazzo.yaml").write_text(ARAZZO + SECOND)
    return pytester


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run pytest with the plugin, warnings being errors."""
    return project.runpytest_inprocess("-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error", "-v", *args)


@pytest.fixture
def server() -> Iterator[str]:
    """Give the URL of a server that says `open` to every order but 7."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            found = self.path.endswith("/7")
            data = json.dumps({"state": "done"} if found else {"message": "there is no such order"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()
    thread.join()


# -- which are collected ----------------------------------------------------------------------------------------------


def test_a_document_that_is_named_is_collected(project: pytest.Pytester) -> None:
    """Each workflow is a test, run against the mock, with nothing left on the disk."""
    before = sorted(project.path.rglob("*"))
    result = run(project, "flows/orders.arazzo.yaml")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*orders.arazzo.yaml::wait PASSED*", "*orders.arazzo.yaml::once PASSED*"])
    assert sorted(project.path.rglob("*")) == before
    run(project, "flows/orders.arazzo.yaml", "-k", "once").assert_outcomes(passed=1, deselected=1)
    run(project, "flows/orders.arazzo.yaml::wait").assert_outcomes(passed=1)


def test_other_documents_are_left_alone(project: pytest.Pytester) -> None:
    """A project that does not ask for it has no tests of its documents."""
    assert run(project).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    (project.path / "pytest.ini").write_text("[pytest]\ntreadle_documents = other/*\n")
    assert run(project).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_patterns_say_what_is_collected(project: pytest.Pytester) -> None:
    """Relative to the root directory."""
    (project.path / "pytest.ini").write_text("[pytest]\ntreadle_documents = flows/*.arazzo.yaml\n")
    run(project).assert_outcomes(passed=2)


def test_what_is_no_document_is_an_error_without_a_traceback(project: pytest.Pytester) -> None:
    """With the place and the hint, as on the command line."""
    (project.path / "flows/orders.arazzo.yaml").write_text("arazzo: [")
    result = run(project, "flows/orders.arazzo.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*orders.arazzo.yaml:*error:*"])
    result.stdout.no_fnmatch_line("*Traceback*")


# -- what is given and expected ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["orders.inputs.json", "orders.wait.inputs.json"])
def test_inputs_stand_beside_the_document(project: pytest.Pytester, name: str) -> None:
    """For all workflows or for one; what is wrong with them is the test's failure."""
    (project.path / "flows" / name).write_text('{"id": 7}')
    result = run(project, "flows/orders.arazzo.yaml::wait")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the input `id` must be a text*"])
    (project.path / "flows" / name).write_text('{"id": "7"}')
    run(project, "flows/orders.arazzo.yaml::wait").assert_outcomes(passed=1)


@pytest.mark.parametrize("text", ["[]", "{"])
def test_inputs_that_are_none(project: pytest.Pytester, text: str) -> None:
    """The file is named."""
    (project.path / "flows/orders.inputs.json").write_text(text)
    result = run(project, "flows/orders.arazzo.yaml::wait")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*orders.inputs.json*"])


def test_expectations_are_judged(project: pytest.Pytester) -> None:
    """One that does not hold fails the test with the value; one that means nothing is an error."""
    ini = project.path / "pytest.ini"
    ini.write_text("[pytest]\ntreadle_expect =\n    wait: state == 'done'\n")
    run(project, "flows/orders.arazzo.yaml").assert_outcomes(passed=2)
    ini.write_text("[pytest]\ntreadle_expect =\n    wait: state == 'open'\n")
    result = run(project, "flows/orders.arazzo.yaml")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(['wait: expected "state == \'open\'" does not hold: "done" *', "wait succeeded *"])
    inputs = project.path / "flows/orders.inputs.json"
    inputs.write_text(json.dumps({"id": "7", "token": "done"}))
    secret = run(project, "flows/orders.arazzo.yaml::wait")
    secret.stdout.fnmatch_lines(['wait: expected "state == \'open\'" does not hold: "•••" *', "  state: '•••'"])
    inputs.unlink()
    ini.write_text("[pytest]\ntreadle_expect =\n    wait: stat == 'open'\n")
    result = run(project, "flows/orders.arazzo.yaml")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Did you mean state?*"])
    ini.write_text("[pytest]\ntreadle_expect = state\n")
    run(project, "flows/orders.arazzo.yaml").assert_outcomes(errors=1)


# -- where they run, and how a failure is told ------------------------------------------------------------------------


def test_a_failure_tells_step_reason_and_verdicts(project: pytest.Pytester, server: str) -> None:
    """Instead of a Python traceback: where it ended, what the answer said, why the criterion does not hold."""
    (project.path / "flows/orders.yaml").write_text(API.replace("http://orders.example", server))
    (project.path / "flows/orders.inputs.json").write_text('{"id": "8"}')
    result = run(project, "flows/orders.arazzo.yaml::wait", "--treadle-on", server)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "wait failed at look *",
            "*there is no such order*",
            "what happened:",
            "*look  GET http://127.0.0.1:*/orders/8",
            "*success: $statusCode == 200 does not hold*",
            "*404*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")
    (project.path / "flows/orders.inputs.json").write_text('{"id": "7"}')
    (project.path / "pytest.ini").write_text(f"[pytest]\ntreadle_on = {server}\n")
    run(project, "flows/orders.arazzo.yaml::wait").assert_outcomes(passed=1)


def test_the_fixture_runs_a_workflow(project: pytest.Pytester) -> None:
    """It gives the result; a run that is not as it was to be fails the test at its report."""
    (project.path / "test_orders.py").write_text(
        """\
def test_good(treadle_workflow):
    result = treadle_workflow("flows/orders.arazzo.yaml", "wait", {"id": "7"}, expect=["state == 'done'"])
    assert result.outputs == {"state": "done"}

def test_missed(treadle_workflow):
    treadle_workflow("flows/orders.arazzo.yaml", "wait", expect=["state == 'open'"])

def test_refused(treadle_workflow):
    treadle_workflow("flows/orders.arazzo.yaml", "wait", {"idd": "7"})

def test_not_there(treadle_workflow):
    treadle_workflow("flows/other.arazzo.yaml")
"""
    )
    result = run(project)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["wait: expected *", "*the input `id` is missing*", "*other.arazzo.yaml*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_it_costs_nothing_where_it_is_not_used(project: pytest.Pytester) -> None:
    """No module of Treadle but the plugin is imported."""
    (project.path / "test_other.py").write_text(
        "import sys\n\n"
        "def test_other():\n"
        "    assert [n for n in sys.modules if n.startswith('treadle.')] == "
        "['treadle._version', 'treadle.pytest_plugin']\n"
    )
    project.runpytest_subprocess("-p", "no:asyncio", "-W", "error").assert_outcomes(passed=1)


def test_the_example_is_tested_so(pytester: pytest.Pytester, root: Path) -> None:
    """A training job is played to its end without an account, a server or data."""
    document = root / "examples/sagemaker/train-and-poll-job.arazzo.yaml"
    (pytester.path / "pytest.ini").write_text("[pytest]\n")
    run(pytester, "-c", "pytest.ini", str(document)).assert_outcomes(passed=1)
