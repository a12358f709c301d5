"""From the configuration files of a job to its model: the `train` program."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost as xgb

from treadle.training.algorithms.cluster import Cluster
from treadle.training.algorithms.program import AlgorithmError, Directories, UserError, log
from treadle.training.algorithms.xgboost import hyperparameters
from treadle.training.algorithms.xgboost.data import Data, check_channels
from treadle.training.algorithms.xgboost.training import Places, Training, group

__all__ = ["finds_gpu", "train"]

_GUIDE = (
    "https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html#Instance-XGBoost-distributed-training-divide-data"
)


def train(directories: Directories) -> None:
    """Train as the configuration files say. Raises `UserError`, `AlgorithmError`."""
    version = os.environ.get("TREADLE_ALGORITHM_VERSION", "")
    told = f" for {version}" if version else ""
    log(f"Running XGBoost Sagemaker in algorithm mode: XGBoost {xgb.__version__}{told}")
    values = hyperparameters.read(directories.config("hyperparameters"))
    channels = directories.config("inputdataconfig")
    check_channels(channels)
    _check_gpu(values)
    resources = directories.config("resourceconfig")
    training = Training(values, _places(directories))
    training.check(resources.get("hosts") or ())
    with Cluster.joined(resources) as cluster:
        data = Data.read(channels, directories, weights=training.csv_weights)
        data.check(training.objective, training.classes)
        _train_together(cluster, training, data, directories)


def _train_together(cluster: Cluster, training: Training, data: Data, directories: Directories) -> None:
    if len(cluster.hosts) == 1:
        _check_alone(data, directories)
        log("Single node training.")
    else:
        log(f"Distributed node training with {len(cluster.hosts)} hosts: {list(cluster.hosts)}")
        _tell_missing(cluster.host, data)
    told = cluster.gather({"usable": data.usable, "rounds": training.checkpoints.rounds()})
    members = [host for host, each in zip(cluster.hosts, told, strict=True) if each["usable"]]
    if not members:
        raise UserError("No hosts received training data.")
    agreed = set.intersection(*(set(each["rounds"]) for each in told if each["usable"]))
    try:
        with group(cluster, members) as master:
            if data.train is None or cluster.host not in members:
                log(f"Host {cluster.host} not being used for distributed training.", "WARNING")
                return
            training.run(data.train, data.validation, sorted(agreed), master=master)
    except (AlgorithmError, xgb.core.XGBoostError) as error:
        # What has broken here may have broken because another host failed, which says why.
        first = cluster.first_failure() if len(members) > 1 else None
        raise first or (error if isinstance(error, AlgorithmError) else AlgorithmError(str(error))) from error


def _places(directories: Directories) -> Places:
    path = directories.config("checkpointconfig").get("LocalPath")
    return Places(directories.model, directories.output, directories.located(path) if path else None)


def _check_alone(data: Data, directories: Directories) -> None:
    if data.train is None:
        raise UserError(f"No data in training channel path {directories.channel('train')}")
    if not data.usable:
        raise UserError(f"No data in validation channel path {directories.channel('validation')}")


def _tell_missing(host: str, data: Data) -> None:
    missing = ["training"] * (data.train is None) + ["validation"] * (data.validated and data.validation is None)
    for what in missing:
        log(
            f"Host {host} does not have {what} data. Will broadcast to cluster and this host {host} will not be used "
            f"in distributed training. Please divide the {what} data across instances properly. See {_GUIDE}.",
            "WARNING",
        )


def _check_gpu(values: Mapping[str, Any]) -> None:
    """Refuse to train without the GPU that was asked for."""
    asked = values.get("tree_method") == "gpu_hist" or values.get("predictor") == "gpu_predictor"
    there = os.environ.get("NVIDIA_VISIBLE_DEVICES", "void") not in {"", "void", "none"}
    if values.get("use_dask_gpu_training") == "true":
        if values.get("tree_method") != "gpu_hist" or not there:
            raise UserError("Dask training is only available for `gpu_hist` training on GPU instances.")
        raise UserError("Hyperparameter use_dask_gpu_training: Treadle's XGBoost does not train with Dask")
    if asked and not there:
        raise UserError(
            "Hyperparameters tree_method gpu_hist and predictor gpu_predictor need a GPU; there is none here"
        )
    if asked and not xgb.build_info().get("USE_CUDA"):
        raise UserError("The XGBoost that is installed here cannot use GPUs: install xgboost instead of xgboost-cpu")
    if asked and not finds_gpu():
        raise UserError(
            "XGBoost finds no GPU that it can use: is the driver too old for "
            f"CUDA {'.'.join(map(str, xgb.build_info()['CUDA_VERSION']))}?"
        )


def finds_gpu() -> bool:
    """Tell whether XGBoost trains on a GPU. Where it finds none it trains on the CPU, and merely warns."""
    with warnings.catch_warnings(action="ignore"):
        booster = xgb.train({"device": "cuda", "verbosity": 0}, xgb.DMatrix(np.zeros((1, 1)), label=np.zeros(1)), 1)
    device: str = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    return device.startswith("cuda")
