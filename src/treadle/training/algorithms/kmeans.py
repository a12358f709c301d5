"""The built-in K-Means: k centres of rows without labels, under the training container's contract, `… kmeans train`.

It stands in for AWS's image `kmeans`, whose program is not public. What it does follows the documentation
(docs.aws.amazon.com/sagemaker/latest/dg/algo-kmeans-tech-notes.html) and logs of real jobs:

1. k × `extra_center_factor` centres are chosen from the first mini-batch, at random or by k-means++.
2. The data goes by in mini-batches. Each centre moves towards the mean of the rows that are nearest to it, by their
   share of the rows that it has had; with `half_life_time_size` older rows count less and less.
3. The centres, each with the number of rows that it has had, are reduced to k: Lloyd's method among them, several times
   from new beginnings, of which the best stays. `train msd` is the mean squared distance of that.

On several hosts each reads its own rows, all hosts' sums move the same centres, and the first host writes the model.
Memory holds a mini-batch and the centres.

What is chosen at random is the same each time, so the same job ends with the same model, which on AWS it does not.

The model is `model_algo-1`, as on AWS: a list of one array in MXNet's format. Without MXNet:

    shape = np.fromfile("model_algo-1", "<i8", 2, offset=36)
    centers = np.fromfile("model_algo-1", "<f4", offset=64, count=shape.prod()).reshape(shape)
"""

from __future__ import annotations

import itertools
import operator
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from treadle.training.algorithms import batches
from treadle.training.algorithms.cluster import Cluster
from treadle.training.algorithms.hyperparameters import (
    CLOSED_TEXTS,
    Categorical,
    Continuous,
    Hyperparameter,
    Integer,
    Interval,
    JsonList,
    Text,
    validated,
)
from treadle.training.algorithms.inputs import Input
from treadle.training.algorithms.program import CLOSED, Directories, UserError, log, run

__all__ = ["HYPERPARAMETERS", "Centers", "ndarray_list", "nearest", "shrunk", "train"]

_POSITIVE: Final = Interval(1)
_AUTO: Final = ("auto",)
_METHODS: Final = ("random", "kmeans++")
_TRUTH: Final = ("true", "false", "True", "False")

HYPERPARAMETERS: Final[tuple[Hyperparameter, ...]] = (
    Integer("k", required=True, range=_POSITIVE),
    Integer("feature_dim", required=True, range=_POSITIVE),
    Integer("mini_batch_size", range=_POSITIVE),
    Integer("epochs", range=_POSITIVE),
    Categorical("init_method", words=_METHODS),
    Integer("extra_center_factor", range=_POSITIVE, words=_AUTO),
    Integer("half_life_time_size", range=Interval(0)),
    Integer("local_lloyd_max_iter", range=_POSITIVE),
    Continuous("local_lloyd_tol", range=Interval(0, 1)),
    Categorical("local_lloyd_init_method", words=_METHODS),
    Integer("local_lloyd_num_trials", range=_POSITIVE, words=_AUTO),
    JsonList("eval_metrics", words=("msd", "ssd")),
    Categorical("force_dense", words=_TRUTH),
    # What AWS's program takes besides, seen in logs; it changes nothing here.
    *(Text(f"_{name}") for name in (
        "disable_wait_to_read", "enable_profiler", "kvstore", "log_level", "num_gpus", "num_kv_servers", "num_slices",
        "tuning_objective_metric",
    )),
)  # fmt: skip
_DEFAULTS: Final[Mapping[str, Any]] = {
    "mini_batch_size": 5000,
    "epochs": 1,
    "init_method": "random",
    "extra_center_factor": "auto",
    "half_life_time_size": 0,
    "local_lloyd_max_iter": 300,
    "local_lloyd_tol": 0.0001,
    "local_lloyd_init_method": "kmeans++",
    "local_lloyd_num_trials": "auto",
    "eval_metrics": ["msd"],
    "force_dense": "true",
}
_AUTO_FACTOR: Final = 10
_AUTO_TRIALS: Final = 10
_SEED: Final = 0
_CHUNK: Final = 1 << 22  # distances that are computed at once

_say = partial(log, voice=CLOSED)


def train(directories: Directories) -> None:
    """Train as the configuration files say. Raises `UserError`, `AlgorithmError`."""
    given = directories.config("hyperparameters")
    _say(f"Reading default configuration: {dict(_DEFAULTS)}")
    _say(f"Merging with provided configuration from /opt/ml/input/config/hyperparameters.json: {given}")
    values = {**_DEFAULTS, **validated(HYPERPARAMETERS, given, texts=CLOSED_TEXTS)}
    _say(f"Final configuration: {values}")
    channels = directories.config("inputdataconfig")
    data = batches.inputs(channels, directories, ("train", "test"))
    with Cluster.joined(directories.config("resourceconfig")) as cluster:
        centers = _Training(values, cluster).run(data["train"])
        if cluster.leads:
            directories.model.mkdir(parents=True, exist_ok=True)
            (directories.model / f"model_{cluster.host}").write_bytes(ndarray_list(centers))
        if "test" in data:
            everywhere = channels["test"].get("S3DistributionType") != "ShardedByS3Key"
            _score(values, cluster, data["test"], centers, everywhere=everywhere)
        else:
            _say("Test data is not provided.")


class _Training:
    """The three steps, on one host of all."""

    def __init__(self, values: Mapping[str, Any], cluster: Cluster) -> None:
        self._values = values
        self._cluster = cluster
        self._k: int = values["k"]
        self._width: int = values["feature_dim"]
        self._generator = np.random.default_rng(_SEED)

    def run(self, channel: Input) -> Any:
        """Give the k centres. Raises `UserError`."""
        found = self._batches(channel)
        first = next(found, None)
        centers = self._initial(first)
        self._pass(centers, itertools.chain([first], found), 1)
        for epoch in range(2, self._values["epochs"] + 1):
            self._pass(centers, self._batches(channel), epoch)
        return self._reduced(centers)

    def _batches(self, channel: Input) -> Iterator[Any]:
        return batches.batches(channel, self._values["mini_batch_size"], self._width)

    # -- 1 ------------------------------------------------------------------------------------------------------------

    def _initial(self, first: Any) -> Centers:
        """Choose centres from the host with the most rows in its first mini-batch."""
        count, wanted = 0 if first is None else len(first), self._values["mini_batch_size"]
        if 0 < count < wanted:
            _say(
                f"Batch size {wanted} is bigger than the first batch data. Effective batch size used to initialize is "
                f"{count}",
                "WARNING",
            )
        counts = self._cluster.gather(count)
        most = max(counts)
        self._check(most)
        factor = self._factor(most)
        if self._values["extra_center_factor"] == "auto":
            _say(f"'extra_center_factor' was set to 'auto', evaluated to {factor}.")
        mine = b""
        if self._cluster.rank == (chooser := counts.index(most)):
            mine = _chosen(first.astype(float), None, factor * self._k, self._values["init_method"], self._generator)
        chosen = self._cluster.together(bytes(mine), lambda all_: all_[chooser])
        return Centers(np.frombuffer(chosen).reshape(-1, self._width).copy())

    def _check(self, most: int) -> None:
        if not most:
            raise UserError(
                "No training data processed. The training channel is empty: verify that training data contains "
                "non-empty files."
            )
        wanted = self._k * (1 if self._values["extra_center_factor"] == "auto" else self._values["extra_center_factor"])
        if most < wanted:
            raise UserError(
                f"The first mini-batch has {most} rows, but {wanted} centres (k times extra_center_factor) have to be "
                "chosen from it. Use more rows, a larger mini_batch_size, or a smaller k."
            )

    def _factor(self, most: int) -> int:
        factor = self._values["extra_center_factor"]
        return min(_AUTO_FACTOR, most // self._k) if factor == "auto" else int(factor)

    # -- 2 ------------------------------------------------------------------------------------------------------------

    def _pass(self, centers: Centers, found: Iterator[Any], epoch: int) -> None:
        """Let an epoch go by; it ends when no host has rows any more."""
        begun, seen = time.monotonic(), 0
        centers.begin()
        for rows in itertools.chain(found, itertools.repeat(None)):
            told = centers.told_by(rows)
            seen += int(told[0])
            sums = np.frombuffer(self._cluster.together(told.tobytes(), _sum))
            if not sums[0]:
                break
            centers.move(sums, self._values["half_life_time_size"])
        seconds = max(time.monotonic() - begun, 1e-9)
        host, done = self._cluster.host, 100 * epoch / self._values["epochs"]
        _say(f"processed a total of {seen} examples")
        _say(f"#progress_metric: host={host}, completed {done} % of epochs")
        _say(f"#throughput_metric: host={host}, train throughput={seen / seconds} records/second")

    # -- 3 ------------------------------------------------------------------------------------------------------------

    def _reduced(self, centers: Centers) -> Any:
        host = self._cluster.host
        if len(centers.positions) == self._k:
            _say("No shrinking is required as extra_center_factor is 1.")
            _say(f"#quality_metric: host={host}, train msd <loss>={centers.msd}")
            return centers.positions
        _say(f"shrinking {len(centers.positions)} centers into {self._k}")
        answer = self._cluster.together(b"", lambda _: self._shrunk(centers).tobytes())
        found = np.frombuffer(answer)
        loss = float(found[0])
        _say(f"finished shrinking process. Mean Square Distance = {loss}")
        _say(f"#quality_metric: host={host}, train msd <loss>={loss}")
        return found[1:].reshape(self._k, self._width)

    def _shrunk(self, centers: Centers) -> Any:
        trials = self._values["local_lloyd_num_trials"]
        attempts: list[tuple[Any, float]] = []
        for number in range(_AUTO_TRIALS if trials == "auto" else trials):
            attempts.append(shrunk(centers, self._k, self._values, self._generator))
            _say(f"local kmeans attempt #{number}. Current mean square distance {attempts[-1][1]:.6f}")
        best, loss = min(attempts, key=operator.itemgetter(1))
        return np.array([loss, *best.ravel()])


def _sum(all_: Sequence[bytes]) -> bytes:
    total = np.frombuffer(all_[0]).copy()
    for each in all_[1:]:
        total += np.frombuffer(each)
    return total.tobytes()


class Centers:
    """Centres as they move, each with the weight of the rows that it has had."""

    def __init__(self, positions: Any) -> None:
        self.positions = positions
        self.weights = np.zeros(len(positions))
        self._rows = self._distance = 0.0

    @property
    def msd(self) -> float:
        """The mean squared distance of the rows of the last epoch, when they came, to the centre nearest to each."""
        return self._distance / self._rows if self._rows else 0.0

    def begin(self) -> None:
        """Begin an epoch."""
        self._rows = self._distance = 0.0

    def told_by(self, rows: Any) -> Any:
        """Give what all hosts add up: the number of rows, their squared distances, and per centre number and sum.

        `rows` is None when there are no more.
        """
        counts, sums = np.zeros(len(self.positions)), np.zeros_like(self.positions)
        if rows is None:
            return np.concatenate(([0, 0], counts, sums.ravel()))
        rows = rows.astype(float)
        which, distances = nearest(rows, self.positions)
        order = np.argsort(which, kind="stable")
        there, starts, members = np.unique(which[order], return_index=True, return_counts=True)
        counts[there], sums[there] = members, np.add.reduceat(rows[order], starts)
        return np.concatenate(([len(rows), distances.sum()], counts, sums.ravel()))

    def move(self, told: Any, half_life: int) -> None:
        """Move each centre by the rows of a mini-batch, as `told_by` has added them up."""
        rows, distance = told[:2]
        counts = told[2 : 2 + len(self.positions)]
        sums = told[2 + len(self.positions) :].reshape(self.positions.shape)
        if half_life:
            self.weights *= 0.5 ** (rows / half_life)
        weights = self.weights + counts
        moved = counts > 0
        self.positions[moved] *= self.weights[moved, None]
        self.positions[moved] = (self.positions[moved] + sums[moved]) / weights[moved, None]
        self.weights = weights
        self._rows += rows
        self._distance += distance


def nearest(rows: Any, centers: Any) -> tuple[Any, Any]:
    """Give the centre nearest to each row, and its squared distance."""
    which = np.empty(len(rows), np.intp)
    origin = centers.mean(axis=0)  # far away from zero the squares would lose what tells the centres apart
    moved = centers - origin
    norms = np.einsum("ij,ij->i", moved, moved)
    step = max(1, _CHUNK // len(centers))
    for at in range(0, len(rows), step):
        which[at : at + step] = np.argmin(norms - 2 * ((rows[at : at + step] - origin) @ moved.T), axis=1)
    apart = rows - centers[which]
    return which, np.einsum("ij,ij->i", apart, apart)


def _chosen(points: Any, weights: Any, count: int, method: str, generator: np.random.Generator) -> Any:
    """Choose some of the points: at random, or each by its squared distance from those already chosen (k-means++)."""
    if method == "random":
        return points[generator.choice(len(points), count, replace=False)]
    weights = np.ones(len(points)) if weights is None else weights
    chosen = [_drawn(weights, generator)]
    distances = np.full(len(points), np.inf)
    for _ in range(count - 1):
        apart = points - points[chosen[-1]]
        distances = np.minimum(distances, np.einsum("ij,ij->i", apart, apart))
        chosen.append(_drawn(weights * distances, generator))
    return points[chosen]


def _drawn(weights: Any, generator: np.random.Generator) -> int:
    """Draw one by weights; any one when all are zero."""
    total = weights.sum()
    return int(generator.choice(len(weights), p=weights / total if total > 0 else None))


def shrunk(centers: Centers, k: int, values: Mapping[str, Any], generator: np.random.Generator) -> tuple[Any, float]:
    """Reduce centres to k by Lloyd's method; give these and the mean squared distance of the weighted centres."""
    points, weights = centers.positions, centers.weights
    found = _chosen(points, weights, k, values["local_lloyd_init_method"], generator)
    loss = float("inf")
    for _ in range(values["local_lloyd_max_iter"]):
        which, distances = nearest(points, found)
        before, loss = loss, float(weights @ distances / weights.sum())
        if before - loss <= values["local_lloyd_tol"] * before < float("inf"):
            break
        members = np.bincount(which, weights, minlength=k)
        means = np.stack([np.bincount(which, weights * column, minlength=k) for column in points.T], axis=1)
        found = np.where(members[:, None] > 0, means / np.maximum(members, 1e-300)[:, None], found)
    return found, float(weights @ nearest(points, found)[1] / weights.sum())


def _score(values: Mapping[str, Any], cluster: Cluster, channel: Input, centers: Any, *, everywhere: bool) -> None:
    """Measure the test data; what each host has a part of is measured as a whole."""
    sums = np.zeros(2)
    for rows in batches.batches(channel, values["mini_batch_size"], values["feature_dim"]):
        sums += len(rows), nearest(rows.astype(float), centers)[1].sum()
    if not everywhere:
        sums = np.frombuffer(cluster.together(sums.tobytes(), _sum))
    if not sums[0]:
        _say("The test channel is empty: nothing was measured.", "WARNING")
        return
    measured = {"msd": sums[1] / sums[0], "ssd": sums[1]}
    for name in values["eval_metrics"]:
        _say(f"#quality_metric: host={cluster.host}, test {name} <loss>={measured[name]}")


def ndarray_list(array: Any) -> bytes:
    """Write a matrix as MXNet's `nd.save` does: a list of one array without a name (src/ndarray/ndarray.cc).

    >>> data = ndarray_list(np.ones((2, 3)))
    >>> np.frombuffer(data, "<i8", 2, offset=36).tolist(), len(data) - 64 - 8
    ([2, 3], 24)
    """
    head = struct.pack("<QQQ", 0x112, 0, 1)
    dense, cpu, float32 = 0, 1, 0
    about = struct.pack("<IiIqqiii", 0xF993FAC9, dense, 2, *array.shape, cpu, 0, float32)
    numbers: bytes = array.astype("<f4").tobytes()
    return head + about + numbers + struct.pack("<Q", 0)


if __name__ == "__main__":
    sys.exit(run(train, sys.argv[1:], CLOSED))
