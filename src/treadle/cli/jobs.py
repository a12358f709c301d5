"""`treadle jobs`: training jobs through the service's own AWS API."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from treadle.cli.client import FINAL, Client, LogLine, LogReader, tail
from treadle.cli.errors import styled
from treadle.cli.local import client
from treadle.cli.options import DURATION, examples, json_option
from treadle.errors import ServiceError, TreadleError
from treadle.reporters.text import duration, moment, pairs, plain, table

__all__ = ["jobs"]

_STATUSES: Final = ("InProgress", "Completed", "Failed", "Stopping", "Stopped")
_COLOURS: Final = {"Completed": "green", "Failed": "red", "Stopped": "yellow", "Stopping": "yellow"}
_LOOK_AGAIN: Final = 0.5


@click.group(
    epilog=examples(
        "treadle jobs ls --status InProgress",
        "treadle jobs logs -f my-job",
        "treadle jobs stop my-job",
        "treadle jobs prune --older-than 30d",
    )
)
def jobs() -> None:
    """List, show, stop and remove training jobs, and read their logs."""


@jobs.command("ls", epilog=examples("treadle jobs ls --status Failed", "treadle jobs ls --json"))
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only jobs with this status.")
@click.option("--name", "contains", metavar="TEXT", help="Only jobs whose name contains this.")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, newest first."
)
@json_option
def ls(status: str | None, contains: str | None, limit: int, as_json: bool) -> None:
    """List training jobs, newest first."""
    with client() as service:
        found = list(_listed(service, status, contains, limit))
    if as_json:
        _print_json(found)
    elif not found:
        click.echo("No training jobs.", err=True)
    else:
        for line in table(("NAME", "STATUS", "CREATED", "TOOK"), [_row(job) for job in found]):
            click.echo(line)


def _listed(service: Client, status: str | None, contains: str | None, limit: int) -> Iterator[dict[str, Any]]:
    asked: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": min(limit, 100)}
    asked |= {"StatusEquals": status} if status else {}
    asked |= {"NameContains": contains} if contains else {}
    while limit > 0:
        page = service.call("SageMaker.ListTrainingJobs", asked)
        summaries = page.get("TrainingJobSummaries", [])[:limit]
        yield from summaries
        limit -= len(summaries)
        if not page.get("NextToken"):
            return
        asked["NextToken"] = page["NextToken"]


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    end = job.get("TrainingEndTime")
    took = duration((end or time.time()) - job["CreationTime"]) if end or job["TrainingJobStatus"] not in FINAL else ""
    return job["TrainingJobName"], job["TrainingJobStatus"], moment(job["CreationTime"]), took


@jobs.command(
    "show",
    short_help="Show a training job, and how it got there.",
    epilog=examples("treadle jobs show my-job", "treadle jobs show my-job --json"),
)
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a training job: its status, how it got there, its metrics and its model."""
    with client() as service:
        job = _known(service, name)
    if as_json:
        _print_json(job)
        return
    for line in pairs((label, each) for label, each in _facts(job) if each not in {None, ""}):
        click.echo(line)
    click.echo("transitions:")
    for step in job.get("SecondaryStatusTransitions", ()):
        click.echo("  " + plain(_transition(step)))


def _facts(job: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    resources = job.get("ResourceConfig", {})
    yield "name", job["TrainingJobName"]
    yield "status", f"{job['TrainingJobStatus']} ({job['SecondaryStatus']})"
    yield "failure reason", job.get("FailureReason")
    yield "image", job.get("AlgorithmSpecification", {}).get("TrainingImage")
    yield "instances", f"{resources.get('InstanceCount', '?')} × {resources.get('InstanceType', '?')}"
    yield "created", moment(job["CreationTime"])
    started, ended = job.get("TrainingStartTime"), job.get("TrainingEndTime")
    yield "trained for", duration((ended or time.time()) - started) if started else None
    yield "model", job.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    for metric in job.get("FinalMetricDataList", ()):
        yield f"metric {metric['MetricName']}", f"{metric['Value']:g}"
    for name, value in sorted(job.get("HyperParameters", {}).items()):
        yield f"hyperparameter {name}", str(value)


def _transition(step: Mapping[str, Any]) -> str:
    end = step.get("EndTime")
    took = duration(end - step["StartTime"]) if end else ""
    return f"{moment(step['StartTime'])}  {step['Status']:<12} {took:>10}  {step.get('StatusMessage', '')}".rstrip()


@jobs.command(
    "logs",
    short_help="Print the log of a training job.",
    epilog=examples("treadle jobs logs my-job", "treadle jobs logs -f my-job", "treadle jobs logs -n 20 my-job"),
)
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "-n", "--tail", "last", type=click.IntRange(1, 10_000), metavar="LINES", help="Only the last so many lines."
)
@click.option("-t", "--times", is_flag=True, help="Show the time of each line.")
@json_option
def logs(name: str, follow: bool, last: int | None, times: bool, as_json: bool) -> None:
    """Print the log of a training job: what its program writes to standard output and standard error.

    Lines of jobs with several hosts begin with the host's name.
    """
    if follow and last:
        raise click.UsageError("--follow and --tail exclude each other.")
    with client() as service:
        job = _known(service, name)
        many = job.get("ResourceConfig", {}).get("InstanceCount", 1) > 1
        for line in tail(service, name, last) if last else _read(service, name, follow=follow):
            click.echo(_json_line(line) if as_json else _shown(line, many=many, times=times), color=True)
        if follow:
            _say_end(service.describe(name))


def _read(service: Client, name: str, *, follow: bool) -> Iterator[LogLine]:
    reader = LogReader(service, name)
    while True:
        # Logs are published before the status becomes final: asked in this order, no line is missed.
        over = not follow or service.describe(name)["TrainingJobStatus"] in FINAL
        yield from reader.read()
        if over:
            return
        sys.stdout.flush()
        time.sleep(_LOOK_AGAIN)  # the API has no call that waits for lines


def _shown(line: LogLine, *, many: bool, times: bool) -> str:
    # A program that reads the pipe gets the text as it is; a person's terminal must not obey it.
    text = plain(click.unstyle(line.text)) if sys.stdout.isatty() else line.text
    return (f"{moment(line.at)} " if times else "") + (f"{line.host} | " if many else "") + text


def _json_line(line: LogLine) -> str:
    return json.dumps({"host": line.host, "at": line.at, "text": line.text}, ensure_ascii=False)


def _say_end(job: Mapping[str, Any]) -> None:
    status = job["TrainingJobStatus"]
    reason = f": {plain(job['FailureReason'])}" if job.get("FailureReason") else ""
    click.echo(styled(status, fg=_COLOURS.get(status)) + reason, err=True)


@jobs.command("stop", epilog=examples("treadle jobs stop my-job"))
@click.argument("name")
def stop(name: str) -> None:
    """Stop a training job. Its program gets SIGTERM and 120 s to save its model, which is kept."""
    with client() as service:
        job = _known(service, name)
        if job["TrainingJobStatus"] in FINAL:
            click.echo(f"{name} has already ended: {job['TrainingJobStatus']}.", err=True)
            return
        service.call("SageMaker.StopTrainingJob", {"TrainingJobName": name})
    click.echo(f"{name} is stopping; treadle jobs show {name} says when it has.", err=True)


@jobs.command(
    "interrupt",
    short_help="Take the instances of a managed spot job away.",
    epilog=examples("treadle jobs interrupt my-job"),
)
@click.argument("name")
def interrupt(name: str) -> None:
    """Take the instances of a managed spot job away, as AWS does when it needs them.

    The job begins again from its checkpoints: this is how to find out whether it can.
    """
    with client() as service:
        _known(service, name)
        service.call("Treadle.InterruptTrainingJob", {"TrainingJobName": name})
    click.echo(f"{name} is being interrupted; treadle jobs show {name} says when it has begun again.", err=True)


@jobs.command("rm", epilog=examples("treadle jobs rm my-job"))
@click.argument("names", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> None:
    """Remove training jobs that have ended, and their logs. What they have written to S3 stays."""
    with client() as service:
        for name in names:
            job = _known(service, name)
            if job["TrainingJobStatus"] not in FINAL:
                raise TreadleError(f"{name} has not ended.", hint=f"treadle jobs stop {name} ends it.")
            service.call("SageMaker.DeleteTrainingJob", {"TrainingJobName": name})
            click.echo(f"{name} is removed.", err=True)


@jobs.command(
    "prune",
    epilog=examples(
        "treadle jobs prune --older-than 30d",
        "treadle jobs prune --older-than 12h --dry-run",
    ),
)
@click.option("--older-than", "age", type=DURATION, required=True, help="How long ago a job must have ended: 12h, 30d.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def prune(age: float, dry_run: bool, as_json: bool) -> None:
    """Remove training jobs that ended long ago, with their logs, and what belongs to no job any more.

    What they have written to S3 stays; treadle data rm removes that.
    """
    with client() as service:
        found = service.call("Treadle.PruneTrainingJobs", {"OlderThanSeconds": age, "DryRun": dry_run})
    if as_json:
        _print_json({"jobs": found["TrainingJobNames"], "leftovers": found["Leftovers"], "removed": not dry_run})
        return
    for each in (*found["TrainingJobNames"], *found["Leftovers"]):
        click.echo(plain(each))
    jobs_, left = len(found["TrainingJobNames"]), len(found["Leftovers"])
    verb = "would be removed" if dry_run else "removed"
    click.echo(
        f"{jobs_} job{'' if jobs_ == 1 else 's'} and {left} leftover{'' if left == 1 else 's'} {verb}.", err=True
    )


def _known(service: Client, name: str) -> dict[str, Any]:
    try:
        return service.describe(name)
    except ServiceError as error:
        if "not found" in error.message:
            raise TreadleError(f"There is no training job {name}.", hint="treadle jobs ls lists them.") from error
        raise


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))
