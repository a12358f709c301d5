"""What every built-in algorithm keeps to: the contract of `catalogue.BuiltIn`, whichever it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.training.algorithms import lay, start

from treadle.training.algorithms.catalogue import BUILT_IN, BuiltIn, find
from treadle.training.metrics import Metrics

ALL = pytest.mark.parametrize("algorithm", BUILT_IN, ids=lambda each: each.name)
_MOST_DEFINITIONS = 40  # MetricDefinitionList in the service model


def needed(algorithm: BuiltIn) -> None:
    """Skip what is not installed."""
    for module in algorithm.needs:
        pytest.importorskip(module)


@ALL
def test_its_images(algorithm: BuiltIn) -> None:
    """The example is one of its versions, and nobody else answers to its names."""
    assert re.fullmatch(algorithm.tags, algorithm.example)
    reference = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{algorithm.repository}:{algorithm.example}"
    assert find(reference) == (algorithm, algorithm.repository, algorithm.example)
    assert find(algorithm.name) == (algorithm, "", "")
    names = [name for each in BUILT_IN for name in {each.name, each.repository, *each.retired}]
    assert len(names) == len(set(names))


@ALL
def test_its_metrics(algorithm: BuiltIn) -> None:
    """There are no more than a job may have, and the agent can read them."""
    assert 0 < len(algorithm.metrics) <= _MOST_DEFINITIONS
    found = Metrics([{"Name": name, "Regex": regex} for name, regex in algorithm.metrics.items()])
    assert found.refused == []
    assert all(re.compile(regex).groups == 1 for regex in algorithm.metrics.values())


@ALL
def test_it_is_a_program_with_one_word(algorithm: BuiltIn, tmp_path: Path) -> None:
    """Without `train` it says how it is used."""
    needed(algorithm)
    program = f"import runpy, sys\nsys.argv = ['x', 'serve']\nrunpy.run_module('treadle.training.algorithms.{algorithm.name}', run_name='__main__')\n"
    started = start(program, tmp_path)
    said, _ = started.communicate(timeout=60)
    assert (started.returncode, "usage: " in said) == (2, True)


@ALL
@pytest.mark.parametrize("hyperparameters", [{}, {"no_such": "1"}, {"num_round": "x", "k": "x", "feature_dim": "x"}])
def test_it_says_what_is_wrong(algorithm: BuiltIn, tmp_path: Path, hyperparameters: dict[str, str]) -> None:
    """In the failure file and in the log, without a traceback, and without a model."""
    needed(algorithm)
    lay(tmp_path, hyperparameters, {"train": "1,2\n"})
    started = start(algorithm.name, tmp_path)
    said, _ = started.communicate(timeout=60)
    reason = (tmp_path / "output/failure").read_text()
    assert started.returncode in {1, 2}
    assert reason.startswith("Customer Error: ")
    assert reason in said
    assert "Traceback" not in said
    assert not (tmp_path / "model").exists()


@ALL
def test_a_damaged_configuration_is_the_platforms_fault(algorithm: BuiltIn, tmp_path: Path) -> None:
    needed(algorithm)
    lay(tmp_path, {}, {"train": "1,2\n"})
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps({})[:1])
    started = start(algorithm.name, tmp_path)
    started.communicate(timeout=60)
    assert started.returncode == 1
    assert "hyperparameters.json is not JSON" in (tmp_path / "output/failure").read_text()
