"""Training images: from a reference to what is run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from treadle.errors import ImageError
from treadle.training.algorithms.catalogue import framework
from treadle.training.image_toml import read_image
from treadle.training.images import Containers, ImageRegistry, ResolvedImage, argv

GOOD = 'name = "digits"\ncommand = ["python", "train.py"]\n'


def directory(tmp_path: Path, text: str = GOOD, name: str = "image") -> Path:
    made = tmp_path / name
    made.mkdir()
    (made / "image.toml").write_text(text, encoding="utf-8")
    return made


@pytest.fixture
def registry(tmp_path: Path) -> ImageRegistry:
    return ImageRegistry(tmp_path / "home" / "images.json")


def image(*command: str) -> ResolvedImage:
    return ResolvedImage(kind="local", name="x", command=command)


@pytest.mark.parametrize(
    ("entrypoint", "arguments", "want"),
    [
        pytest.param(None, None, ["python", "t.py", "train"], id="neither: the word train"),
        pytest.param([], [], ["python", "t.py", "train"], id="empty lists are none"),
        pytest.param(["/bin/sh", "-c"], None, ["/bin/sh", "-c"], id="only an entry point: no train"),
        pytest.param(None, ["--epochs", "2"], ["python", "t.py", "--epochs", "2"], id="only arguments"),
        pytest.param(["sh"], ["x.sh"], ["sh", "x.sh"], id="both"),
    ],
)
def test_how_a_container_is_started(entrypoint: list[str] | None, arguments: list[str] | None, want: list[str]) -> None:
    """Entry point and arguments of the request replace ENTRYPOINT and CMD as AWS documents it."""
    assert argv(image("python", "t.py"), entrypoint, arguments) == want


def test_a_registered_image_is_found_by_its_name(registry: ImageRegistry, tmp_path: Path) -> None:
    """With or without `:latest`; the directory is absolute, command and environment are those of image.toml."""
    where = directory(tmp_path, GOOD + '[environment]\nOMP_NUM_THREADS = "2"\n')
    assert registry.add(where).name == "digits"
    for reference in ("digits", "digits:latest"):
        assert registry.resolve(reference) == (
            {
                "kind": "local",
                "name": "digits",
                "command": ["python", "train.py"],
                "directory": str(where),
                "environment": {"OMP_NUM_THREADS": "2"},
                "script_mode": False,
                "metric_definitions": [],
                "entrypoint": None,
                "hint": "",
                "note": "",
            },
            ["python", "train.py", "train"],
        )
    assert registry.resolve("digits", ["sh"], ["-c", "true"])[1] == ["sh", "-c", "true"]


@pytest.mark.parametrize(
    "name",
    [
        "digits",
        "digits:1.0",
        "team/digits",
        "a.b_c__d-e/f",
        "localhost:5000/x:t",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/digits:2",
    ],
)
def test_names_are_those_of_docker(registry: ImageRegistry, tmp_path: Path, name: str) -> None:
    """A name may have a registry and a tag, so that one request works here and on AWS."""
    registry.add(directory(tmp_path, GOOD.replace("digits", name)))
    assert registry.find(name).name == name


def test_a_tag_is_part_of_the_name(registry: ImageRegistry, tmp_path: Path) -> None:
    """Another tag is another image."""
    for tag in ("1", "2"):
        registry.add(directory(tmp_path, GOOD.replace("digits", f"digits:{tag}"), tag))
    assert [each.name for each in registry.list()] == ["digits:1", "digits:2"]
    with pytest.raises(ImageError):
        registry.find("digits")


def test_the_directory_is_kept_by_reference(registry: ImageRegistry, tmp_path: Path) -> None:
    """What changes in image.toml holds at once; a directory that has gone, or is called otherwise now, is an error."""
    where = directory(tmp_path)
    registry.add(where)
    (where / "image.toml").write_text('name = "digits"\ncommand = ["sh", "x.sh"]\n')
    assert registry.find("digits").command == ("sh", "x.sh")
    (where / "image.toml").write_text(GOOD.replace("digits", "other"))
    with pytest.raises(ImageError, match="calls it 'other'"):
        registry.find("digits")
    where.rename(tmp_path / "away")
    with pytest.raises(ImageError, match="not there any more"):
        registry.find("digits")
    assert [(each.name, "not there" in each.problem) for each in registry.list()] == [("digits", True)]
    registry.add(tmp_path / "away")
    registry.remove("digits")
    assert [each.name for each in registry.list()] == ["other"]


def test_removing_what_is_not_there_suggests(registry: ImageRegistry, tmp_path: Path) -> None:
    """An unknown name gives the likely one."""
    registry.add(directory(tmp_path))
    with pytest.raises(ImageError) as caught:
        registry.remove("digit")
    assert "Did you mean 'digits'?" in caught.value.hint


def test_registrations_at_once_are_all_kept(registry: ImageRegistry, tmp_path: Path) -> None:
    """Processes and threads that register at the same moment do not lose each other's images."""
    places = [directory(tmp_path, GOOD.replace("digits", f"image{n}"), str(n)) for n in range(8)]
    threads = [threading.Thread(target=registry.add, args=(each,)) for each in places]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(registry.list()) == 8


ECR = "683313688378.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    "reference",
    [
        f"{ECR}/sagemaker-xgboost:1.7-1",
        f"{ECR}/sagemaker-xgboost:1.0-1-cpu-py3",
        f"{ECR}/sagemaker-xgboost:0.90-2-cpu-py3",
        f"{ECR}/sagemaker-xgboost:3.0-5",
        "000000000000.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-xgboost:1.5-1",
        "xgboost",
        "treadle/xgboost",
        "xgboost:1.7",
    ],
)
def test_the_built_in_xgboost_answers_to_its_uris(registry: ImageRegistry, reference: str) -> None:
    """AWS's well-known URIs, of any account and region, and two short names give the built-in algorithm."""
    found, command = registry.resolve(reference)
    assert (found["kind"], found["directory"]) == ("builtin", None)
    assert command == ["python", "-m", "treadle.training.algorithms.xgboost", "train"]


@pytest.mark.parametrize(
    "reference", [f"{ECR}/kmeans:1", f"{ECR}/kmeans:latest", f"{ECR}/kmeans", "kmeans", "kmeans:1"]
)
def test_the_built_in_kmeans_answers_to_its_uris(registry: ImageRegistry, reference: str) -> None:
    image, command = registry.resolve(reference, hyperparameters={"sagemaker_submit_directory": "s3://b/k"})
    assert (image["name"], image["script_mode"]) == (reference, False)
    assert command == ["python", "-m", "treadle.training.algorithms.kmeans", "train"]


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        pytest.param("ubuntu:22.04", "neither a registered", "treadle images add", id="a container image"),
        pytest.param("digit", "neither a registered", "Did you mean 'digits'?", id="a slip"),
        pytest.param("digits:2", "neither a registered", "Did you mean 'digits'?", id="another tag"),
        pytest.param(f"{ECR}/linear-learner:1", "neither a registered", "", id="another algorithm"),
        pytest.param(f"{ECR}/sagemaker-xgboost:9.9-1", "no version", "1.7-1", id="unknown version"),
        pytest.param(f"{ECR}/sagemaker-xgboost", "no version", "1.7-1", id="no version"),
        pytest.param(f"{ECR}/xgboost:1", "retired", "1.7-1", id="0.72"),
        pytest.param("", "no reference of an image", "", id="empty"),
        pytest.param("/etc/passwd", "no reference of an image", "", id="a path"),
    ],
)
def test_other_references_are_refused(
    registry: ImageRegistry, tmp_path: Path, reference: str, message: str, hint: str
) -> None:
    """The error says what the reference is not, and what can be done."""
    registry.add(directory(tmp_path))
    with pytest.raises(ImageError) as caught:
        registry.find(reference)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "reference",
    [
        "ubuntu:22.04",
        "127.0.0.1:5000/team/image",
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3.0-cpu-py311",
        "[::1]:5000/image:Tag_1",
        f"image:1@sha256:{'0' * 64}",
        "Registry.example/image",
    ],
)
@pytest.mark.parametrize(
    ("entrypoint", "arguments", "kept", "command"),
    [
        pytest.param((), (), None, ["train"], id="the word train takes the place of CMD"),
        pytest.param(("sh",), (), ["sh"], [], id="only an entry point: no train"),
        pytest.param((), ("--epochs", "2"), None, ["--epochs", "2"], id="only arguments"),
        pytest.param(("sh",), ("x.sh",), ["sh"], ["x.sh"], id="both"),
    ],
)
def test_other_references_are_containers_where_there_is_an_engine(
    tmp_path: Path,
    reference: str,
    entrypoint: tuple[str, ...],
    arguments: tuple[str, ...],
    kept: list[str] | None,
    command: list[str],
) -> None:
    """The image's ENTRYPOINT is not known yet, so what replaces it is kept apart."""
    registry = ImageRegistry(tmp_path / "images.json", Containers(lambda: ""))
    found, argv = registry.resolve(reference, entrypoint, arguments)
    assert (found["kind"], found["name"], found["entrypoint"], argv) == ("container", reference, kept, command)


SCIKIT = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
TENSORFLOW = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.14-cpu-py310"
SCRIPT = {"sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"'}


def test_without_an_engine_an_image_of_a_framework_is_the_python_that_runs_treadle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a program that the request brings, by script mode or by an entry point of its own; the log says so."""
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    registry = ImageRegistry(tmp_path / "images.json")
    found, argv = registry.resolve(SCIKIT, hyperparameters=SCRIPT)
    assert (found["script_mode"], argv) == (True, ["python", "-m", "treadle.training.algorithms.script", "train"])
    assert found["note"].startswith(f"There is no container engine for {SCIKIT}: the program runs with Python 3.")
    assert " sklearn" in found["note"]
    found, argv = registry.resolve(SCIKIT, ["/bin/bash"], ["-c", "sm_train.sh"])
    assert (found["script_mode"], argv) == (False, ["/bin/bash", "-c", "sm_train.sh"])
    with pytest.raises(ImageError, match="is neither a registered local image nor a built-in algorithm"):
        registry.resolve(SCIKIT)  # its own program is nothing that is here
    with pytest.raises(ImageError, match="is neither"):
        ImageRegistry(tmp_path / "i.json", Containers(lambda: "No engine.", only=True)).resolve(SCIKIT, (), (), SCRIPT)
    containers = ImageRegistry(tmp_path / "images.json", Containers(lambda: ""))
    assert containers.resolve(SCIKIT, hyperparameters=SCRIPT)[0]["kind"] == "container"


def test_a_framework_that_is_not_installed_is_told(tmp_path: Path) -> None:
    """With the two things that can be done, each as it is to be written."""
    if framework(TENSORFLOW).found:  # type: ignore[union-attr]
        pytest.skip("TensorFlow is installed here")
    with pytest.raises(ImageError, match="is AWS's image for TensorFlow, which the Python that runs Treadle") as caught:
        ImageRegistry(tmp_path / "images.json").resolve(TENSORFLOW, hyperparameters=SCRIPT)
    assert "To install TensorFlow: " in caught.value.hint
    assert "pip install tensorflow. Or " in caught.value.hint
    assert f'name = "{TENSORFLOW}", script_mode = true and command = ' in caught.value.hint


@pytest.mark.parametrize(
    "reference", ["UPPER", "a b", "http://host/image", "image:", "image@sha256:12", "-rm", "a/../b"]
)
def test_what_is_no_reference_is_refused(tmp_path: Path, reference: str) -> None:
    """Nothing that an engine could take for something else reaches it."""
    with pytest.raises(ImageError, match="is no reference of an image"):
        ImageRegistry(tmp_path / "images.json", Containers(lambda: "")).find(reference)


def test_who_runs_containers_only_knows_no_other_images(registry: ImageRegistry, tmp_path: Path) -> None:
    """`--sandbox container`: a registered name and the built-in algorithm are images of the engine as well."""
    registry.add(directory(tmp_path))
    only = ImageRegistry(tmp_path / "home" / "images.json", Containers(lambda: "", only=True))
    assert [only.find(each).kind for each in ("digits", "xgboost")] == ["container", "container"]
    both = ImageRegistry(tmp_path / "home" / "images.json", Containers(lambda: ""))
    assert [both.find(each).kind for each in ("digits", "xgboost")] == ["local", "builtin"]
    assert "Did you mean 'digits'?" in both.find("digit").hint


def test_without_an_engine_the_reason_is_told(tmp_path: Path) -> None:
    """What is said about the engine is part of the refusal."""
    with pytest.raises(ImageError, match=r"nor a built-in algorithm\. Start one\."):
        ImageRegistry(tmp_path / "images.json", Containers(lambda: "Start one.")).find("ubuntu")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        pytest.param('name = "x"\ncommand = [', "image.toml:2:12: error: Invalid value", "", id="syntax"),
        pytest.param('name = "x"\ncommand = ["a" "b"]', "image.toml:2:16: error: Unclosed array", "", id="no comma"),
        pytest.param('command = ["a"]', "image.toml:1:1: error: the member 'name' is missing", "name =", id="no name"),
        pytest.param('name = "x"', "the member 'command' is missing", "command =", id="no command"),
        pytest.param('name = "x"\ncommand = "a b"', "image.toml:2:1: error: command must be a list", '["python"', id="text"),
        pytest.param('name = "x"\ncommand = []', "image.toml:2:1: error: command must name a program", "", id="empty"),
        pytest.param('name = "x"\ncommand = ["a", 1]', "image.toml:2:1: error: 1 in command is no text", "'1'", id="number"),
        pytest.param('name = "X Y"\ncommand = ["a"]', "image.toml:1:1: error: 'X Y' is no name", "Lower-case", id="name"),
        pytest.param('name = "x"\ncomand = ["a"]', "image.toml:2:1: error: there is no member", "Did you mean command?", id="slip"),
        pytest.param(
            'name = "x"\ncommand = ["a"]\n[environment]\nN = 2',
            "image.toml:4:1: error: the variable N must be a text", 'N = "2"', id="variable",
        ),
        pytest.param('name = "x"\ncommand = ["a"]\nenvironment = 1', "3:1: error: environment must be a table", "", id="table"),
        pytest.param('name = "x"\ncommand = ["a"]\n[environment]\n"A-B" = ""', "4:1: error: 'A-B' is no name", "", id="variable name"),
        pytest.param("", "the member 'name' is missing", "", id="empty file"),
    ],
)  # fmt: skip
def test_faults_in_image_toml_have_a_place(tmp_path: Path, text: str, message: str, hint: str) -> None:
    """Each fault is told with file, line and column, and with what to write instead."""
    with pytest.raises(ImageError) as caught:
        read_image(directory(tmp_path, text))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_directory_without_image_toml(tmp_path: Path) -> None:
    """The error says what is missing and how little is needed."""
    with pytest.raises(ImageError, match=r"no image\.toml") as caught:
        read_image(tmp_path)
    assert "two lines" in caught.value.hint
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "nowhere")
    (tmp_path / "image.toml").write_bytes(b"\xff")
    with pytest.raises(ImageError, match="not UTF-8"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="not a directory"):
        read_image(tmp_path / "image.toml")


def test_a_damaged_list_is_told(registry: ImageRegistry, tmp_path: Path) -> None:
    """The error names the file and says how to go on."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "images.json").write_text("{")
    with pytest.raises(ImageError, match=r"images\.json cannot be read"):
        registry.list()


def test_an_image_for_scripts(registry: ImageRegistry, tmp_path: Path) -> None:
    """It needs no command; one that it has is the interpreter."""
    runner = ["python", "-m", "treadle.training.algorithms.script"]
    where = directory(tmp_path, 'name = "scripts"\nscript_mode = true\n')
    registry.add(where)
    image, argv = registry.resolve("scripts")
    assert (image["script_mode"], argv) == (True, [*runner, "train"])
    (where / "image.toml").write_text('name = "scripts"\nscript_mode = true\ncommand = ["/venv/bin/python", "-u"]\n')
    assert registry.resolve("scripts")[1] == [*runner, "/venv/bin/python", "-u", "train"]
    assert registry.resolve("scripts", ["/bin/bash"], ["-c", "x"])[1] == ["/bin/bash", "-c", "x"]
    (where / "image.toml").write_text('name = "scripts"\nscript_mode = "yes"\n')
    with pytest.raises(ImageError, match="script_mode must be true or false, not 'yes'"):
        registry.resolve("scripts")
