"""`treadle file-systems`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from treadle.cli.app import run

ID = "fs-0123456789abcdef0"


def test_file_systems_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """add, ls and rm say what they did; a later directory takes the place of an earlier one, and both stay."""
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert run(["file-systems", "ls"]) == 0
    assert capsys.readouterr().err == "No file systems. `treadle file-systems add FILE_SYSTEM_ID DIRECTORY` adds one.\n"
    for each in (first, second):
        assert run(["file-systems", "add", ID, str(each)]) == 0
        assert capsys.readouterr().out == f"{ID} is {each}\n"
    assert run(["file-systems", "ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [ID, str(second)]
    assert run(["file-systems", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {ID: str(second)}
    assert run(["file-systems", "rm", ID]) == 0
    assert run(["file-systems", "rm", ID]) == 2
    assert f"error: There is no file system '{ID}'." in capsys.readouterr().err
    assert first.is_dir()
    assert second.is_dir()


@pytest.mark.parametrize(
    ("name", "directory", "said"),
    [
        ("fs-0123", ".", "error: 'fs-0123' is no FileSystemId."),
        ("../../fs-01234567", ".", "is no FileSystemId."),
        (ID, "nowhere", "nowhere is no directory."),
    ],
)
def test_what_is_no_file_system(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    directory: str,
    said: str,
) -> None:
    """It is said before anything is written."""
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    assert run(["file-systems", "add", name, str(tmp_path / directory)]) == 2
    assert said in capsys.readouterr().err
