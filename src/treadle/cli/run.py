"""`treadle run` and `treadle resume`: from arguments to a run, and from its end to an exit code.

What is decided here: who is told (a terminal, a log, a program), what Ctrl-C means, what is said when the job behind a
run did not complete, and how it all becomes an exit code. What a run is, is decided in `arazzo`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from treadle.arazzo.events import decode
from treadle.arazzo.references import referring
from treadle.cli import local, mocked
from treadle.cli.aftermath import Jobs, aftermath, interrupted, unsure
from treadle.cli.errors import INTERRUPTED, problem
from treadle.cli.expect import Expectation, expectations
from treadle.cli.fetching import fetch
from treadle.cli.given import briefly, inputs_of, prepared, setup_of
from treadle.cli.opening import Opened, Setup, open_plan
from treadle.cli.options import (
    DOCUMENT,
    DURATION,
    TIME_LIMIT,
    Given,
    Sectioned,
    Where,
    describes,
    examples,
    gives_inputs,
    option,
)
from treadle.cli.parts import machine_options, options_for, parts
from treadle.cli.streams import listened, lost
from treadle.cli.tape import Tape, tapes
from treadle.errors import UsageError
from treadle.seams import Json, RunRecord

if TYPE_CHECKING:
    from treadle.arazzo.plan import PlannedWorkflow
    from treadle.arazzo.run import Interruption, Outcome, RunOptions

__all__ = ["resume", "run"]

_COURSE: Final = "Course"
_TOLD: Final = "What is told"
_EXIT_CODES: Final = {"succeeded": 0, "interrupted": INTERRUPTED}


@dataclass(frozen=True, slots=True)
class Telling:
    """How a run is told."""

    as_json: bool = False
    explain: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the user knows about a request whose outcome the run does not know."""

    resend: bool
    took_effect: bool


def _tells(command: Any) -> Any:
    options = (
        option(_TOLD, "--json", "as_json", is_flag=True, help="Events as JSON lines; the last line is the result."),
        option(_TOLD, "--explain", is_flag=True, help="Say why each criterion holds or not, and which action matched."),
        option(_TOLD, "-q", "--quiet", is_flag=True, help="Nothing but the outputs, unless something goes wrong."),
    )
    for each in reversed(options):
        command = each(command)
    return command


@click.command(
    cls=Sectioned,
    epilog=examples(
        "treadle run petstore.yml -i petId=7",
        "treadle run petstore.yml --on mock",
        "treadle run train.yml --inputs inputs.json --on local",
        "treadle run train.yml --inputs inputs.json --on aws --timeout 2h \\",
        "    --expect 'trainingJobStatus == \"Completed\"'",
    ),
)
@click.argument("document", type=DOCUMENT)
@click.argument("workflow", required=False)
@gives_inputs
@describes
@option(
    _COURSE,
    "--poll",
    type=DURATION,
    metavar="SECONDS",
    help="Wait exactly so long between two visits of a loop. Default: paced, a twentieth of the time already "
    "waited, at most 30 s.",
)
@option(
    _COURSE, "--timeout", type=TIME_LIMIT, default="31d", show_default=True, help="The longest time the run may take."
)
@option(
    _COURSE,
    "--expect",
    "expected",
    metavar="CONDITION",
    multiple=True,
    help="A condition on the outputs that must hold, or the exit code is 1. Repeatable.",
)
@_tells
@tapes
@option(_COURSE, "-y", "--yes", is_flag=True, help="Do not ask before something is created on AWS.")
def run(
    document: str,
    workflow: str | None,
    inputs: Given,
    where: Where,
    poll: float | None,
    timeout: float,
    expected: tuple[str, ...],
    yes: bool,
    record: str | None,
    replay: str | None,
    **told: bool,
) -> None:
    """Run WORKFLOW of the Arazzo document DOCUMENT, a file or a URL.

    WORKFLOW may be left out when there is only one. The run is durable: after Ctrl-C, a crash or a power failure
    treadle resume goes on with it.

    Exit codes: 0 succeeded; 1 failed; 2 nothing was sent, because document, inputs or usage are wrong; 130 interrupted.
    """
    tape = Tape.of(record, replay)
    setup = setup_of(document, tape.workflow(workflow), tape.where(where))
    setup = msgspec.structs.replace(
        setup, poll=setup.poll if poll is None else poll, timeout=timeout, expect=list(expected)
    )
    telling = Telling(**told)
    with local.using() as service:
        opened = _opened(setup, tape, service)
        entry = opened.plan.workflows[opened.plan.entry]
        wanted = expectations(expected, entry.outputs)
        given = inputs_of(entry.inputs, inputs)
        if mocked.is_mocked(setup) and inputs == Given() and not tape.replays:
            given = _made_up(entry, telling)
        values, references = referring(entry.inputs, tape.inputs(given))
        # A replay needs no secrets: what they were for was answered already.
        references = () if tape.replays else references
        ready, found = prepared(entry.inputs, values, references)
        if not telling.quiet:
            briefly([*opened.diagnostics, *found], notes=telling.explain)
        opened.ready(ready)
        code = asyncio.run(_begin(opened, ready, references, wanted, telling, service, tape, yes=yes))
    sys.exit(code)


@click.command(
    cls=Sectioned, epilog=examples("treadle resume 20260102-030405-a1b2c3", "treadle resume 20260102 --timeout 1d")
)
@click.argument("run_id", metavar="RUN")
@option(
    _COURSE,
    "--resend",
    is_flag=True,
    help="Send the request again whose outcome is not known. Look first whether it took effect.",
)
@option(
    _COURSE,
    "--took-effect",
    is_flag=True,
    help="The request whose outcome is not known did take effect: go on behind it, without its answer.",
)
@option(_COURSE, "--poll", type=DURATION, metavar="SECONDS", help="As in treadle run. Default: as before.")
@option(_COURSE, "--timeout", type=TIME_LIMIT, help="The longest time from now on. Default: as before.")
@_tells
def resume(
    run_id: str, resend: bool, took_effect: bool, poll: float | None, timeout: float | None, **told: bool
) -> None:
    """Go on with a run that was interrupted, that crashed, or whose server was away too long.

    RUN is its name, or the beginning of it; treadle runs ls --resumable lists them. Document, inputs and options are
    those that the run began with.
    """
    from treadle.cli.runs import load

    if resend and took_effect:
        raise click.UsageError("--resend and --took-effect contradict each other.")
    record, facts = load(run_id)
    setup = _stored_setup(record)
    setup = msgspec.structs.replace(
        setup,
        poll=setup.poll if poll is None else poll,
        timeout=setup.timeout if timeout is None else timeout,
    )
    jobs = Jobs()
    for data in facts:
        jobs.note(decode(data))
    with local.using() as service:
        opened = open_plan(setup, local=service, fetch=fetch)
        doubt = Doubt(resend=resend, took_effect=took_effect)
        code = asyncio.run(_go_on(opened, record, jobs, Telling(**told), service, doubt))
    sys.exit(code)


def _stored_setup(record: RunRecord) -> Setup:
    try:
        return msgspec.json.decode(record.setup, type=Setup)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"The run {record.run_id} was made by another version of Treadle and cannot be opened: {error}."
        ) from error


def _opened(setup: Setup, tape: Tape, service: local.Service) -> Opened:
    if mocked.is_mocked(setup):
        return mocked.opened(setup)
    return open_plan(setup, local=tape.nowhere if tape.replays else service, fetch=fetch)


def _made_up(entry: PlannedWorkflow, telling: Telling) -> dict[str, Json]:
    """Give inputs for a run that the mock answers, and say which."""
    from treadle.mock import sample_inputs

    made = sample_inputs(entry)
    if made and not telling.quiet:
        shown = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in made.items())
        click.echo(f"inputs are made up: {shown}", err=True)
    return made


def _driven(
    opened: Opened, options: RunOptions, tape: Tape, service: local.Service
) -> AbstractAsyncContextManager[dict[str, Any]]:
    """Give what a run is driven with: the answers of a recording, those of the mock, or the network and the home."""
    if tape.replays:
        return tape.replayed(options.secrets)
    if mocked.is_mocked(opened.setup):
        return contextlib.nullcontext(mocked.parts(opened))
    return parts(opened, options.run_id, service)


async def _begin(
    opened: Opened,
    inputs: dict[str, Json],
    references: tuple[str, ...],
    wanted: Sequence[Expectation],
    telling: Telling,
    service: local.Service,
    tape: Tape,
    *,
    yes: bool,
) -> int:
    from treadle.arazzo import run as engine
    from treadle.cli.confirm import account, confirm, effects_on_aws

    if not tape.replays:
        await confirm(effects_on_aws(opened.plan, inputs, opened.targets), account, yes=yes)
    options = options_for(opened, inputs, references)
    jobs = Jobs()
    async with contextlib.AsyncExitStack() as stack:
        with_parts = await stack.enter_async_context(_driven(opened, options, tape, service))
        with_parts["transport"] = tape.recorder(with_parts["transport"], opened, inputs, options.secrets, references)
        stack.push_async_callback(with_parts["transport"].close)
        kept = "" if tape.replays or mocked.is_mocked(opened.setup) else options.run_id
        with _telling(telling, jobs) as reporter, _stopping(reporter, kept) as interruption:
            outcome = await engine.run(
                opened.plan, inputs, **with_parts, reporter=reporter, options=options, interruption=interruption
            )
    if tape.replays or mocked.is_mocked(opened.setup):
        unasked = tape.unasked(with_parts["transport"]) if tape.replays else ""
        if unasked:
            problem(unasked)
        # What else is told about a run would ask the training service.
        return (
            _EXIT_CODES.get(outcome.status, 1) or int(bool(unasked)) or _judged(wanted, outcome.outputs, jobs.outputs)
        )
    return await _conclude(opened, outcome, wanted, jobs)


async def _go_on(
    opened: Opened, record: RunRecord, jobs: Jobs, telling: Telling, service: local.Service, doubt: Doubt
) -> int:
    from treadle.arazzo import run as engine

    wanted = expectations(opened.setup.expect, opened.plan.workflows[opened.plan.entry].outputs)
    options = _options_again(opened, record)
    async with parts(opened, record.run_id, service) as with_parts:
        # Whoever drove it until now may have brought it further since it was looked at.
        latest = await with_parts["store"].load(record.run_id) or record
        with _telling(telling, jobs) as reporter, _stopping(reporter, record.run_id) as interruption:
            outcome = await engine.resume(
                latest,
                opened.plan,
                **with_parts,
                reporter=reporter,
                options=options,
                interruption=interruption,
                resend=doubt.resend,
                took_effect=doubt.took_effect,
            )
    return await _conclude(opened, outcome, wanted, jobs)


def _options_again(opened: Opened, record: RunRecord) -> RunOptions:
    from treadle.arazzo import run as engine
    from treadle.arazzo.secrecy import Secrets

    return engine.RunOptions(
        machine=machine_options(opened.setup),
        run_id=record.run_id,
        setup=msgspec.json.encode(opened.setup),
        secrets=Secrets().also(opened.secrets()),
    )


@contextlib.contextmanager
def _telling(telling: Telling, jobs: Jobs) -> Iterator[Jobs]:
    """Choose the reporter: JSON lines for a program, a live view for a terminal, lines for everybody else."""
    from treadle.reporters.jsonlines import JsonLinesReporter
    from treadle.reporters.lines import LinesReporter
    from treadle.reporters.terminal import TerminalReporter

    out = listened(sys.stdout)
    if telling.as_json:
        jobs.tells(JsonLinesReporter(out, sys.stderr))
    elif not telling.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        jobs.tells(TerminalReporter(out, sys.stderr, explain=telling.explain))
    else:
        jobs.tells(LinesReporter(out, sys.stderr, explain=telling.explain, quiet=telling.quiet))
    try:
        yield jobs
    finally:
        jobs.close()
    unwritten = lost(out)
    if unwritten is not None:
        raise unwritten


@contextlib.contextmanager
def _stopping(reporter: Jobs, run_id: str) -> Iterator[Interruption]:
    """Let the first Ctrl-C (or SIGTERM, or the end of the terminal) stop the run in order, and the second at once.

    `run_id` is "" for a run that is not kept.
    """
    from treadle.arazzo.run import Interruption

    interruption = Interruption()

    def stop() -> None:
        if interruption.requested:
            # Everything that must be known afterwards was saved before the last request went out.
            with contextlib.suppress(OSError, ValueError):
                reporter.say("ended at once" + (f"; go on with: treadle resume {run_id}" if run_id else ""))
                sys.stderr.flush()
            os._exit(INTERRUPTED)
        reporter.say("stopping in order; a second Ctrl-C ends it at once")
        interruption.interrupt()

    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if sys.platform != "win32" else []
    for each in signals:
        loop.add_signal_handler(each, stop)
    try:
        yield interruption
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def _conclude(opened: Opened, outcome: Outcome, wanted: Sequence[Expectation], jobs: Jobs) -> int:
    """Say what only a person wants to know, judge the expectations, give the exit code."""
    on_local = opened.local is not None
    if outcome.status in ("interrupted", "suspended"):
        for line in interrupted(outcome, jobs.names, on_local=on_local):
            click.echo(line, err=True)
    else:
        lines = await asyncio.to_thread(aftermath, outcome, jobs.names, on_local=on_local, expected=bool(wanted))
        if jobs.in_doubt:
            declared = opened.plan.workflows[opened.plan.entry].outputs
            lines += unsure(outcome, declared, expected=bool(wanted))
        for line in lines:
            click.echo(line, err=True)
    code = _EXIT_CODES.get(outcome.status, 1)
    return code or _judged(wanted, outcome.outputs, jobs.outputs)


def _judged(wanted: Sequence[Expectation], outputs: Mapping[str, Json], shown: Mapping[str, Json]) -> int:
    code = 0
    for each in wanted:
        if not each.judge(outputs).passed:
            code = 1
            problem(each.missed(shown))
    return code
