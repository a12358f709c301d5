"""`treadle images`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.containers.service import Service

from treadle.cli.app import run


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    where = tmp_path / "my image"
    where.mkdir()
    (where / "image.toml").write_text('name = "digits"\ncommand = ["python", "train it.py"]\n')
    return where


def test_images_come_and_go(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """add, ls and rm say what they did; the directory stays."""
    assert run(["images", "ls"]) == 0
    others = (
        "Other images need Docker or Podman, and neither answers; scripts for AWS's images of frameworks run with "
        "Treadle's own Python.\n"
    )
    assert capsys.readouterr() == ("", f"No images. `treadle images add DIRECTORY` registers one.\n{others}")
    assert run(["images", "add", str(image)]) == 0
    assert capsys.readouterr().out == f"digits runs python 'train it.py' in {image}\n"
    assert run(["images", "ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split("  ") == ["digits", "python 'train it.py'", str(image)]
    assert run(["images", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "digits"
    assert run(["images", "rm", "digits"]) == 0
    assert image.is_dir()
    assert run(["images", "rm", "digits"]) == 2
    assert "error: There is no image 'digits'." in capsys.readouterr().err


@pytest.mark.container
def test_who_runs_other_images(
    image: Path, capsys: pytest.CaptureFixture[str], container_engine: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ls names the engine that answers."""
    assert run(["images", "add", str(image)]) == 0
    monkeypatch.setenv("DOCKER_HOST", container_engine.environment["DOCKER_HOST"])
    assert run(["images", "ls"]) == 0
    assert capsys.readouterr().err == f"Other names are images for {container_engine.engine.name}.\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [("", "the Python of Treadle"), ('command = ["/opt/my python"]', "'/opt/my python'")],
)
def test_an_image_for_scripts(image: Path, capsys: pytest.CaptureFixture[str], more: str, said: str) -> None:
    """What it runs comes with each job; the interpreter is the image's, or ours."""
    (image / "image.toml").write_text(f'name = "scripts"\nscript_mode = true\n{more}\n')
    assert run(["images", "add", str(image)]) == 0
    assert capsys.readouterr().out == f"scripts runs the scripts of its jobs with {said} in {image}\n"
    assert run(["images", "ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split("  ")[1] == f"the scripts of its jobs with {said}"


def test_an_image_that_has_gone_is_shown(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ls lists it with a warning."""
    assert run(["images", "add", str(image)]) == 0
    image.rename(image.with_name("away"))
    capsys.readouterr()
    assert run(["images", "ls"]) == 0
    out, err = capsys.readouterr()
    assert str(image) in out
    assert "warning: The image 'digits' was registered from" in err


def test_faults_have_a_place(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong image.toml ends with exit code 2, its line and a caret."""
    (image / "image.toml").write_text('name = "digits"\ncommand = "python train.py"\n')
    assert run(["images", "add", str(image)]) == 2
    err = capsys.readouterr().err
    assert "image.toml:2:1: error: command must be a list" in err
    assert '  2 | command = "python train.py"' in err
    assert "hint: Write command = [" in err
