"""Built-in algorithms as jobs of the real service: several hosts, and metrics as AWS's own definitions read them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.end_to_end.world import World
from treadle.agent.sandbox import network

xgb = pytest.importorskip("xgboost")

ROWS = np.random.default_rng(3).normal(size=(300, 4)).astype(np.float32)
LABELS = (ROWS[:, 0] > ROWS[:, 1]).astype(int)
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def csv(begin: int, end: int) -> bytes:
    rows = zip(LABELS[begin:end], ROWS[begin:end], strict=True)
    return "".join(f"{label}," + ",".join(map(str, row)) + "\n" for label, row in rows).encode()


def test_two_hosts_of_xgboost_share_the_rows(world: World, namespace_problem: str) -> None:
    """ShardedByS3Key in a network of their own: one model of all rows, one set of metrics."""
    if problem := namespace_problem or network.problem():
        pytest.skip(f"the hosts have no network of their own here: {problem}")
    world.sandbox = "namespace"
    for number in range(3):
        world.put(f"rows/{number}.csv", csv(number * 100, number * 100 + 100))
    world.serve()
    train = world.channel("rows/") | {"ContentType": "text/csv"}
    train["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    hyperparameters = {"num_round": "5", "objective": "binary:logistic", "eval_metric": "error", "tree_method": "hist"}
    world.create("two", XGBOOST, ResourceConfig=resources, InputDataConfig=[train], HyperParameters=hyperparameters)
    job = world.ended("two")
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), world.log("two")
    model = world.model("two") or {}
    assert list(model) == ["xgboost-model"]
    booster = xgb.Booster()
    booster.load_model(bytearray(model["xgboost-model"]))
    error = np.mean((booster.predict(xgb.DMatrix(ROWS)) > 0.5) != LABELS)
    told = {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}
    assert told == {"train:error": pytest.approx(error, abs=1e-5)}
