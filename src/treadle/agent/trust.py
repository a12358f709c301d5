"""Whom an agent on another machine trusts to be its service, and how its program is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

__all__ = ["bundle", "trusting"]


def trusting(certificate: str = "") -> ssl.SSLContext:
    """Give what verifies a service: as the machine does it, and by the certificates in this PEM text, too."""
    import ssl  # only who listens beyond loopback pays for it

    context = ssl.create_default_context()
    if certificate:
        # A service's own certificate is enough, also if it is no authority's.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=certificate)
    return context


def bundle(certificate: str) -> str:
    """Give the PEM text for `AWS_CA_BUNDLE`: what the machine trusts, then this, because it takes the place of all."""
    import ssl  # as above

    file = ssl.get_default_verify_paths().cafile
    machines = Path(file).read_text() if file else ""
    return f"{machines.rstrip()}\n{certificate}".lstrip()
