"""The main job on somebody else's server: moto, which answers for SageMaker and was written without Treadle in mind.

It says nothing about training, moto runs no program; it says that nothing of the document's run depends on our own
service. moto is none of our dependencies: `make bench-peers` installs it in an environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.servers import PEERS, moto

from tests.end_to_end.test_main_job import DOCUMENTS, EXAMPLE

pytestmark = pytest.mark.skipif(not PEERS.exists(), reason="moto is not installed: make bench-peers")
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/digits:1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto() as server:
        assert server is not None
        yield server.client.url


def train(document: Path, name: str, url: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the main job against that server, with credentials that are in the environment."""
    inputs = home / "inputs.json"
    inputs.write_text(json.dumps(json.loads((EXAMPLE / "inputs.json").read_text()) | {"trainingImage": IMAGE}))
    command = [sys.executable, "-m", "treadle.cli", "run", str(document), "--on", url, "--inputs", str(inputs)]
    aws = {"AWS_ACCESS_KEY_ID": "AKIAMOTO", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    return subprocess.run(
        [*command, "-i", f"trainingJobName={name}", "--json"],
        env=os.environ | aws | {"TREADLE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_main_job(document: Path, url: str, tmp_path: Path) -> None:
    """Start, poll, status and artifacts, as that server gives them."""
    name = f"moto-{document.stem}"
    done = train(document, name, url, tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["outputs"] == {
        "trainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}",
        "trainingJobStatus": "Completed",
        "modelArtifacts": f"s3://treadle-example/output/{name}/output/model.tar.gz",
    }
