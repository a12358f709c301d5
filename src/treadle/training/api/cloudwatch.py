"""The CloudWatch operations that read the metrics of training jobs, as `TrainingJobAnalytics` of the SDK asks for them.

There is one namespace, and a metric in it has one dimension, the name of its job. Nothing is stored for it: the values
are what the job's MetricDefinitions find in its log, at the whole second in which the line was written. What SageMaker
measures of its instances (`CPUUtilization` …, by the dimension `Host`) is not measured here.

CloudWatch speaks several protocols with the same shapes: botocore asks in JSON, before 1.40 or so in Query.

Source: the CloudWatch API Reference; "Monitor Amazon SageMaker with Amazon CloudWatch".
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final, Protocol, TypeAlias

from treadle.aws.shapes import load_service
from treadle.errors import ServiceError
from treadle.seams import JobRecord
from treadle.training.api.logs import LogReader
from treadle.training.api.operations import Api, Caller, Handler, Values
from treadle.training.job import Job, decode
from treadle.training.metrics import Metrics
from treadle.training.paging import read_token, token

__all__ = ["NAMESPACE", "cloudwatch_apis"]

NAMESPACE: Final = "/aws/sagemaker/TrainingJobs"
_DIMENSION: Final = "TrainingJobName"
_MINUTE: Final = 60
# High-resolution metrics may be asked for in these, too; here every metric is one.
_SHORT_PERIODS: Final = frozenset({1, 5, 10, 20, 30})
_MOST_DATAPOINTS: Final = 1440
_MOST_VALUES: Final = 100_800
_METRICS_PER_PAGE: Final = 500
# Lines of the agent's own and the service's begin so; the program's metrics are not looked for in them.
_OURS: Final = "[treadle] "

_Point: TypeAlias = tuple[int, float]
"""When, in Unix seconds, and the value."""


class _Find(Protocol):
    def __call__(self, name: str, /) -> Awaitable[Job | None]: ...


@dataclass(frozen=True, slots=True)
class _Measured:
    """The metrics of all jobs."""

    find: _Find
    jobs: Callable[[], Awaitable[Sequence[JobRecord]]]
    logs: LogReader

    async def points(self, namespace: str, name: str, dimensions: Sequence[Mapping[str, str]]) -> list[_Point]:
        """Give the values of a metric; none for one that there is not, as in CloudWatch."""
        wanted = {each["Name"]: each["Value"] for each in dimensions}
        job = await self.find(wanted[_DIMENSION]) if namespace == NAMESPACE and [*wanted] == [_DIMENSION] else None
        if job is None:
            return []
        definitions = [each for each in _definitions(job) if each["Name"] == name]
        return await asyncio.to_thread(lambda: [(at, value) for _, at, value in self._in_log(job.name, definitions)])

    async def names(self, job: str | None) -> list[tuple[str, str]]:
        """Give job and name of each metric that has a value: of one job, or of all; sorted."""
        if job is not None:
            found = await self.find(job)
            its = [found] if found is not None else []
        else:
            records = await self.jobs()
            its = await asyncio.to_thread(lambda: [decode(each) for each in records])
        return sorted({(each.name, name) for each in its for name in await self._named(each)})

    async def _named(self, job: Job) -> set[str]:
        if job.finished or not _definitions(job):
            return set(job.metrics)
        return await asyncio.to_thread(lambda: {name for name, _, _ in self._in_log(job.name, _definitions(job))})

    def _in_log(self, job: str, definitions: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, int, float]]:
        metrics = Metrics(definitions)
        for stream, _, _ in self.logs.streams(f"{job}/") if definitions else ():
            for at, text in self.logs.lines(stream) or ():
                if not text.startswith(_OURS):
                    yield from ((name, at // 1000, value) for name, value in metrics.found(text))


def _definitions(job: Job) -> Sequence[Mapping[str, str]]:
    return job.request["AlgorithmSpecification"].get("MetricDefinitions") or ()


def cloudwatch_apis(
    find: _Find, jobs: Callable[[], Awaitable[Sequence[JobRecord]]], logs: LogReader
) -> tuple[Api, Api]:
    """Give the CloudWatch API, in JSON and in Query. `find` gives a job by its name, `jobs` gives all as stored."""
    measured = _Measured(find, jobs, logs)

    def handler(work: Callable[[_Measured, Values], Awaitable[Values]]) -> Handler:
        async def handle(values: Values, _caller: Caller) -> Values:
            return await work(measured, values)

        return handle

    operations = {
        "GetMetricData": handler(_get_metric_data),
        "GetMetricStatistics": handler(_get_metric_statistics),
        "ListMetrics": handler(_list_metrics),
    }
    json, query = (load_service("cloudwatch", protocol=each) for each in ("json", "query"))
    return Api("cloudwatch", json.target_prefix, json, operations), Api("cloudwatch", "", query, operations)


# ---------------------------------------------------------------------------------------------------------------------
# Statistics over periods
# ---------------------------------------------------------------------------------------------------------------------

_STATISTICS: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "SampleCount": lambda values: float(len(values)),
    "Average": fmean,
    "Sum": math.fsum,
    "Minimum": min,
    "Maximum": max,
}
_PERCENTILE: Final = re.compile(r"p(100|[0-9]{1,2}(?:\.[0-9]{1,10})?)")


def _statistic(name: str) -> Callable[[list[float]], float]:
    """Give what works a statistic out of the values of a period. Raises `ServiceError`."""
    if name in _STATISTICS:
        return _STATISTICS[name]
    found = _PERCENTILE.fullmatch(name)
    if found is None:
        raise _invalid(f"The statistic {name} is not one of {', '.join(_STATISTICS)} and percentiles such as p95.")
    return lambda values: _percentile(sorted(values), float(found[1]) / 100)


def _percentile(values: Sequence[float], share: float) -> float:
    """Interpolate between the two values that are nearest [guess]: CloudWatch does not say how it does it."""
    at = share * (len(values) - 1)
    low, high = values[math.floor(at)], values[math.ceil(at)]
    return low + (high - low) * (at - math.floor(at))


@dataclass(frozen=True, slots=True)
class _Window:
    """A time range in periods; it begins at a whole minute, for short periods at a multiple of them."""

    start: float
    end: float
    period: int

    @classmethod
    def of(cls, values: Values, period: int) -> _Window:
        """Read a request's. Raises `ServiceError`."""
        if period not in _SHORT_PERIODS and period % _MINUTE:
            raise _invalid("The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60.")
        if values["StartTime"] >= values["EndTime"]:
            raise _contradiction("The parameter StartTime must be less than the parameter EndTime.")
        step = min(period, _MINUTE)
        return cls(values["StartTime"] // step * step, values["EndTime"], period)

    @property
    def most(self) -> int:
        """How many datapoints there can be."""
        return math.ceil((self.end - self.start) / self.period)

    def periods(self, points: Sequence[_Point]) -> dict[float, list[float]]:
        """Give the values of each period that has some, by its beginning, oldest first."""
        found: dict[float, list[float]] = {}
        for at, value in sorted(points):
            if self.start <= at < self.end:
                found.setdefault(at - (at - self.start) % self.period, []).append(value)
        return found


async def _get_metric_statistics(measured: _Measured, values: Values) -> Values:
    plain, extended = values.get("Statistics") or [], values.get("ExtendedStatistics") or []
    if not plain and not extended:
        raise _contradiction("One of the parameters Statistics and ExtendedStatistics must be given.")
    work = {name: _statistic(name) for name in (*plain, *extended)}
    window = _Window.of(values, values["Period"])
    if window.most > _MOST_DATAPOINTS:
        raise _contradiction(
            f"You have requested up to {window.most} datapoints, which exceeds the limit of {_MOST_DATAPOINTS}. You "
            "may reduce the datapoints requested by increasing Period, or decreasing the time range."
        )
    points = await measured.points(values["Namespace"], values["MetricName"], values.get("Dimensions") or ())
    datapoints: list[Values] = []
    for start, its in window.periods(points if _unit_fits(values) else ()).items():
        more = {"ExtendedStatistics": {name: work[name](its) for name in extended}} if extended else {}
        datapoints.append({"Timestamp": start, **{name: work[name](its) for name in plain}, "Unit": "None", **more})
    return {"Label": values["MetricName"], "Datapoints": datapoints}


def _unit_fits(values: Mapping[str, str]) -> bool:
    return values.get("Unit", "None") == "None"


# ---------------------------------------------------------------------------------------------------------------------
# GetMetricData: several metrics, in pages
# ---------------------------------------------------------------------------------------------------------------------

_DATA: Final = "metric data"


async def _get_metric_data(measured: _Measured, values: Values) -> Values:
    queries = [each for each in values["MetricDataQueries"] if each.get("ReturnData", True)]
    newest_first = values.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    series = [await _series(measured, values, each, newest_first=newest_first) for each in queries]
    given = read_token(values.get("NextToken"), _DATA, (float,))
    room = min(values.get("MaxDatapoints", _MOST_VALUES), _MOST_VALUES)
    start = int(given[0]) if given else 0
    results, before = [], 0
    for query, its in zip(queries, series, strict=True):
        page = its[max(0, start - before) : max(0, start + room - before)]
        before += len(its)
        results.append(_result(query, page, whole=before <= start + room))
    more = {"NextToken": token(_DATA, (float(start + room),))} if before > start + room else {}
    return {"MetricDataResults": results, "Messages": [], **more}


def _result(query: Values, page: Sequence[tuple[float, float]], *, whole: bool) -> Values:
    return {
        "Id": query["Id"],
        "Label": query.get("Label") or query["MetricStat"]["Metric"]["MetricName"],
        "Timestamps": [at for at, _ in page],
        "Values": [value for _, value in page],
        "StatusCode": "Complete" if whole else "PartialData",
    }


async def _series(
    measured: _Measured, values: Values, query: Values, *, newest_first: bool
) -> list[tuple[float, float]]:
    its: Any = query.get("MetricStat")
    if its is None:
        raise _invalid(f"The query {query['Id']} has no MetricStat: expressions are not supported by Treadle.")
    metric, work = its["Metric"], _statistic(its["Stat"])
    window = _Window.of(values, its["Period"])
    points = await measured.points(
        metric.get("Namespace", ""), metric.get("MetricName", ""), metric.get("Dimensions") or ()
    )
    found = [(start, work(each)) for start, each in window.periods(points if _unit_fits(its) else ()).items()]
    return found[::-1] if newest_first else found


# ---------------------------------------------------------------------------------------------------------------------
# ListMetrics
# ---------------------------------------------------------------------------------------------------------------------

_METRICS: Final = "metrics"


async def _list_metrics(measured: _Measured, values: Values) -> Values:
    wanted = {each["Name"]: each.get("Value") for each in values.get("Dimensions") or ()}
    if values.get("Namespace", NAMESPACE) != NAMESPACE or set(wanted) - {_DIMENSION}:
        return {"Metrics": []}
    found = await measured.names(wanted.get(_DIMENSION))
    after = read_token(values.get("NextToken"), _METRICS, (str, str))
    name = values.get("MetricName")
    left = [each for each in found if (name is None or each[1] == name) and (after is None or each > after)]
    page = left[:_METRICS_PER_PAGE]
    metrics = [
        {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": [{"Name": _DIMENSION, "Value": job}]}
        for job, metric in page
    ]
    return {"Metrics": metrics} | ({"NextToken": token(_METRICS, page[-1])} if len(left) > len(page) else {})


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValue", message)


def _contradiction(message: str) -> ServiceError:
    return ServiceError("InvalidParameterCombination", message)
