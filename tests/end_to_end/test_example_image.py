"""The example's own parts: its training program as a plain process, then the program that uses the model."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "sagemaker"
SEED = Path(__file__).parents[3] / "shared" / "seed" / "arazzo" / "amazon-sagemaker-train-and-poll-job-workflow.yml"


@pytest.fixture
def ml(tmp_path: Path) -> Path:
    for channel in ("train", "validation"):
        (tmp_path / "ml/input/data" / channel).mkdir(parents=True)
        shutil.copy(EXAMPLE / "data" / f"{channel}.csv", tmp_path / "ml/input/data" / channel)
    (tmp_path / "ml/input/config").mkdir()
    return tmp_path / "ml"


def start(ml: Path, **hyperparameters: str) -> subprocess.Popen[str]:
    (ml / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    return subprocess.Popen(
        [sys.executable, "-u", "train.py", "train"],
        cwd=EXAMPLE / "image",
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(ml), "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def archived(ml: Path) -> Path:
    with tarfile.open(ml / "model.tar.gz", "w:gz") as archive:
        for each in sorted((ml / "model").iterdir()):
            archive.add(each, each.name)
    return ml / "model.tar.gz"


def predict(*arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE / "predict.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_program_learns_and_the_model_predicts(ml: Path) -> None:
    """Training prints metrics and leaves a model; the model, from its archive, is as good as the log says."""
    with start(ml) as process:
        log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "epoch=29 train:mlogloss=" in log
    score = float(log.split("validation:accuracy=")[1].split()[0])
    assert score > 0.95
    metadata = json.loads((ml / "model/metadata.json").read_text())
    assert (metadata["features"], metadata["classes"], metadata["epochs"]) == (64, 10, 30)
    done = predict(archived(ml))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"accuracy: {score:.4f} (" in done.stdout
    assert done.stdout.count("sure), it is") == 3


def test_a_stopped_program_keeps_what_it_learned(ml: Path) -> None:
    """SIGTERM ends the training after the current epoch; the model is saved and predicts."""
    with start(ml, epochs="1000000", max_depth="2") as process:
        assert process.stdout
        while not process.stdout.readline().startswith("epoch=1 "):
            assert select.select([process.stdout], [], [], 60)[0]
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "SIGTERM: stopping after epoch" in log
    assert json.loads((ml / "model/metadata.json").read_text())["epochs"] >= 2
    assert predict(archived(ml)).returncode == 0


@pytest.mark.parametrize(
    ("hyperparameters", "remove", "reason"),
    [
        pytest.param({"epoch": "3"}, "", "unknown hyperparameters: epoch", id="unknown hyperparameter"),
        pytest.param({"epochs": "many"}, "", "epochs must be of type int, not 'many'", id="no number"),
        pytest.param({}, "train", "the channel 'train' holds no CSV file", id="no data"),
    ],
)
def test_a_failing_program_says_why(ml: Path, hyperparameters: dict[str, str], remove: str, reason: str) -> None:
    """The reason is in the failure file, and the exit code is not 0."""
    if remove:
        shutil.rmtree(ml / "input/data" / remove)
    with start(ml, **hyperparameters) as process:
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert reason in (ml / "output/failure").read_text()


def tar(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_predict_explains_what_is_no_model(tmp_path: Path) -> None:
    """An archive without a model, and a file that is no archive, end with a sentence."""
    (tmp_path / "text").write_text("no archive")
    assert "has no metadata.json; it has other" in predict(tar(tmp_path / "a.tar.gz", other=b"x")).stderr
    for path in (tmp_path / "text", tmp_path / "nowhere"):
        done = predict(path)
        assert done.returncode == 1
        assert f"{path} cannot be read" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_data_are_what_the_readme_says() -> None:
    """1,438 and 359 rows of a label and 64 pixels."""
    for name, count in (("train", 1438), ("validation", 359)):
        rows = [
            [int(value) for value in line.split(",")]
            for line in (EXAMPLE / f"data/{name}.csv").read_text().splitlines()
        ]
        assert len(rows) == count
        assert all(len(row) == 65 and 0 <= row[0] <= 9 and min(row[1:]) >= 0 and max(row[1:]) <= 16 for row in rows)


def test_the_inputs_are_all_but_the_name_of_the_job() -> None:
    """inputs.json holds every required input of the workflow except trainingJobName."""
    workflow = yaml.safe_load((EXAMPLE / "train-and-poll-job.arazzo.yaml").read_text())["workflows"][0]
    inputs = json.loads((EXAMPLE / "inputs.json").read_text())
    assert set(workflow["inputs"]["required"]) - set(inputs) == {"trainingJobName"}
    assert set(inputs) <= set(workflow["inputs"]["properties"])


def without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_words(each) for name, each in value.items() if name not in {"description", "summary"}}
    return [without_words(each) for each in value] if isinstance(value, list) else value


@pytest.mark.suite
def test_the_workflow_is_the_public_one() -> None:
    """But for its wording, the workflow is the public document: the same inputs, steps, criteria and outputs."""
    if not SEED.exists():
        pytest.skip("the public document does not stand beside the checkout")
    ours, theirs = (yaml.safe_load(path.read_text()) for path in (EXAMPLE / "train-and-poll-job.arazzo.yaml", SEED))
    assert without_words(ours["workflows"]) == without_words(theirs["workflows"])
