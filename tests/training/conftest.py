"""Fixtures of the training service's tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory that a built-in algorithm of this process takes for /opt/ml. It is a job without GPUs."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "void")
    return tmp_path
