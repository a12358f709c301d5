"""For each test a service on the cluster of the session, with a home of its own, reached by TLS."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import self_signed
from tests.end_to_end.world import BUCKET, Gate, Process, World
from tests.ray.nodes import HEAD, Cluster
from tests.waiting import until
from treadle.agent.data import DIRECTORIES, IMAGE
from treadle.objects.filesystem import FilesystemObjects
from treadle.server import Tls

SERVICE_PORT = 4585
WAITS = 'say("begun"); wait(); (MODEL / "by").write_text("second"); say("done")'


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate for the head's address, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), f"IP:{HEAD}")


class RayWorld(World):
    """A world whose service runs jobs on a cluster."""

    options: tuple[str, ...] = ()
    service: Process

    def begin(self) -> None:
        """Start the service, the first time or again."""
        self.service = self.serve(*self.options)

    def waiting(self, job: str, **changes: Any) -> None:
        """Create a job that has begun, and waits until `open`."""
        self.gate()
        self.image(job, WAITS)
        self.create(job, job, **changes)
        self.says(job, "begun")

    def open(self) -> None:
        """Let the program that waits go on."""
        Gate(self.root / "gate").open()

    def says(self, job: str, text: str) -> None:
        """Wait until a program says something."""
        until(lambda: text in self.log(job), 40, what=f"{job} says {text!r}")

    def completed(self, job: str, seconds: float = 30.0) -> None:
        """Wait until a job has ended well."""
        found = self.ended(job, seconds)
        assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")


@pytest.fixture
def world(place: Path, cluster: Cluster, certificate: Tls) -> Iterator[RayWorld]:
    """A service on the cluster; when the test is over nothing of it must be left, here or on a node."""
    made = RayWorld(place)
    made.home.prepare()
    FilesystemObjects(made.home.s3).create_bucket(BUCKET)
    made.options = (
        *("--launcher", "ray", "--ray-address", cluster.address, "--host", HEAD, "--port", str(SERVICE_PORT)),
        *("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key)),
    )
    made.begin()
    yield made
    nodes = cluster.nodes.values()
    until(lambda: not any(node.processes("ray::HostActor") for node in nodes), 30, what="every actor is gone")
    made.service.signal(signal.SIGTERM)
    assert made.service.ended().code == 0
    made.close()
    for node in nodes:
        assert not node.processes("treadle.agent"), node.address
        # Of a host whose actor was killed while it began, the next host on the node removes its launch file and log.
        left = [each for each in node.scratch.glob("*/*/*/*/*") if each.name in {IMAGE, *DIRECTORIES}]
        assert [str(each) for each in left] == []
