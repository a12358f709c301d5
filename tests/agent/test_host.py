"""Whole jobs: a real agent, a real control plane, real programs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from tests.agent.conftest import MakePlane, RunAgent
from tests.agent.plane import BUCKET, JOB, Plane


def members(plane: Plane, key: str) -> dict[str, bytes]:
    """Give the regular files of an uploaded archive."""
    data = b"".join(plane.objects.read(BUCKET, key))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {each.name: _content(archive, each) for each in archive if each.isfile()}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


async def test_happy_path(make_plane: MakePlane, run_agent: RunAgent, sandbox: str, tmp_path: Path) -> None:
    """Data comes in, the program runs, its model goes out, its log and metrics are told."""
    plane = await make_plane(
        """
        ml="${SAGEMAKER_BASE_DIR:-/opt/ml}"
        cat "$ml"/input/data/train/part/0.csv "$ml"/input/data/train/1.csv > "$ml"/model/sum
        cat "$ml"/input/config/hyperparameters.json; echo
        echo "loss=0.5"; echo "loss=0.1" >&2
        echo "$TRAINING_JOB_NAME $FROM_IMAGE $FROM_JOB $FROM_REQUEST $NVIDIA_VISIBLE_DEVICES"
        mkdir "$ml"/output/data/plots; echo p > "$ml"/output/data/plots/1
        """,
        sandbox=sandbox,
        request={
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
            }
        },
    )
    await run_agent(plane)
    assert plane.kinds == ["downloading", "training", "uploading", "ended"]
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, ended.failure_reason) == ("completed", 0, "")
    assert ended.trained_for > 0
    assert ended.metrics["loss"][0] == 0.10000000149011612
    assert [each.target for each in ended.outputs] == [
        f"out/{JOB}/output/model.tar.gz",
        f"out/{JOB}/output/output.tar.gz",
    ]
    assert members(plane, ended.outputs[0].staged) == {"sum": b"1,2\n3,4\n"}
    assert members(plane, ended.outputs[1].staged) == {"plots/1": b"p\n"}
    assert plane.program == ['{"epochs":"2"}', "loss=0.5", "loss=0.1", f"{JOB} yes yes yes void"]
    assert plane.log_when_ended == len(plane.log)
    assert plane.log[0].startswith(f"[treadle] sandbox: {sandbox}")
    assert not (tmp_path / "host/ml").exists()
