"""A stub of the training API for measurements: the least that a server can do, in a process of its own.

It answers CreateTrainingJob, and DescribeTrainingJob with InProgress until it was asked `polls` times for that job.
"""

from __future__ import annotations

import asyncio
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"
CREATED = b'{"TrainingJobArn":"arn:aws:sagemaker:us-east-1:000000000000:training-job/bench"}'
BUSY = b'{"TrainingJobName":"bench","TrainingJobStatus":"InProgress","SecondaryStatus":"Training"}'
DONE = (
    b'{"TrainingJobName":"bench","TrainingJobStatus":"Completed","SecondaryStatus":"Completed",'
    b'"ModelArtifacts":{"S3ModelArtifacts":"s3://bench/model.tar.gz"}}'
)


class Stub(asyncio.Protocol):
    """One connection. Every describe but the `polls`-th since the last create says InProgress."""

    def __init__(self, polls: int) -> None:
        self.polls = polls
        self.asked = 0
        self.pending = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while True:
            end = self.pending.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.pending[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.pending) < end + 4 + length:
                return
            self.pending = self.pending[end + 4 + length :]
            self.answer(creates=b"createtrainingjob" in head)

    def answer(self, *, creates: bool) -> None:
        if creates:
            self.asked = 0
            body = CREATED
        else:
            self.asked += 1
            body = DONE if self.asked >= self.polls else BUSY
        assert self.transport is not None
        self.transport.write(HEAD % len(body) + body)


async def main(polls: int) -> None:
    """Serve until standard input is closed; the port is the first line of the output."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(polls), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
