"""Reads documents from the network for the registry, bounded in size and time."""

from __future__ import annotations

from typing import Final

from treadle.errors import TreadleError
from treadle.seams import Request, Response

__all__ = ["fetch"]

_LARGEST: Final = 32 * 1024 * 1024
_PATIENCE: Final = 30.0


def fetch(url: str) -> bytes:
    """Give what a URL holds. Raises `TreadleError`. Not to be called within an event loop."""
    import asyncio  # with everything below, only documents on the network need it

    response = asyncio.run(_get(url))
    if response.status != 200:
        raise TreadleError(f"{url} was answered {response.status}.")
    return response.body


async def _get(url: str) -> Response:
    from treadle.http.client import HttpTransport

    transport = HttpTransport(timeout=_PATIENCE, max_body=_LARGEST)
    try:
        headers = (("Accept", "application/yaml, application/json, text/yaml, */*;q=0.5"),)
        return await transport.send(Request("GET", url, headers))
    finally:
        await transport.close()
