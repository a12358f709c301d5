"""For each test a service on the cluster of the session, with a home of its own, reached by TLS."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.world import BUCKET, Process, World
from tests.ray.nodes import HEAD, Cluster
from tests.waiting import until
from treadle.agent.data import DIRECTORIES, IMAGE
from treadle.objects.filesystem import FilesystemObjects

SERVICE_PORT = 4585


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for the head's address that no authority has signed, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    made = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=service", "-addext", f"subjectAltName=IP:{HEAD}"),
            *("-out", made[0], "-keyout", made[1]),
        ],
        check=True,
        capture_output=True,
    )
    return made


class RayWorld(World):
    """A world whose service runs jobs on a cluster."""

    options: tuple[str, ...] = ()
    service: Process

    def begin(self) -> None:
        """Start the service, the first time or again."""
        self.service = self.serve(*self.options)


@pytest.fixture
def world(place: Path, cluster: Cluster, certificate: tuple[Path, Path]) -> Iterator[RayWorld]:
    """A service on the cluster; when the test is over nothing of it must be left, here or on a node."""
    made = RayWorld(place)
    made.home.prepare()
    FilesystemObjects(made.home.s3).create_bucket(BUCKET)
    tls = (
        "--host",
        HEAD,
        "--port",
        str(SERVICE_PORT),
        "--tls-cert",
        str(certificate[0]),
        "--tls-key",
        str(certificate[1]),
    )
    made.options = ("--launcher", "ray", "--ray-address", cluster.address, *tls)
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
