"""Every training operation of the SageMaker API through boto3: answers, refusals with AWS's words, paging."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.training.world import World, request, world


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def sagemaker(service: World) -> Any:
    return service.client()


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


NOT_FOUND = ("ValidationException", "Requested resource not found.")


# ---------------------------------------------------------------------------------------------------------------------
# Update
# ---------------------------------------------------------------------------------------------------------------------


def test_an_update_changes_what_describe_shows(service: World, sagemaker: Any) -> None:
    """Profiler and keep-alive, member by member, while the job is in progress."""
    arn = service.create(sagemaker, "long-update", ProfilerConfig={"S3OutputPath": "s3://data/p"})
    before = service.reached(sagemaker, "long-update", "Training")
    assert before["ProfilingStatus"] == "Enabled"
    answer = sagemaker.update_training_job(
        TrainingJobName="long-update",
        ProfilerConfig={"DisableProfiler": True},
        ProfilerRuleConfigurations=[{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}],
        ResourceConfig={"KeepAlivePeriodInSeconds": 600},
        RemoteDebugConfig={"EnableRemoteDebug": False},
    )
    assert answer["TrainingJobArn"] == arn
    found = sagemaker.describe_training_job(TrainingJobName="long-update")
    assert found["ProfilingStatus"] == "Disabled"
    assert found["ProfilerConfig"] == {
        "S3OutputPath": "s3://data/p",
        "ProfilingIntervalInMilliseconds": 500,
        "DisableProfiler": True,
    }
    assert found["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert found["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    assert [each["RuleConfigurationName"] for each in found["ProfilerRuleConfigurations"]] == ["r"]
    assert found["LastModifiedTime"] > before["LastModifiedTime"]


def test_an_update_that_is_refused(service: World, sagemaker: Any) -> None:
    """An unknown job, one that has ended, and what is not built."""
    with pytest.raises(ClientError) as caught:
        sagemaker.update_training_job(TrainingJobName="nobody")
    assert refused(caught) == NOT_FOUND
    service.create(sagemaker, "quick-update")
    service.ended(sagemaker, "quick-update")
    with pytest.raises(ClientError, match="the training job is in status Completed") as caught:
        sagemaker.update_training_job(TrainingJobName="quick-update", ResourceConfig={"KeepAlivePeriodInSeconds": 60})


# ---------------------------------------------------------------------------------------------------------------------
# Delete
# ---------------------------------------------------------------------------------------------------------------------


def test_a_deleted_job_is_gone_and_its_name_free(service: World, sagemaker: Any) -> None:
    """Its record and logs go, at once and with the hosts' directories; its artifacts stay; the name can be used again."""
    service.create(sagemaker, "quick-delete", Tags=[{"Key": "a", "Value": "1"}])
    service.ended(sagemaker, "quick-delete")
    model = service.home.s3 / "data/out/quick-delete/output/model.tar.gz"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"model")
    logs = service.client("logs")
    group = "/aws/sagemaker/TrainingJobs"
    assert logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="quick-delete/")["logStreams"]
    assert sagemaker.delete_training_job(TrainingJobName="quick-delete")["ResponseMetadata"]["HTTPStatusCode"] == 200
    with pytest.raises(ClientError) as caught:
        sagemaker.describe_training_job(TrainingJobName="quick-delete")
    assert refused(caught) == NOT_FOUND
    assert not (service.home.logs / "quick-delete").exists()
    assert not (service.home.jobs / "quick-delete").exists()
    assert model.read_bytes() == b"model"
    assert not sagemaker.list_training_jobs(NameContains="quick-delete")["TrainingJobSummaries"]
    service.create(sagemaker, "quick-delete")
    again = service.ended(sagemaker, "quick-delete")
    assert again["TrainingJobStatus"] == "Completed"
    assert sagemaker.list_tags(ResourceArn=again["TrainingJobArn"])["Tags"] == []


def test_a_job_is_deleted_in_the_moment_of_its_end(service: World, sagemaker: Any) -> None:
    """Who sees the end may delete at once, and take the name again; nothing of the old job touches the new one."""
    for _ in range(5):
        service.create(sagemaker, "quick-at-once")
        assert service.ended(sagemaker, "quick-at-once")["TrainingJobStatus"] == "Completed"
        sagemaker.delete_training_job(TrainingJobName="quick-at-once")


def test_a_job_in_progress_is_not_deleted(service: World, sagemaker: Any) -> None:
    """Nor is one that nobody knows."""
    service.create(sagemaker, "long-delete")
    with pytest.raises(sagemaker.exceptions.ResourceInUse, match="the training job is in status InProgress"):
        sagemaker.delete_training_job(TrainingJobName="long-delete")
    with pytest.raises(ClientError) as caught:
        sagemaker.delete_training_job(TrainingJobName="nobody")
    assert refused(caught) == NOT_FOUND


# ---------------------------------------------------------------------------------------------------------------------
# Tags
# ---------------------------------------------------------------------------------------------------------------------


def tags(**pairs: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def test_tags_of_a_job(service: World, sagemaker: Any) -> None:
    """Given at the creation, added, replaced and deleted, also after the end; Describe never shows them."""
    arn = service.create(sagemaker, "quick-tags", Tags=tags(a="1", b="2"))
    modified = service.ended(sagemaker, "quick-tags")["LastModifiedTime"]
    answer = sagemaker.add_tags(ResourceArn=arn, Tags=tags(b="3", c="4"))
    assert answer["Tags"] == tags(a="1", b="3", c="4")
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a", "nothing"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags(b="3", c="4")
    found = sagemaker.describe_training_job(TrainingJobName="quick-tags")
    assert "Tags" not in found
    assert found["LastModifiedTime"] == modified


def test_tags_are_limited(service: World, sagemaker: Any) -> None:
    """Fifty a resource, keys that differ, none of AWS's own; AWS's lengths."""
    many = tags(**{f"key{number:02d}": "v" for number in range(50)})
    arn = service.create(sagemaker, "quick-tagged", Tags=many)
    assert sagemaker.add_tags(ResourceArn=arn, Tags=tags(key00="new"))["Tags"][0] == {"Key": "key00", "Value": "new"}
    for more, text in (
        (tags(other="v"), "at most 50 tags"),
        ([*tags(x="1"), *tags(x="2")], "given more than once"),
        ([{"Key": "aws:x", "Value": "v"}], "reserved"),
        ([{"Key": "k" * 129, "Value": "v"}], "length less than or equal to 128"),
    ):
        with pytest.raises(ClientError, match=text) as caught:
            sagemaker.add_tags(ResourceArn=arn, Tags=more)
        assert refused(caught)[0] == "ValidationException"
    with pytest.raises(ClientError, match="given more than once"):
        service.create(sagemaker, "quick-twice", Tags=[*tags(x="1"), *tags(x="2")])
    assert len(sagemaker.list_tags(ResourceArn=arn)["Tags"]) == 50
    assert "NextToken" not in sagemaker.list_tags(ResourceArn=arn, MaxResults=50)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sagemaker:us-east-1:000000000000:training-job/nobody",
        "arn:aws:sagemaker:us-east-1:000000000000:endpoint/long-update",
        "arn:aws:sagemaker:eu-west-1:000000000000:training-job/long-update",
        "arn:aws:sagemaker:us-east-1:111111111111:training-job/long-update",
    ],
)
def test_tags_of_nobody(sagemaker: Any, arn: str) -> None:
    """What an ARN names must be here."""
    calls: dict[str, dict[str, Any]] = {
        "list_tags": {},
        "add_tags": {"Tags": tags(a="1")},
        "delete_tags": {"TagKeys": ["a"]},
    }
    for call, values in calls.items():
        with pytest.raises(ClientError) as caught:
            getattr(sagemaker, call)(ResourceArn=arn, **values)
        assert refused(caught) == NOT_FOUND


def test_an_arn_that_is_none(sagemaker: Any) -> None:
    """The model's pattern."""
    with pytest.raises(ClientError, match="Value 'x' at 'resourceArn' failed to satisfy constraint"):
        sagemaker.list_tags(ResourceArn="x")


# ---------------------------------------------------------------------------------------------------------------------
# Tuning jobs, and whatever else there is
# ---------------------------------------------------------------------------------------------------------------------


def test_there_are_no_tuning_jobs(sagemaker: Any) -> None:
    """AWS's words for one that does not exist."""
    with pytest.raises(sagemaker.exceptions.ResourceNotFound) as caught:
        sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune")
    assert refused(caught) == (
        "ResourceNotFound",
        "Amazon SageMaker can't find a tuning job called tune. Type another name.",
    )


def test_another_operation_is_named(sagemaker: Any) -> None:
    """It is not passed over in silence."""
    with pytest.raises(ClientError, match="'CreateModel' of sagemaker is not implemented by Treadle") as caught:
        sagemaker.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::000000000000:role/x")
    assert refused(caught)[0] == "UnknownOperationException"


# ---------------------------------------------------------------------------------------------------------------------
# Describe at the end
# ---------------------------------------------------------------------------------------------------------------------


def test_metrics_at_the_end(service: World, sagemaker: Any) -> None:
    """The last value of each, as AWS keeps them: float32, whole seconds."""
    service.create(sagemaker, "quick-metrics")
    found = service.ended(sagemaker, "quick-metrics")
    assert [
        (each["MetricName"], each["Value"], each["Timestamp"].timestamp()) for each in found["FinalMetricDataList"]
    ] == [("loss", 1.1987600326538086, 1_700_000_000.0), ("train:acc", 0.5, 1_700_000_001.0)]


def test_a_warm_pool_is_gone_at_once(service: World, sagemaker: Any) -> None:
    """Nothing is kept, and the answer says so; before the end there is nothing to say."""
    keep = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1, "KeepAlivePeriodInSeconds": 60}
    service.create(sagemaker, "long-pool", ResourceConfig=keep)
    assert "WarmPoolStatus" not in service.reached(sagemaker, "long-pool", "Training")
    sagemaker.stop_training_job(TrainingJobName="long-pool")
    found = service.ended(sagemaker, "long-pool")
    assert found["WarmPoolStatus"] == {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}
    listed = sagemaker.list_training_jobs(WarmPoolStatusEquals="Terminated", NameContains="long-pool")
    assert [each["WarmPoolStatus"]["Status"] for each in listed["TrainingJobSummaries"]] == ["Terminated"]
    for other in ("Available", "InUse", "Reused"):
        assert not sagemaker.list_training_jobs(WarmPoolStatusEquals=other)["TrainingJobSummaries"]


def test_rules_are_configured_and_not_evaluated(service: World, sagemaker: Any) -> None:
    """Each has a status, which is final: a client that waits for it goes on."""
    rule = {"RuleConfigurationName": "loss", "RuleEvaluatorImage": "image"}
    service.create(sagemaker, "quick-rules", DebugRuleConfigurations=[rule], ProfilerRuleConfigurations=[rule])
    found = service.ended(sagemaker, "quick-rules")
    for statuses in ("DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"):
        (status,) = found[statuses]
        assert (status["RuleConfigurationName"], status["RuleEvaluationStatus"]) == ("loss", "Stopped")
        assert status["StatusDetails"] == "Treadle does not evaluate rules."


# ---------------------------------------------------------------------------------------------------------------------
# Limits and retries
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        pytest.param(
            {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}},
            "ValidationException",
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true",
            id="wait without spot",
        ),
        pytest.param(
            {"EnableManagedSpotTraining": True},
            "ValidationException",
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
            id="spot without wait",
        ),
        pytest.param(
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
            },
            "ValidationException",
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
            id="wait shorter than run",
        ),
        pytest.param(
            {"StoppingCondition": {"MaxPendingTimeInSeconds": 60}},
            "ValidationException",
            "1 validation error detected: Value '60' at 'stoppingCondition.maxPendingTimeInSeconds' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1800",
            id="pending too short",
        ),
        pytest.param(
            {"StoppingCondition": {"MaxRuntimeInSeconds": 2_419_201}},
            "ResourceLimitExceeded",
            "The account-level service limit 'Longest run time for a training job' is 2419200 Seconds, with current "
            "utilization of 0 Seconds and a request delta of 2419201 Seconds. Please contact AWS support to request an "
            "increase for this limit.",
            id="more than 28 days",
        ),
        pytest.param(
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2**31 - 1, "VolumeSizeInGB": 1}},
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.m5.large for training job usage' is 64 Instances, with current "
            "utilization of 0 Instances and a request delta of 2147483647 Instances. Please contact AWS support to "
            "request an increase for this limit.",
            id="two billion instances",
        ),
        pytest.param(
            {
                "ResourceConfig": {
                    "VolumeSizeInGB": 1,
                    "InstanceGroups": [
                        {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 60},
                        {"InstanceGroupName": "b", "InstanceType": "ml.c5.xlarge", "InstanceCount": 5},
                    ],
                }
            },
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.m5.large and ml.c5.xlarge for training job usage' is 64 Instances, "
            "with current utilization of 0 Instances and a request delta of 65 Instances. Please contact AWS support "
            "to request an increase for this limit.",
            id="too many instances in groups",
        ),
        pytest.param(
            {
                "ResourceConfig": {
                    "VolumeSizeInGB": 1,
                    "InstancePreferences": [{"InstanceType": "ml.m5.large", "InstanceCount": 65}],
                }
            },
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.m5.large for training job usage' is 64 Instances, with current "
            "utilization of 0 Instances and a request delta of 65 Instances. Please contact AWS support to request an "
            "increase for this limit.",
            id="too many preferred instances",
        ),
        pytest.param(
            {"RetryStrategy": {"MaximumRetryAttempts": 31}},
            "ValidationException",
            "1 validation error detected: Value '31' at 'retryStrategy.maximumRetryAttempts' failed to satisfy "
            "constraint: Member must have value less than or equal to 30",
            id="too many retries",
        ),
    ],
)
def test_limits_that_are_refused(service: World, sagemaker: Any, changes: Any, code: str, text: str) -> None:
    """AWS's code and text."""
    with pytest.raises(ClientError) as caught:
        service.create(sagemaker, "refused", **changes)
    assert refused(caught) == (code, text)


def test_a_fault_of_the_platform_is_retried(service: World, sagemaker: Any) -> None:
    """RetryStrategy: Starting again after InternalServerError, and the second attempt completes."""
    service.create(sagemaker, "broken-once", RetryStrategy={"MaximumRetryAttempts": 1})
    found = service.ended(sagemaker, "broken-once")
    assert [each["Status"] for each in found["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert [spec.attempt for spec in service.specs["broken-once"]] == [1, 2]
    assert found["RetryStrategy"] == {"MaximumRetryAttempts": 1}
    logs = service.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="broken-once/"
    )
    said = [each["message"] for each in logs["events"]]
    assert [each.split(":")[0] for each in said if "Attempt 1 ended" in each] == [
        "[treadle] Attempt 1 ended with InternalServerError"
    ]


def test_a_spot_job_is_interrupted_on_demand(service: World, sagemaker: Any) -> None:
    """§1.9: its host is told to save, it begins again, and completes."""
    service.create(
        sagemaker,
        "spot-job",
        EnableManagedSpotTraining=True,
        CheckpointConfig={"S3Uri": "s3://data/checkpoints/spot-job"},
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
    )
    arn = service.reached(sagemaker, "spot-job", "Training")["TrainingJobArn"]
    assert service.own()("InterruptTrainingJob", {"TrainingJobName": "spot-job"}) == {"TrainingJobArn": arn}
    found = service.ended(sagemaker, "spot-job")
    assert [each["Status"] for each in found["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Interrupted",
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert service.commands["spot-job"] == ["interrupt"]
    assert found["EnableManagedSpotTraining"] is True


def test_retries_are_counted(service: World, sagemaker: Any) -> None:
    """The last failure is the job's."""
    service.create(sagemaker, "failing-on", RetryStrategy={"MaximumRetryAttempts": 2})
    found = service.ended(sagemaker, "failing-on")
    assert found["FailureReason"].startswith("InternalServerError: We encountered an internal error. Please try again.")
    assert [spec.attempt for spec in service.specs["failing-on"]] == [1, 2, 3]


def test_a_fault_of_the_program_is_not_retried(service: World, sagemaker: Any) -> None:
    """Retries are for InternalServerError alone."""
    service.create(sagemaker, "bad-once", RetryStrategy={"MaximumRetryAttempts": 5})
    found = service.ended(sagemaker, "bad-once")
    assert (found["TrainingJobStatus"], found["FailureReason"]) == ("Failed", "AlgorithmError: , exit code: 1")
    assert len(service.specs["bad-once"]) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Search
# ---------------------------------------------------------------------------------------------------------------------

CHANNEL = {
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train"}},
}


@pytest.fixture(scope="module")
def searched(service: World, sagemaker: Any) -> None:
    """Four jobs, tagged alike."""
    for number in range(1, 4):
        service.create(
            sagemaker,
            f"quick-search-{number}",
            HyperParameters={"eta": f"0.{number}", "depth": str(number), "kind": "tree"},
            Tags=tags(team="search", **{"cost.centre": str(number)}),
            InputDataConfig=[{"ChannelName": "train", **CHANNEL}, {"ChannelName": f"extra{number}", **CHANNEL}],
        )
        service.ended(sagemaker, f"quick-search-{number}")
    service.create(sagemaker, "long-search", Tags=tags(team="search"), EnableNetworkIsolation=True)
    service.reached(sagemaker, "long-search", "Training")


def found(sagemaker: Any, expression: Any = None, **values: Any) -> list[str]:
    team = {"Filters": [{"Name": "Tags.team", "Value": "search"}]}
    every = {"SubExpressions": [team, *([expression] if expression else [])]}
    answer = sagemaker.search(Resource="TrainingJob", SearchExpression=every, **values)
    return [each["TrainingJob"]["TrainingJobName"].removeprefix("quick-search-") for each in answer["Results"]]


def only(name: str, operator: str | None = None, value: str | None = None) -> dict[str, Any]:
    more = {"Operator": operator} if operator else {}
    return {"Filters": [{"Name": name} | more | ({"Value": value} if value is not None else {})]}


@pytest.mark.usefixtures("searched")
@pytest.mark.parametrize(
    ("expression", "names"),
    [
        pytest.param(None, ["1", "2", "3", "long-search"], id="all"),
        pytest.param(only("TrainingJobName", None, "quick-search-2"), ["2"], id="equals by default"),
        pytest.param(only("TrainingJobStatus", "NotEquals", "Completed"), ["long-search"], id="not equals"),
        pytest.param(only("TrainingJobName", "Contains", "search-"), ["1", "2", "3"], id="contains"),
        pytest.param(only("TrainingJobStatus", "In", "InProgress, Stopped"), ["long-search"], id="in"),
        pytest.param(only("TrainingEndTime", "Exists"), ["1", "2", "3"], id="exists"),
        pytest.param(only("HyperParameters.eta", "NotExists"), ["long-search"], id="does not exist"),
        pytest.param(only("HyperParameters.eta", "LessThan", "0.25"), ["1", "2"], id="hyperparameter as number"),
        pytest.param(only("HyperParameters.eta", "Equals", "0"), ["1", "2", "3"], id="cut where the value is whole"),
        pytest.param(only("HyperParameters.kind", "Equals", "tree"), ["1", "2", "3"], id="hyperparameter as text"),
        pytest.param(only("Metrics.loss", "GreaterThan", "1.1"), ["1", "2", "3"], id="metric"),
        pytest.param(only("Metrics.loss", "LessThanOrEqualTo", "1.1"), [], id="metric too small"),
        pytest.param(only("Tags.cost.centre", "Equals", "3"), ["3"], id="tag with a dot"),
        pytest.param(only("EnableNetworkIsolation", "Equals", "true"), ["long-search"], id="boolean"),
        pytest.param(only("ResourceConfig.InstanceCount", "GreaterThanOrEqualTo", "2"), [], id="number"),
        pytest.param(
            only("CreationTime", "GreaterThan", "2001-01-01T00:00:00"), ["1", "2", "3", "long-search"], id="after"
        ),
        pytest.param(only("CreationTime", "LessThan", "2001-01-01T00:00:00Z"), [], id="before"),
        pytest.param(only("InputDataConfig.ChannelName", "Equals", "extra2"), ["2"], id="item of a list"),
        pytest.param(
            {
                "NestedFilters": [
                    {
                        "NestedPropertyName": "InputDataConfig",
                        "Filters": [
                            {"Name": "InputDataConfig.ChannelName", "Value": "extra1"},
                            {
                                "Name": "InputDataConfig.DataSource.S3DataSource.S3Uri",
                                "Operator": "Contains",
                                "Value": "data/tr",
                            },
                        ],
                    }
                ]
            },
            ["1"],
            id="nested",
        ),
        pytest.param(
            {
                "NestedFilters": [
                    {
                        "NestedPropertyName": "InputDataConfig",
                        "Filters": [
                            {"Name": "InputDataConfig.ChannelName", "Value": "extra1"},
                            {"Name": "InputDataConfig.ChannelName", "Value": "train"},
                        ],
                    }
                ]
            },
            [],
            id="nested filters hold for one item",
        ),
        pytest.param(
            {
                "Operator": "Or",
                "Filters": [
                    {"Name": "HyperParameters.depth", "Value": "1"},
                    {"Name": "HyperParameters.depth", "Value": "3"},
                ],
            },
            ["1", "3"],
            id="or",
        ),
        pytest.param(
            {
                "Filters": [{"Name": "HyperParameters.kind", "Value": "tree"}],
                "SubExpressions": [
                    {
                        "Operator": "Or",
                        "Filters": [
                            {"Name": "HyperParameters.depth", "Value": "2"},
                            {"Name": "TrainingJobName", "Value": "long-search"},
                        ],
                    }
                ],
            },
            ["2"],
            id="expressions within expressions",
        ),
    ],
)
def test_search_finds(sagemaker: Any, expression: Any, names: list[str]) -> None:
    """Operators, by the kind of what they compare."""
    assert sorted(found(sagemaker, expression)) == names


@pytest.mark.usefixtures("searched")
@pytest.mark.parametrize(
    ("values", "names"),
    [
        pytest.param({}, ["long-search", "3", "2", "1"], id="last modified first"),
        pytest.param({"SortOrder": "Ascending"}, ["1", "2", "3", "long-search"], id="ascending"),
        pytest.param(
            {"SortBy": "HyperParameters.eta", "SortOrder": "Ascending"},
            ["1", "2", "3", "long-search"],
            id="hyperparameter",
        ),
        pytest.param(
            {"SortBy": "HyperParameters.eta"}, ["3", "2", "1", "long-search"], id="without a value comes last"
        ),
        pytest.param({"SortBy": "TrainingJobName"}, ["3", "2", "1", "long-search"], id="text"),
    ],
)
def test_search_sorts_and_pages(sagemaker: Any, values: Any, names: list[str]) -> None:
    """Whole, and one by one."""
    assert found(sagemaker, **values) == names
    team = {"Filters": [{"Name": "Tags.team", "Value": "search"}]}
    pages = sagemaker.get_paginator("search").paginate(
        Resource="TrainingJob", SearchExpression=team, PaginationConfig={"PageSize": 1}, **values
    )
    one_by_one = [page["Results"][0]["TrainingJob"]["TrainingJobName"] for page in pages if page["Results"]]
    assert [each.removeprefix("quick-search-") for each in one_by_one] == names


@pytest.mark.usefixtures("searched")
def test_search_shows_a_job_with_its_tags(sagemaker: Any) -> None:
    """The model's TrainingJob, and how many there are in all."""
    answer = sagemaker.search(
        Resource="TrainingJob", SearchExpression=only("TrainingJobName", "Equals", "quick-search-1"), MaxResults=1
    )
    (result,) = answer["Results"]
    assert result["TrainingJob"]["Tags"] == [{"Key": "team", "Value": "search"}, {"Key": "cost.centre", "Value": "1"}]
    assert answer["TotalHits"] == {"Value": 1, "Relation": "EqualTo"}
    assert "NextToken" not in answer
    assert not sagemaker.search(Resource="TrainingJob", CrossAccountFilterOption="CrossAccount")["Results"]
    seen = sagemaker.search(Resource="TrainingJob", VisibilityConditions=[{"Key": "Tags.cost.centre", "Value": "2"}])[
        "Results"
    ]
    assert [each["TrainingJob"]["TrainingJobName"] for each in seen] == ["quick-search-2"]


def test_search_for_what_is_not_here(sagemaker: Any) -> None:
    """Other resources are none, which is an answer."""
    assert sagemaker.search(Resource="Experiment")["Results"] == []


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        pytest.param(only("Nonsense", "Equals", "1"), "Unknown property name: Nonsense", id="property"),
        pytest.param(only("TrainingJobName", "Equals"), "has the operator Equals and no Value", id="no value"),
        pytest.param(only("CreationTime", "GreaterThan", "soon"), "must be a time such as", id="no time"),
        pytest.param(only("TrainingJobName", "GreaterThan", "a"), "needs a number, not 'a'", id="text is not ordered"),
        pytest.param({}, "at least one Filter, NestedFilter or SubExpression", id="empty"),
        pytest.param(
            {"Filters": [{"Name": "RoleArn", "Operator": "Contains", "Value": "a"}] * 2},
            "'CONTAINS' operator usage limit of 1 exceeded.",
            id="contains twice",
        ),
        pytest.param(
            {"SubExpressions": [{"Filters": [{"Name": "RoleArn", "Value": "a"}] * 17}] * 3},
            "at most 50 conditions, not 51",
            id="too many",
        ),
        pytest.param(
            {
                "NestedFilters": [
                    {"NestedPropertyName": "InputDataConfig", "Filters": [{"Name": "RoleArn", "Value": "x"}]}
                ]
            },
            "a filter on RoleArn, which is not below it",
            id="nested elsewhere",
        ),
    ],
)
def test_a_search_that_is_refused(sagemaker: Any, expression: Any, text: str) -> None:
    """It says what is wrong."""
    with pytest.raises(ClientError, match=text) as caught:
        sagemaker.search(Resource="TrainingJob", SearchExpression=expression)
    assert refused(caught)[0] == "ValidationException"


def test_a_token_of_another_search(sagemaker: Any) -> None:
    """It is refused."""
    with pytest.raises(ClientError, match="not one of this list"):
        sagemaker.search(Resource="TrainingJob", NextToken="x")


# ---------------------------------------------------------------------------------------------------------------------
# Pruning
# ---------------------------------------------------------------------------------------------------------------------


def test_old_jobs_and_leftovers_are_pruned(tmp_path: Path) -> None:
    """Ended long enough ago: gone with their logs. What belongs to nobody too; what runs, or is young, stays."""
    with world(tmp_path) as service:
        sagemaker, own = service.client(), service.own()
        for name in ("quick-old", "long-old"):
            service.create(sagemaker, name)
        service.ended(sagemaker, "quick-old")
        service.reached(sagemaker, "long-old", "Training")
        for root in (service.home.logs, service.home.jobs):
            (root / "nobody").mkdir(parents=True)
        left = [str(service.home.logs / "nobody"), str(service.home.jobs / "nobody")]
        assert own("PruneTrainingJobs", {"OlderThanSeconds": 3600}, dry=True) == {
            "TrainingJobNames": [],
            "Leftovers": left,
        }
        time.sleep(0.01)
        planned = own("PruneTrainingJobs", {"OlderThanSeconds": 0}, dry=True)
        assert planned == {"TrainingJobNames": ["quick-old"], "Leftovers": left}
        assert (service.home.logs / "nobody").exists()
        assert own("PruneTrainingJobs", {"OlderThanSeconds": 0}) == planned
        assert not (service.home.logs / "nobody").exists()
        assert not (service.home.logs / "quick-old").exists()
        names = [each["TrainingJobName"] for each in sagemaker.list_training_jobs()["TrainingJobSummaries"]]
        assert names == ["long-old"]


def test_a_wrong_request_names_every_fault(sagemaker: Any) -> None:
    """As AWS does, in one message."""
    with pytest.raises(ClientError, match="3 validation errors detected: ") as caught:
        sagemaker.create_training_job(**request("a_b", RoleArn="x"))
    assert refused(caught)[0] == "ValidationException"
