"""The built-in algorithms as the service knows them: their images, their metrics, and what has to be installed.

A built-in algorithm is a module of this package whose name is its own, and which is a program: `python -m
treadle.training.algorithms.<name> train`. It reads `/opt/ml/input` and writes `/opt/ml/model` as any training program
does; what it needs for that is shared: `program` (where files are, how to end), `hyperparameters` (a table of them),
`inputs` (channels in File and Pipe mode), `tables` and `records` (formats), `cluster` (several hosts). Here stands what
the service must know before it runs: this module imports none of them. Another algorithm is another module and an entry
of `BUILT_IN`; tests/training/test_algorithms_catalogue.py holds every one to the contract.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

__all__ = ["BUILT_IN", "FRAMEWORKS", "BuiltIn", "Framework", "find", "framework"]

_ACCOUNT: Final = r"\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?"
_REFERENCE: Final = re.compile(
    rf"(?:{_ACCOUNT}/(?P<repository>[a-z0-9-]+)|(?:treadle/)?(?P<name>[a-z0-9-]+))"
    r"(?::(?P<tag>[\w.-]+))?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_NUMBER: Final = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A built-in algorithm. `name` is its module, and its short image name.

    `repository` is that of AWS's images, in accounts that differ by region (docs.aws.amazon.com/sagemaker/latest/
    dg-ecr-paths); here any account will do. `tags` is the pattern of the versions that there are, `example` one of
    them; `retired` repositories of the same algorithm whose behaviour was another. `needs` are modules that must be
    installed. `metrics` are the MetricDefinitions that AWS gives its jobs, by name. `scripts` says whether its image
    runs a user's program instead, when the hyperparameters name one.
    """

    name: str
    repository: str
    tags: str
    example: str
    needs: tuple[str, ...]
    metrics: dict[str, str]
    retired: tuple[str, ...] = ()
    scripts: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """What runs it; AWS's word `train` is appended."""
        return ("python", "-m", f"treadle.training.algorithms.{self.name}")

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return all(importlib.util.find_spec(each) is not None for each in self.needs)


def find(reference: str) -> tuple[BuiltIn, str, str] | None:
    """Give the algorithm that an image's reference means, with AWS's repository ("" for a short name) and the tag.

    >>> find("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1")[1:]
    ('sagemaker-xgboost', '1.7-1')
    >>> find("kmeans")[0].repository
    'kmeans'
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    repository, tag = match["repository"] or "", match["tag"] or ""
    for each in BUILT_IN:
        if repository in {each.repository, *each.retired} or (not repository and match["name"] == each.name):
            return each, repository, tag
    return None


# What is listed was found in AWS's answers for jobs of 0.90-1 and 1.5-1; which metrics there are differs by version,
# and none may have more than 40 definitions.
_XGBOOST_BOTH: Final = (
    "accuracy", "auc", "cox-nloglik", "error", "f1", "gamma-deviance", "gamma-nloglik", "logloss", "mae", "map",
    "merror", "mlogloss", "mse", "ndcg", "poisson-nloglik", "rmse", "tweedie-nloglik",
)  # fmt: skip
_XGBOOST_VALIDATION: Final = ("aucpr", "balanced_accuracy", "precision", "r2", "recall", "rmsle")


def _xgboost_metric(on: str, name: str) -> str:
    return rf".*\[[0-9]+\].*#011{on}-{name}:{_NUMBER}.*"


XGBOOST: Final = BuiltIn(
    name="xgboost",
    repository="sagemaker-xgboost",
    tags=r"(?:0\.90|[123]\.\d+)-\d+(?:-(?:cpu|gpu)-py3|-cpu|-gpu)?|[123](?:\.\d+){0,2}",
    example="1.7-1",
    needs=("numpy", "xgboost"),
    metrics={f"{on}:{name}": _xgboost_metric(on, name) for name in _XGBOOST_BOTH for on in ("train", "validation")}
    | {f"validation:{name}": _xgboost_metric("validation", name) for name in _XGBOOST_VALIDATION},
    retired=("xgboost",),  # 0.72: its defaults are others, so what passed here would not pass there
    scripts=True,
)

KMEANS: Final = BuiltIn(
    name="kmeans",
    repository="kmeans",
    tags="1|latest",
    example="1",
    needs=("numpy",),
    metrics={
        "test:msd": r"#quality_metric: host=\S+, test msd <loss>=(\S+)",
        "test:ssd": r"#quality_metric: host=\S+, test ssd <loss>=(\S+)",
        "train:msd": r"#quality_metric: host=\S+, train msd <loss>=(\S+)",
        "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
        "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
    },
)

BUILT_IN: Final = (XGBOOST, KMEANS)


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework that AWS has images for, which run a user's program; `module` is what such a program imports."""

    name: str
    module: str
    package: str

    @property
    def found(self) -> str:
        """What the Python that runs Treadle has of it, with its version; "" for nothing."""
        if importlib.util.find_spec(self.module) is None:
            return ""
        try:
            return f"{self.module} {version(self.package)}"
        except PackageNotFoundError:  # it came by another package: tensorflow-cpu
            return self.module


_PYTORCH: Final = Framework("PyTorch", "torch", "torch")
_TENSORFLOW: Final = Framework("TensorFlow", "tensorflow", "tensorflow")
_HUGGING_FACE: Final = Framework("Hugging Face", "transformers", "transformers")
FRAMEWORKS: Final[Mapping[str, Framework]] = {
    "sagemaker-scikit-learn": Framework("scikit-learn", "sklearn", "scikit-learn"),
    "pytorch-training": _PYTORCH,
    "tensorflow-training": _TENSORFLOW,
    "huggingface-pytorch-training": _HUGGING_FACE,
    "huggingface-tensorflow-training": _HUGGING_FACE,
}
"""By the repository of AWS's images."""


def framework(reference: str) -> Framework | None:
    """Give the framework whose image of AWS's a reference names.

    >>> framework("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3-cpu-py311").module
    'torch'
    >>> framework("pytorch-training:2.3")
    """
    match = _REFERENCE.fullmatch(reference)
    return FRAMEWORKS.get(match["repository"] or "") if match else None
