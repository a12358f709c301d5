"""A world for each test of a fault, in each sandbox that works on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end import pretended as pretence
from tests.end_to_end.pretended import Pretended
from tests.end_to_end.world import BUCKET, World
from treadle.agent.sandbox.namespace import NamespaceSandbox
from treadle.objects.filesystem import FilesystemObjects


@pytest.fixture(scope="session")
def namespace_problem() -> str:
    """Why the namespace sandbox does not work on this machine, "" when it does."""
    return NamespaceSandbox().probe()


@pytest.fixture
def world(place: Path) -> Iterator[World]:
    """A world; when the test is over every process of it must be gone."""
    made = World(place)
    made.home.prepare()
    FilesystemObjects(made.home.s3).create_bucket(BUCKET)
    yield made
    made.close()


@pytest.fixture(params=["namespace", "plain"])
def boxed(request: pytest.FixtureRequest, world: World, namespace_problem: str) -> World:
    """The world with each sandbox in turn; a test that names others (`auto`: what works here) has those."""
    world.sandbox = request.param
    if world.sandbox == "namespace" and namespace_problem:
        pytest.skip(f"namespaces do not work on this machine: {namespace_problem}")
    return world


@pytest.fixture
def pretended(place: Path) -> Pretended:
    """Two GPUs that are not there; skip where that cannot be made."""
    if problem := pretence.missing():
        pytest.skip(problem)
    return Pretended.make(place)
