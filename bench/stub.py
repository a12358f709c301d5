"""A stub of the training API for measurements: the least that a server can do, in a process of its own.

It answers CreateTrainingJob, and DescribeTrainingJob with InProgress until it was asked `polls` times for that job;
each answer `delay` seconds after its request. With `changing`, no two answers are the same.
"""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"
CREATED = b'{"TrainingJobArn":"arn:aws:sagemaker:us-east-1:000000000000:training-job/bench"}'
BUSY = b'{"TrainingJobName":"bench","TrainingJobStatus":"InProgress","SecondaryStatus":"Training"}'
CHANGING = BUSY[:-1] + b',"TrainingTimeInSeconds":%d}'
DONE = (
    b'{"TrainingJobName":"bench","TrainingJobStatus":"Completed","SecondaryStatus":"Completed",'
    b'"ModelArtifacts":{"S3ModelArtifacts":"s3://bench/model.tar.gz"}}'
)


class Stub(asyncio.Protocol):
    """One connection. Every describe but the `polls`-th since the last create of that job says InProgress."""

    asked: ClassVar[dict[bytes, int]] = {}

    def __init__(self, polls: int, delay: float, *, changing: bool) -> None:
        self.polls = polls
        self.delay = delay
        self.changing = changing
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
            content = self.pending[end + 4 : end + 4 + length]
            self.pending = self.pending[end + 4 + length :]
            answer = self.answer(content, creates=b"createtrainingjob" in head)
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.write, answer)
            else:
                self.write(answer)

    def answer(self, content: bytes, *, creates: bool) -> bytes:
        job = content.partition(b'"TrainingJobName":"')[2].partition(b'"')[0]
        if creates:
            self.asked[job] = 0
            return CREATED
        self.asked[job] = self.asked.get(job, 0) + 1
        if self.asked[job] >= self.polls:
            return DONE
        return CHANGING % self.asked[job] if self.changing else BUSY

    def write(self, body: bytes) -> None:
        assert self.transport is not None
        self.transport.write(HEAD % len(body) + body)


async def main(polls: int, delay: float, *, changing: bool) -> None:
    """Serve until standard input is closed; the port is the first line of the output."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(polls, delay, changing=changing), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), changing=sys.argv[3] == "changing"))
