"""`--on`: where requests go. What a person says about it is never taken for something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Said
from tests.mock.shelf import api, operation

PET = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "example": "Rex"}}}
PETS = api({"pet": ("GET /pets/{id}", operation(PET, parameters=[{"name": "id", "in": "path", "required": True}]))})
DOCUMENT = """\
arazzo: 1.0.1
info: {title: Pets, version: 1.0.0}
sourceDescriptions:
- {name: pets, url: ./pets.json, type: openapi}
workflows:
- workflowId: look
  inputs: {type: object, required: [id], properties: {id: {type: integer, example: 7}}}
  steps:
  - stepId: pet
    operationId: $sourceDescriptions.pets.pet
    parameters: [{name: id, in: path, value: $inputs.id}]
    outputs: {name: $response.body#/name}
  outputs: {name: $steps.pet.outputs.name}
"""
SHOPS = "- {name: shops, url: ./shops.json, type: openapi}\nworkflows:\n"


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a document with one source, which is no API of AWS."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets.json").write_text(json.dumps({**PETS, "servers": [{"url": "https://pets.test/v1"}]}))
    (tmp_path / "shops.json").write_text(json.dumps({**api({}), "servers": [{"url": "https://shops.test"}]}))
    (tmp_path / "main.yaml").write_text(DOCUMENT)
    return "main.yaml"


def sent(said: Said, *args: str) -> str:
    """Give the first request that `treadle plan` shows."""
    code, out, err = said("plan", *args, "-i", "id=7")
    assert code == 0, err
    return out.split("\n1. ")[1].split("\n")[0].split(" (")[0]


def test_the_mock_answers_without_a_server(pets: str, said: Said) -> None:
    """Inputs are made up and said; nothing is stored, so that there is nothing to go on with."""
    code, _, err = said("run", pets, "--on", "mock")
    assert code == 0
    assert "inputs are made up: id=7\n" in err
    assert said("run", pets, "--on", "mock", "-q")[1] == "name: Rex\n"
    assert said("runs", "ls")[1].strip() in {"", "No runs."}
    assert said("run", pets, "--on", "mock", "-i", "id=x")[0] == 2
    assert said("run", pets, "--on", "mock", "-q", "--expect", "name == 'Bello'")[0] == 1


def test_the_mock_can_stand_in_the_settings(pets: str, said: Said, tmp_path: Path) -> None:
    """As any other place can."""
    (tmp_path / "treadle.toml").write_text('on = "mock"\n')
    assert said("run", pets, "-q")[0] == 0
    assert sent(said, pets) == "pet  GET http://mock.invalid/pets/7"


def test_a_run_on_the_mock_can_be_recorded_and_replayed(pets: str, said: Said) -> None:
    """The recording knows that it was the mock."""
    assert said("run", pets, "--on", "mock", "-q", "--record", "pets.tape")[0] == 0
    assert said("run", pets, "-q", "--replay", "pets.tape")[0] == 0


@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param("lcoal", "did you mean local?", id="a slip"),
        pytest.param("127.0.0.1:8080", "did you mean http://127.0.0.1:8080?", id="no scheme"),
        pytest.param("nowhere", "it is one of local, aws, mock, staging, or a URL", id="anything"),
        pytest.param("stagin", "did you mean staging?", id="a slip of a target"),
    ],
)
def test_a_place_that_there_is_not_is_refused(place: str, words: str, pets: str, said: Said, tmp_path: Path) -> None:
    """Else the requests would go where the description says."""
    (tmp_path / "treadle.toml").write_text('[targets.staging]\nurl = "http://staging.test"\n')
    code, _, err = said("run", pets, "--on", place, "-i", "id=7")
    assert (code, f"hint: {words}" in err) == (2, True)


def test_a_value_that_is_not_known_stands_as_its_name(pets: str, said: Said) -> None:
    """Legible, also in a path."""
    assert "GET https://pets.test/v1/pets/$inputs.id\n" in said("plan", pets)[1]


def test_a_url_is_the_server_of_the_only_source(pets: str, said: Said) -> None:
    """Of whatever kind its API is."""
    assert sent(said, pets) == "pet  GET https://pets.test/v1/pets/7"
    assert sent(said, pets, "--on", "http://stub.test/x") == "pet  GET http://stub.test/x/pets/7"
    assert (
        sent(said, pets, "--on", "http://a.test", "--server", "pets=http://b.test") == "pet  GET http://b.test/pets/7"
    )


@pytest.mark.parametrize("place", ["local", "aws"])
def test_aws_is_for_apis_of_aws(place: str, pets: str, said: Said) -> None:
    """A place that would concern no request is refused."""
    code, _, err = said("run", pets, "--on", place, "-i", "id=7")
    assert code == 2
    assert f"`--on {place}` is for APIs of AWS: requests to pets would go to https://pets.test/v1" in err
    assert "--server pets=URL" in err


def test_a_url_must_be_the_server_of_one_source(pets: str, said: Said, tmp_path: Path) -> None:
    """Several sources are told apart by name."""
    (tmp_path / pets).write_text(DOCUMENT.replace("workflows:\n", SHOPS))
    code, _, err = said("run", pets, "--on", "http://stub.test", "-i", "id=7")
    assert code == 2
    assert "does not say which of the sources is meant: requests to pets would go to https://pets.test/v1" in err
    assert sent(said, pets, "--server", "pets=http://b.test") == "pet  GET http://b.test/pets/7"
