"""Workflows as tests: pytest collects Arazzo documents, and each workflow is a test.

A document is collected when it is named on the command line, or when the option `treadle_documents` has a pattern for
it. Its workflows are run against the mock, which answers what the document asks for, or where `--treadle-on` says.
Inputs stand beside `orders.arazzo.yaml` in `orders.<workflowId>.inputs.json` or `orders.inputs.json`; without them the
mock makes some up. What is expected of the outputs stands in `treadle_expect`.

pytest imports this module in every project where Treadle is installed: it must cost nothing there, so Treadle itself
is imported when the first workflow is met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from treadle.arazzo.events import Event
    from treadle.library import Document, Result, RunSettings, Workflow

__all__ = ["DocumentFile", "WorkflowFailed", "WorkflowItem"]

_ENDINGS: Final = (".arazzo.yaml", ".arazzo.yml", ".arazzo.json")
_LONGEST_STORY: Final = 40
"""Lines of a failed run's story: its end is what matters."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--treadle-on`, `treadle_on`, `treadle_documents` and `treadle_expect`."""
    parser.getgroup("treadle", "workflows as tests").addoption(
        "--treadle-on",
        metavar="WHERE",
        help="Where workflows are run: mock, local, a URL or a target of treadle.toml. Default: treadle_on, else mock.",
    )
    parser.addini("treadle_on", "Where workflows are run without --treadle-on.", default="mock")
    parser.addini(
        "treadle_documents",
        "Patterns of Arazzo documents, relative to the root directory, that are collected without being named.",
        type="linelist",
    )
    parser.addini(
        "treadle_expect",
        "What must hold of the outputs of a workflow, a line each: `workflowId: condition`.",
        type="linelist",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> DocumentFile | None:
    """Collect an Arazzo document that was asked for."""
    if not file_path.name.endswith(_ENDINGS):
        return None
    if parent.session.isinitpath(file_path) or _wanted(file_path, parent.config):
        return DocumentFile.from_parent(parent, path=file_path)
    return None


def _wanted(path: Path, config: pytest.Config) -> bool:
    patterns = config.getini("treadle_documents")
    if not patterns or not path.is_relative_to(config.rootpath):
        return False
    name = path.relative_to(config.rootpath).as_posix()
    return any(fnmatch(name, pattern) for pattern in patterns)


class WorkflowFailed(Exception):  # noqa: N818  (an outcome, not a mistake of the test)
    """A workflow did not do what it was to do; the text is the whole report."""


class DocumentFile(pytest.File):
    """An Arazzo document, whose workflows are the tests."""

    def collect(self) -> Iterator[WorkflowItem]:
        """Give a test for each workflow."""
        from treadle.errors import TreadleError
        from treadle.library import load

        try:
            document = load(self.path, on=_where(self.config))
            _expected(self.config)
        except TreadleError as error:
            raise self.CollectError(_said(error)) from None
        for each in document.workflows.values():
            yield WorkflowItem.from_parent(self, name=each.id, document=document, workflow=each)


class WorkflowItem(pytest.Item):
    """A workflow as a test."""

    def __init__(self, *, document: Document, workflow: Workflow, **known: Any) -> None:
        super().__init__(**known)
        self.document = document
        self.workflow = workflow

    def runtest(self) -> None:
        """Run the workflow. Raises `WorkflowFailed`."""
        expect = _expected(self.config).get(self.workflow.id, [])
        _run(self.document, self.workflow.id, _inputs(self.path, self.workflow.id), expect, {"store": "memory"})

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Give the report of the run; a traceback only where Treadle itself is wrong."""
        if isinstance(excinfo.value, WorkflowFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say where the workflow stands."""
        line = self.workflow.line
        return self.path, line - 1 if line else None, f"workflow {self.name}"


@pytest.fixture
def treadle_workflow(request: pytest.FixtureRequest) -> Callable[..., Result]:
    """Give a function that runs a workflow as the plugin does, and fails the test unless it succeeds.

    `treadle_workflow(document, workflow=None, inputs=None, *, on=None, expect=(), **settings)`: `document` is relative
    to the test's file, `expect` are conditions on the outputs, `settings` those of `Document.run`. Gives its `Result`.
    """

    def run(
        document: str | Path,
        workflow: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        *,
        on: str | None = None,
        expect: Sequence[str] = (),
        **settings: Any,
    ) -> Result:
        from treadle.errors import TreadleError
        from treadle.library import load

        path = request.path.parent / document
        try:
            loaded = load(path, on=on or _where(request.config))
            given = _inputs(path, workflow or "") if inputs is None else inputs
            return _run(loaded, workflow, given, expect, {"store": "memory", **settings})  # type: ignore[typeddict-item]
        except WorkflowFailed as failed:
            report = str(failed)
        except TreadleError as error:
            report = _said(error)
        pytest.fail(report, pytrace=False)

    return run


def _where(config: pytest.Config) -> str | None:
    return config.getoption("--treadle-on") or config.getini("treadle_on") or None


# ---------------------------------------------------------------------------------------------------------------------
# What is given, and what is expected
# ---------------------------------------------------------------------------------------------------------------------


def _inputs(path: Path, workflow: str) -> dict[str, Any] | None:
    """Read the inputs that stand beside a document. Raises `WorkflowFailed`."""
    import json

    stem = next((path.name.removesuffix(each) for each in _ENDINGS if path.name.endswith(each)), path.stem)
    for name in (f"{stem}.{workflow}.inputs.json", f"{stem}.inputs.json"):
        file = path.with_name(name)
        if file.is_file():
            try:
                inputs = json.loads(file.read_bytes())
            except ValueError as error:
                raise WorkflowFailed(f"{file} is no JSON: {error}") from None
            if not isinstance(inputs, dict):
                raise WorkflowFailed(f'{file} holds no object: its members are the inputs, {{"name": "value"}}')
            return inputs
    return None


def _expected(config: pytest.Config) -> dict[str, list[str]]:
    """Give the conditions of `treadle_expect` by workflow. Raises `UsageError`."""
    from treadle.errors import UsageError

    found: dict[str, list[str]] = {}
    for line in config.getini("treadle_expect"):
        workflow, colon, condition = line.partition(":")
        if not colon or not condition.strip():
            raise UsageError(f"treadle_expect: {line!r} is no expectation", hint="it reads: workflowId: condition")
        found.setdefault(workflow.strip(), []).append(condition.strip())
    return found


# ---------------------------------------------------------------------------------------------------------------------
# One run and its report
# ---------------------------------------------------------------------------------------------------------------------


def _run(
    document: Document,
    workflow: str | None,
    inputs: Mapping[str, Any] | None,
    expect: Sequence[str],
    settings: RunSettings,
) -> Result:
    import asyncio

    from treadle.cli.expect import expectations
    from treadle.errors import TreadleError

    told: list[Event] = []
    try:
        if workflow is not None and workflow in document.workflows:
            wanted = expectations(expect, document.workflows[workflow].outputs)
        else:
            outputs = {name for each in document.workflows.values() for name in each.outputs}
            wanted = expectations(expect, outputs)
        result = asyncio.run(_followed(document, workflow, inputs, settings, told))
    except TreadleError as error:
        raise WorkflowFailed(_said(error)) from None
    shown = _shown(told)
    missed = [each.missed(shown).removeprefix("--expect ") for each in wanted if not each.judge(result.outputs).passed]
    if not result.ok or missed:
        raise WorkflowFailed("\n".join(_report(result, missed if result.ok else [], told)))
    return result


async def _followed(
    document: Document,
    workflow: str | None,
    inputs: Mapping[str, Any] | None,
    settings: RunSettings,
    told: list[Event],
) -> Result:
    async with document.start(workflow, inputs, **settings) as run:
        # One by one: what was told until an error counts too.
        async for event in run:
            told.append(event)  # noqa: PERF401  (a comprehension is lost with the error)
        return await run


def _shown(told: Sequence[Event]) -> Mapping[str, Any]:
    """Give the outputs of a run as its end tells them: without secrets."""
    from treadle.arazzo.events import RunFinished

    return told[-1].outputs if told and isinstance(told[-1], RunFinished) else {}


def _said(error: Any) -> str:
    return f"{error.message}\nhint: {error.hint}" if error.hint else str(error.message)


def _report(result: Result, missed: Sequence[str], told: Sequence[Event]) -> Iterator[str]:
    """Tell how a run ended and why, then its story with the verdict on every criterion."""
    from treadle.arazzo.events import RunFinished
    from treadle.reporters.ending import ending
    from treadle.reporters.story import Story

    # pytest's summary shows the first line.
    yield from (f"{result.workflow}: expected {each}" for each in missed)
    end = told[-1]
    if isinstance(end, RunFinished):
        told_end = ending(end, end.at - told[0].at)
        yield f"{result.workflow} {told_end.head}"
        yield from told_end.notes
    if shown := _shown(told):
        yield from ("outputs:", *(f"  {name}: {value!r}" for name, value in shown.items()))
    story = Story(explain=True)
    lines = [
        f"  {line.step}  {line.text}" if line.step else f"  {line.text}" for each in told for line in story.tell(each)
    ]
    yield "what happened:"
    if len(lines) > _LONGEST_STORY:
        yield f"  … {len(lines) - _LONGEST_STORY} lines before"
    yield from lines[-_LONGEST_STORY:]
