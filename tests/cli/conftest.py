"""Nothing here touches the state or the AWS account of whoever runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from treadle.home import Home


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, home: Home) -> Iterator[None]:
    """Give every test of the command line a home of its own, also for what runs within the test's process."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "TREADLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TREADLE_HOME", str(home.root))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home.root / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home.root / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield
