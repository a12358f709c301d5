"""A certificate that no authority has signed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from treadle.server import Tls

__all__ = ["self_signed"]


def self_signed(directory: Path, *names: str) -> Tls:
    """Make one for these names (`IP:127.0.0.1`, `DNS:localhost`), and its key; without openssl the test is skipped."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    made = Tls(directory / "cert.pem", directory / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=here", "-addext", f"subjectAltName={','.join(names)}"),
            *("-out", made.certificate, "-keyout", made.key),
        ],
        check=True,
        capture_output=True,
    )
    return made
