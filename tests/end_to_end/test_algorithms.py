"""Built-in algorithms as jobs of the real service: several hosts, and metrics as AWS's own definitions read them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.world import BUCKET, World
from tests.training.records import dense
from treadle.agent.sandbox import network

xgb = pytest.importorskip("xgboost")

ROWS = np.random.default_rng(3).normal(size=(300, 4)).astype(np.float32)
LABELS = (ROWS[:, 0] > ROWS[:, 1]).astype(int)
KMEANS = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def csv(begin: int, end: int) -> bytes:
    rows = zip(LABELS[begin:end], ROWS[begin:end], strict=True)
    return "".join(f"{label}," + ",".join(map(str, row)) + "\n" for label, row in rows).encode()


def sharded(world: World, content_type: str) -> dict[str, Any]:
    """Give the channel of all objects below rows/, of which each host gets some."""
    train = world.channel("rows/") | {"ContentType": content_type}
    train["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    return train


RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}


def test_two_hosts_of_xgboost_share_the_rows(world: World, namespace_problem: str) -> None:
    """ShardedByS3Key in a network of their own: one model of all rows, one set of metrics."""
    if problem := namespace_problem or network.problem():
        pytest.skip(f"the hosts have no network of their own here: {problem}")
    world.sandbox = "namespace"
    for number in range(3):
        world.put(f"rows/{number}.csv", csv(number * 100, number * 100 + 100))
    world.serve()
    train = sharded(world, "text/csv")
    hyperparameters = {"num_round": "5", "objective": "binary:logistic", "eval_metric": "error", "tree_method": "hist"}
    world.create("two", XGBOOST, ResourceConfig=RESOURCES, InputDataConfig=[train], HyperParameters=hyperparameters)
    job = world.ended("two")
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), world.log("two")
    model = world.model("two") or {}
    assert list(model) == ["xgboost-model"]
    booster = xgb.Booster()
    booster.load_model(bytearray(model["xgboost-model"]))
    error = np.mean((booster.predict(xgb.DMatrix(ROWS)) > 0.5) != LABELS)
    told = {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}
    assert told == {"train:error": pytest.approx(error, abs=1e-5)}


def test_two_hosts_of_kmeans_read_their_rows_from_pipes(world: World) -> None:
    """RecordIO in Pipe mode, in the sandbox that leaves hosts the loopback addresses of their numbers."""
    world.sandbox = "plain"
    for number in range(3):
        rows = ROWS[number * 100 : number * 100 + 100]
        world.put(f"rows/{number}", dense(rows.tolist(), [None] * len(rows)))
    world.serve()
    world.create(
        "clusters",
        KMEANS,
        AlgorithmSpecification={"TrainingImage": KMEANS, "TrainingInputMode": "Pipe"},
        ResourceConfig=RESOURCES,
        InputDataConfig=[
            sharded(world, "application/x-recordio-protobuf"),
            world.channel("rows/", "test") | {"ContentType": "application/x-recordio-protobuf"},
        ],
        HyperParameters={"k": "3", "feature_dim": "4", "mini_batch_size": "50", "epochs": "2"},
    )
    job = world.ended("clusters")
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), world.log("clusters")
    model = world.model("clusters") or {}
    assert list(model) == ["model_algo-1"]
    centers = np.frombuffer(model["model_algo-1"], "<f4", offset=64, count=12).reshape(3, 4)
    apart = ((ROWS[:, None] - centers) ** 2).sum(axis=2).min(axis=1)
    told = {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}
    assert told["test:msd"] == pytest.approx(apart.mean(), rel=1e-5)
    assert told.keys() == {"test:msd", "train:msd", "train:progress", "train:throughput"}
    defined = {each["Name"] for each in job["AlgorithmSpecification"]["MetricDefinitions"]}
    assert told.keys() | {"test:ssd"} == defined


def test_a_mistake_in_a_kmeans_job_is_the_clients(world: World) -> None:
    """Its FailureReason is the one of AWS, prefix and exit code included."""
    world.put("rows/1", b"1,2\n")
    world.serve()
    world.create("wrong", KMEANS, InputDataConfig=[world.channel("rows/")], HyperParameters={"k": "3"})
    job = world.ended("wrong")
    assert job["FailureReason"] == (
        "ClientError: No value(s) were specified for 'feature_dim' which are required hyperparameter(s) "
        "(caused by ValidationError), exit code: 2"
    )


def test_the_image_of_xgboost_runs_a_script(world: World) -> None:
    """With what the SDK's XGBoost(entry_point=...) sends, the user's own program trains; its hosts are as they are."""
    program = b"""import os, sys, xgboost
booster = xgboost.train({"max_depth": int(sys.argv[2])}, xgboost.DMatrix([[0], [1]], [0, 1]), 2)
booster.save_model(os.environ["SM_MODEL_DIR"] + "/mine.json")
"""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as written:
        about = tarfile.TarInfo("train.py")
        about.size = len(program)
        written.addfile(about, io.BytesIO(program))
    world.put("code/sourcedir.tar.gz", archive.getvalue())
    world.serve()
    script = {
        "sagemaker_submit_directory": json.dumps(f"s3://{BUCKET}/code/sourcedir.tar.gz"),
        "sagemaker_program": json.dumps("train.py"),
        "max_depth": "2",
    }
    world.create("script", XGBOOST, HyperParameters=script)
    job = world.ended("script")
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), world.log("script")
    assert list(world.model("script") or {}) == ["mine.json"]
