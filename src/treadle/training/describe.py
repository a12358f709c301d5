"""A job as DescribeTrainingJob and ListTrainingJobs show it (§2.2, §2.5): API members, times in Unix seconds."""

from __future__ import annotations

import struct
from typing import Any, Final

from treadle.training.job import Job, Transition

__all__ = ["describe", "model_artifacts", "summary", "warm_pool"]

# Members of the request that the answer does not echo.
_SILENT: Final = frozenset({"SessionChainingConfig", "TrainingJobName"})


def describe(job: Job) -> dict[str, Any]:
    """Give the answer of DescribeTrainingJob; members that have no value yet are left out."""
    answer = {name: value for name, value in job.request.items() if name not in _SILENT}
    answer |= {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        # Required in the answer, so it is there from the start, as the path that will be written.
        "ModelArtifacts": {"S3ModelArtifacts": model_artifacts(job)},
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
        "SecondaryStatusTransitions": [_transition(each) for each in job.transitions],
        "CreationTime": _time(job.created_at),
        "LastModifiedTime": _time(job.modified_at),
    }
    if job.training_started_at is not None:
        answer["TrainingStartTime"] = _time(job.training_started_at)
    if job.training_ended_at is not None:
        answer["TrainingEndTime"] = _time(job.training_ended_at)
    if (seconds := job.training_seconds) is not None:
        answer |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
    if job.status == "Failed":
        answer["FailureReason"] = job.failure_reason
    if job.finished and job.metrics:
        answer["FinalMetricDataList"] = [
            {"MetricName": name, "Value": _float32(value), "Timestamp": float(int(at))}
            for name, (value, at) in job.metrics.items()
        ]
    if "ProfilerConfig" in job.request:
        answer["ProfilingStatus"] = "Disabled" if job.request["ProfilerConfig"].get("DisableProfiler") else "Enabled"
    if pool := warm_pool(job):
        answer["WarmPoolStatus"] = pool
    return answer | _rules(job)


_RULES: Final = {
    "DebugRuleConfigurations": "DebugRuleEvaluationStatuses",
    "ProfilerRuleConfigurations": "ProfilerRuleEvaluationStatuses",
}


def _rules(job: Job) -> dict[str, Any]:
    """Give the statuses of configured rules. Nobody evaluates them here, and a client that waits for them must know."""
    return {
        statuses: [
            {
                "RuleConfigurationName": each["RuleConfigurationName"],
                "RuleEvaluationStatus": "Stopped",
                "StatusDetails": "Treadle does not evaluate rules.",
                "LastModifiedTime": _time(job.created_at),
            }
            for each in job.request[rules]
        ]
        for rules, statuses in _RULES.items()
        if job.request.get(rules)
    }


def warm_pool(job: Job) -> dict[str, Any] | None:
    """Give the WarmPoolStatus of an ended job that asked for a warm pool: nothing was retained, so nothing is left."""
    if not job.finished or not job.request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        return None
    return {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}


def summary(job: Job) -> dict[str, Any]:
    """Give an entry of ListTrainingJobs."""
    answer = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": _time(job.created_at),
        "LastModifiedTime": _time(job.modified_at),
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
    }
    if job.training_ended_at is not None:
        answer["TrainingEndTime"] = _time(job.training_ended_at)
    if pool := warm_pool(job):
        answer["WarmPoolStatus"] = pool
    return answer


def model_artifacts(job: Job) -> str:
    """Give the s3:// URI of the model: an archive, or with CompressionType NONE the prefix of its files [guess]."""
    config = job.request["OutputDataConfig"]
    name = "model/" if config.get("CompressionType") == "NONE" else "model.tar.gz"
    return f"{config['S3OutputPath'].rstrip('/')}/{job.name}/output/{name}"


def _transition(each: Transition) -> dict[str, Any]:
    end = {} if each.end is None else {"EndTime": _time(each.end)}
    return {"Status": each.status, "StartTime": _time(each.start), **end, "StatusMessage": each.message}


def _time(seconds: float) -> float:
    return round(seconds, 3)


def _float32(value: float) -> float:
    """Give the value as AWS keeps it: 1.19876003… becomes 1.1987600326538086; out of range it is infinite."""
    try:
        narrowed: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return narrowed
