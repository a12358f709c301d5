"""`treadle jobs interrupt`, `rm` and `prune` against a whole service with scripted hosts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.training.world import World, prepared, world

from treadle.home import Home

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def service(home: Home) -> Iterator[World]:
    """A service that owns the home, so that the commands find it."""
    directory = home.root.parent
    prepared(directory)
    owned = home.own()
    assert owned is not None
    with world(directory, home) as made:
        yield made
    owned.release()


def test_ended_jobs_are_removed(treadle: Run, service: World) -> None:
    """One that runs is not, and one that nobody knows is none."""
    sagemaker = service.client()
    service.create(sagemaker, "quick-rm")
    service.ended(sagemaker, "quick-rm")
    service.create(sagemaker, "long-rm")
    assert treadle("jobs", "rm", "quick-rm").stderr == "quick-rm is removed.\n"
    running = treadle("jobs", "rm", "long-rm")
    assert running.returncode == 1
    assert "long-rm has not ended" in running.stderr
    assert "There is no training job quick-rm" in treadle("jobs", "rm", "quick-rm").stderr


def test_old_jobs_are_pruned(treadle: Run, service: World) -> None:
    """A dry run says what would go; the rest stays; there is JSON for programs."""
    sagemaker = service.client()
    service.create(sagemaker, "quick-prune")
    service.ended(sagemaker, "quick-prune")
    young = treadle("jobs", "prune", "--older-than", "30d")
    assert (young.stdout, young.stderr) == ("", "0 jobs and 0 leftovers removed.\n")
    dry = treadle("jobs", "prune", "--older-than", "0s", "--dry-run")
    assert (dry.stdout, dry.stderr) == ("quick-prune\n", "1 job and 0 leftovers would be removed.\n")
    gone = treadle("jobs", "prune", "--older-than", "0s", "--json")
    assert json.loads(gone.stdout) == {"jobs": ["quick-prune"], "leftovers": [], "removed": True}
    assert "--older-than" in treadle("jobs", "prune").stderr


def test_only_spot_jobs_are_interrupted(treadle: Run, service: World) -> None:
    """AWS takes away only what was lent on these terms."""
    service.create(service.client(), "long-own")
    refused = treadle("jobs", "interrupt", "long-own")
    assert refused.returncode == 1
    assert "long-own is not a managed spot job" in refused.stderr
    assert "There is no training job nobody" in treadle("jobs", "interrupt", "nobody").stderr


def test_serve_wants_certificate_and_key_together(treadle: Run) -> None:
    """One without the other is a mistake."""
    found = treadle("serve", "--tls-cert", "cert.pem")
    assert found.returncode == 2
    assert "--tls-cert and --tls-key belong together" in found.stderr


def test_serve_refuses_a_webhook_that_is_none(treadle: Run) -> None:
    """It does not begin to serve."""
    found = treadle("serve", "--webhook", "example.org/hook")
    assert found.returncode == 2
    assert "'example.org/hook' cannot be told anything" in found.stderr
