"""Reads documents from the network for the registry, bounded in size and time."""

from __future__ import annotations

from typing import Final

from treadle.errors import TreadleError
from treadle.seams import Request, Response

__all__ = ["fetch"]

_LARGEST: Final = 32 * 1024 * 1024
_PATIENCE: Final = 30.0


def fetch(url: str) -> bytes:
    """Give what a URL holds, also to a caller within an event loop, which then waits. Raises `TreadleError`."""
    response = _read(url)
    if response.status != 200:
        raise TreadleError(f"{url} was answered {response.status}.")
    return response.body


def _read(url: str) -> Response:
    import asyncio  # with everything below, only documents on the network need it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_get(url))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, _get(url)).result()


async def _get(url: str) -> Response:
    from treadle.http.client import HttpTransport

    transport = HttpTransport(timeout=_PATIENCE, max_body=_LARGEST)
    try:
        headers = (("Accept", "application/yaml, application/json, text/yaml, */*;q=0.5"),)
        return await transport.send(Request("GET", url, headers))
    finally:
        await transport.close()
