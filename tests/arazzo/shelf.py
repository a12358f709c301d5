"""Several documents in one directory, opened and played as they are by the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from tests.arazzo.conftest import Story, Teller
from treadle.arazzo.machine import MachineOptions
from treadle.arazzo.plan import PlanOptions, plan
from treadle.arazzo.registry import Registry
from treadle.cli.opener import Opener
from treadle.cli.opening import Opened, Setup, open_description, open_plan
from treadle.errors import Diagnostic
from treadle.seams import Json

OPENAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        f"/{name}": {
            "post": {
                "operationId": name,
                "requestBody": {"content": {"application/json": {}}},
                "responses": {"200": {"description": "ok", "content": {"application/json": {}}}},
            }
        }
        for name in ("one", "two", "three", "fix")
    },
}

HEAD = """\
arazzo: {version}
info: {{title: Test, version: 1.0.0}}
"""


class Shelf:
    """Documents by file name. What is given as a text is an Arazzo document without its head, bytes are a whole one."""

    def __init__(self, folder: Path, documents: Mapping[str, str | bytes | Json], *, version: str = "1.0.1") -> None:
        self.folder = folder
        for name, content in {"api.json": OPENAPI, **documents}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._bytes(content, version))

    @staticmethod
    def _bytes(content: str | bytes | Json, version: str) -> bytes:
        if isinstance(content, str):
            return (HEAD.format(version=version) + dedent(content)).encode()
        return content if isinstance(content, bytes) else msgspec.json.encode(content)

    def setup(self, name: str = "main.yaml", workflow: str | None = None, **more: Any) -> Setup:
        return Setup(document=str(self.folder / name), label=name, workflow=workflow, **more)

    def open(self, workflow: str | None = None, **more: Any) -> Opened:
        return open_plan(self.setup(workflow=workflow, **more))

    def check(self, name: str = "main.yaml", **more: Any) -> list[Diagnostic]:
        """Give what rules and planning find, every workflow planned by itself."""
        setup = self.setup(name, **more)
        registry = Registry(overrides=setup.sources)
        document, description, found = open_description(setup, registry)
        assert description is not None
        sources = Opener(setup, registry, None).entry(document, description)
        options = PlanOptions(strict=setup.strict, off=frozenset(setup.off))
        for workflow in description.workflows:
            found += plan(description, document, sources, workflow_id=workflow.workflow_id, options=options)[1]
        return list(dict.fromkeys(found))

    def tell(
        self,
        answers: Sequence[Any] = (200,),
        inputs: dict[str, Json] | None = None,
        *,
        workflow: str | None = None,
        options: MachineOptions | None = None,
        **more: Any,
    ) -> Story:
        return Teller(self.open(workflow, **more).plan, options).begin(answers, inputs)
