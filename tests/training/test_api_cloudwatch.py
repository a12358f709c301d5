"""The CloudWatch API: what MetricDefinitions find in the logs, over periods; the same in JSON and in Query."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.test_api_logs import CALLER, Logs
from tests.training.world import World, request, world

from treadle.errors import ServiceError
from treadle.seams import JobRecord
from treadle.training.api.cloudwatch import NAMESPACE, cloudwatch_apis
from treadle.training.api.operations import Values
from treadle.training.job import Job, Transition, record

START = 1_800_000_000  # a whole minute
LINES = [
    (0, "[treadle] loss=9"),
    (1_500, "loss=4 acc=0.1"),
    (1_900, "loss=2 acc=x"),
    (61_000, "loss=1"),
    (119_999, "loss=0.5 acc=0.7"),
    (120_000, "no more"),
]


def job(name: str, **more: Any) -> Job:
    """Give a job that runs and looks for two metrics."""
    definitions = [{"Name": each, "Regex": rf"{each}=(\S+)"} for each in ("loss", "acc")]
    request_ = {"AlgorithmSpecification": {"MetricDefinitions": definitions}}
    began = Transition(status="Starting", message="", start=START, end=None)
    its = {"image": {}, "command": [], "transitions": (began,), "request": request_, "max_runtime": 60}
    times = {"created_at": START, "modified_at": START}
    return msgspec.convert({"name": name, "arn": f"arn:{name}", **its, **times, **more}, Job)


@dataclass
class Service:
    """The jobs and their logs."""

    jobs: Mapping[str, Job]
    logs: Logs

    async def find(self, name: str) -> Job | None:
        return self.jobs.get(name)

    async def all(self) -> list[JobRecord]:
        return [record(each) for each in self.jobs.values()]

    async def call(self, operation: str, **values: Any) -> Values:
        """Call an operation as the application does: input checked, output in the shape of the model."""
        api = cloudwatch_apis(self.find, self.all, self.logs)[0]
        model = api.model.operation(operation)
        output = await api.operations[operation](model.input.accept(values), CALLER)
        assert model.output is not None
        assert output is not None
        return model.output.write(output)


ENDED = job("ended", status="Completed", metrics={"auc": (0.5, START)})
SERVICE = Service(
    {"run": job("run"), "ended": ENDED, "quiet": job("quiet")},
    Logs(
        {
            "run/algo-1-1": [(START * 1000 + at, text) for at, text in LINES],
            "run/algo-2-1": [(START * 1000 + 2_000, "loss=3")],
            "quiet/algo-1-1": [(START * 1000, "nothing yet")],
        }
    ),
)


def metric(job_: str = "run", name: str = "loss") -> dict[str, Any]:
    """Name a metric as a request does."""
    return {
        "Namespace": NAMESPACE,
        "MetricName": name,
        "Dimensions": [{"Name": "TrainingJobName", "Value": job_}],
    }


def during(start: float = 0, end: float = 180) -> dict[str, float]:
    """Give a time range, from the first minute on."""
    return {"StartTime": START + start, "EndTime": START + end}


async def statistics(period: int = 60, *names: str, **more: Any) -> dict[float, Any]:
    """Ask for statistics; second since the start → the datapoint without its time."""
    values = {**metric(), **during(), "Period": period, "Statistics": list(names or ("Average",)), **more}
    found = await SERVICE.call("GetMetricStatistics", **values)
    assert found["Label"] == values["MetricName"]
    points = {each.pop("Timestamp") - START: each for each in found["Datapoints"]}
    assert all(each.pop("Unit") == "None" for each in points.values())
    return points


async def test_values_are_gathered_by_period() -> None:
    """Of all hosts' lines, without the service's own; a period is named by its beginning."""
    both = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
    assert await statistics(60, *both) == {
        0: {"SampleCount": 3, "Average": 3, "Sum": 9, "Minimum": 2, "Maximum": 4},
        60: {"SampleCount": 2, "Average": 0.75, "Sum": 1.5, "Minimum": 0.5, "Maximum": 1},
    }
    assert await statistics(120) == {0: {"Average": 2.1}}
    assert await statistics(1, "Maximum") == {
        1: {"Maximum": 4},
        2: {"Maximum": 3},
        61: {"Maximum": 1},
        119: {"Maximum": 0.5},
    }


async def test_a_range_begins_at_a_whole_minute() -> None:
    """Or at a multiple of a period that is shorter; the end does not belong to it."""
    assert list(await statistics(60, **during(59))) == [0, 60]
    assert list(await statistics(20, **during(59, 119))) == [60]
    assert list(await statistics(20, **during(59, 120))) == [60, 100]


async def test_percentiles() -> None:
    """They are interpolated."""
    found = await statistics(60, **during(0, 60), Statistics=None, ExtendedStatistics=["p50", "p75.0", "p100"])
    assert found == {0: {"ExtendedStatistics": {"p50": 3, "p75.0": 3.5, "p100": 4}}}


@pytest.mark.parametrize(
    "other",
    [
        metric("nobody"),
        metric(name="nothing"),
        metric("quiet"),
        metric() | {"Namespace": "AWS/EC2"},
        metric() | {"Dimensions": []},
        metric() | {"Dimensions": [{"Name": "Host", "Value": "run/algo-1"}]},
        {"Unit": "Percent"},
    ],
)
async def test_a_metric_that_is_not_there_has_no_datapoints(other: dict[str, Any]) -> None:
    """As in CloudWatch, which knows no metrics but those that somebody sent."""
    assert await statistics(**other) == {}


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"Period": 90}, "InvalidParameterValue", "must be 1, 5, 10, 20, 30, or a multiple of 60"),
        ({"EndTime": START}, "InvalidParameterCombination", "StartTime must be less than the parameter EndTime"),
        ({"Statistics": None}, "InvalidParameterCombination", "Statistics and ExtendedStatistics must be given"),
        ({"Period": 1, "EndTime": START + 1441}, "InvalidParameterCombination", "up to 1441 datapoints"),
        ({"ExtendedStatistics": ["tm99"]}, "InvalidParameterValue", "tm99 is not one of SampleCount, "),
        ({"ExtendedStatistics": ["p101"]}, "InvalidParameterValue", "p101"),
    ],
)
async def test_statistics_that_are_refused(changes: dict[str, Any], code: str, said: str) -> None:
    """With the names that the errors have in CloudWatch."""
    with pytest.raises(ServiceError, match=said) as caught:
        await statistics(period=changes.pop("Period", 60), **changes)
    assert caught.value.code == code


def query(id_: str, **more: Any) -> dict[str, Any]:
    """Give a query for the largest value of each minute."""
    return {"Id": id_, "MetricStat": {"Metric": metric(), "Period": 60, "Stat": "Maximum"}} | more


async def test_metric_data() -> None:
    """Several at once, newest first unless it is asked otherwise; a label may be given."""
    asked = [query("a"), query("b", Label="mine"), query("c", ReturnData=False)]
    found = await SERVICE.call("GetMetricData", **during(), MetricDataQueries=asked)
    times = [START + 60, START]
    assert found["MetricDataResults"] == [
        {"Id": "a", "Label": "loss", "Timestamps": times, "Values": [1, 4], "StatusCode": "Complete"},
        {"Id": "b", "Label": "mine", "Timestamps": times, "Values": [1, 4], "StatusCode": "Complete"},
    ]
    found = await SERVICE.call("GetMetricData", **during(), MetricDataQueries=[query("a")], ScanBy="TimestampAscending")
    assert found["MetricDataResults"][0]["Values"] == [4, 1]
    with pytest.raises(ServiceError, match="The query x has no MetricStat: expressions"):
        await SERVICE.call("GetMetricData", **during(), MetricDataQueries=[{"Id": "x", "Expression": "a*2"}])


@given(size=st.integers(1, 5))
async def test_pages_of_metric_data(size: int) -> None:
    """Together they hold everything once; a metric is complete on the page that has its last value."""
    values: dict[str, Any] = {**during(), "MetricDataQueries": [query("a"), query("b")], "MaxDatapoints": size}
    gathered: dict[str, list[float]] = {"a": [], "b": []}
    complete = []
    while True:
        page = await SERVICE.call("GetMetricData", **values)
        assert sum(len(each["Values"]) for each in page["MetricDataResults"]) <= size
        for each in page["MetricDataResults"]:
            gathered[each["Id"]] += each["Values"]
        complete.append([each["StatusCode"] == "Complete" for each in page["MetricDataResults"]])
        if "NextToken" not in page:
            break
        values["NextToken"] = page["NextToken"]
    assert gathered == {"a": [1, 4], "b": [1, 4]}
    assert complete[-1] == [True, True]
    assert len(complete) == -(-4 // size)


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        ({}, [("ended", "auc"), ("run", "acc"), ("run", "loss")]),
        ({"MetricName": "loss"}, [("run", "loss")]),
        ({"Namespace": NAMESPACE, "Dimensions": [{"Name": "TrainingJobName", "Value": "ended"}]}, [("ended", "auc")]),
        ({"Dimensions": [{"Name": "TrainingJobName"}]}, [("ended", "auc"), ("run", "acc"), ("run", "loss")]),
        ({"Dimensions": [{"Name": "TrainingJobName", "Value": "nobody"}]}, []),
        ({"Dimensions": [{"Name": "Host"}]}, []),
        ({"Namespace": "AWS/EC2"}, []),
    ],
)
async def test_metrics_are_listed(asked: dict[str, Any], want: list[tuple[str, str]]) -> None:
    """Those that have a value; of a job that runs, in its log, of one that has ended, in its description."""
    found = await SERVICE.call("ListMetrics", **asked)
    assert found == {"Metrics": [metric(job_, name) for job_, name in want]}


async def test_pages_of_metrics() -> None:
    """500 on a page, and a token that goes on behind it."""
    many = {f"m{number:04}": (1.0, START) for number in range(501)}
    service = Service({"ended": job("ended", status="Completed", metrics=many)}, Logs())
    first = await service.call("ListMetrics")
    rest = await service.call("ListMetrics", NextToken=first["NextToken"])
    assert [len(each["Metrics"]) for each in (first, rest)] == [500, 1]
    assert "NextToken" not in rest


def _older(service: World, directory: Path) -> Any:
    """Give a client of a botocore whose model of CloudWatch has nothing but Query."""
    [model] = Path(botocore.__file__).parent.glob("data/cloudwatch/*/service-2.json.gz")
    document = json.loads(gzip.decompress(model.read_bytes()))
    document["metadata"] |= {"protocol": "query", "protocols": ["query"]}
    (directory / "cloudwatch" / model.parent.name).mkdir(parents=True)
    (directory / "cloudwatch" / model.parent.name / "service-2.json").write_text(json.dumps(document))
    session = botocore.session.Session()
    session.set_config_variable("data_path", str(directory))
    key, secret = service.home.credentials()
    return session.create_client(
        "cloudwatch",
        "us-east-1",
        endpoint_url=service.service.endpoint.url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def test_clients_of_both_protocols(tmp_path: Path) -> None:
    """Older botocores ask in Query: a form, and XML with times as texts. The answers are the same."""
    with world(tmp_path) as service:
        definitions = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
        algorithm = request("")["AlgorithmSpecification"] | {"MetricDefinitions": definitions}
        service.create(service.client(), "measured-1", AlgorithmSpecification=algorithm)
        ended = service.ended(service.client(), "measured-1")["TrainingEndTime"]
        asked = {**metric("measured-1"), "StartTime": ended.timestamp() - 300, "EndTime": ended.timestamp() + 60}
        for client in (service.client("cloudwatch"), _older(service, tmp_path / "models")):
            found = client.get_metric_statistics(**asked, Period=60, Statistics=["Average"])
            [point] = found["Datapoints"]
            assert (point["Average"], point["Timestamp"].second) == (0.5, 0)
            with pytest.raises(client.exceptions.InvalidParameterValueException, match="multiple of 60"):
                client.get_metric_statistics(**asked, Period=7, Statistics=["Average"])
            with pytest.raises(client.exceptions.ClientError, match="'PutMetricData' of cloudwatch is not implemented"):
                client.put_metric_data(Namespace="mine", MetricData=[{"MetricName": "m", "Value": 1.0}])
