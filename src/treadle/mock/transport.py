"""The mock without a socket: a transport that answers by itself."""

from __future__ import annotations

from treadle.mock.mock import Mock
from treadle.seams import Request, Response

__all__ = ["MockTransport"]


class MockTransport:
    """A `Transport` whose server is a mock in the same process. It answers whatever host a request names."""

    def __init__(self, mock: Mock) -> None:
        self.mock = mock

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109  (the seam's)
        """Give the mock's answer, at once."""
        del timeout
        return self.mock.respond(request)

    async def close(self) -> None:
        """Nothing is held."""
