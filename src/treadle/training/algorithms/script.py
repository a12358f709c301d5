"""Script mode: runs the user's own program as SageMaker's training toolkit does, for images that say `script_mode`.

Where `sagemaker_submit_directory` names an object, its source is in `code` below the base directory already: the agent
has unpacked it. What it names of the host (the SDK sends the source of jobs without a network as a channel) is put
there here, where channels are seen. The program gets its hyperparameters as arguments and everything about the job as
`SM_*` variables, under the toolkit's names and in its forms (aws/sagemaker-training-toolkit: `environment.py`,
`files.py`, `mapping.py`, `params.py`, `errors.py`). What fails is told in the failure file in the toolkit's words, and
the exit code then is 1 whatever the program's was.

One thing differs: SIGTERM, which reaches every process of the job here, does not end this one before the program has
ended. What `requirements.txt` names is for the job alone, because its Python is (see `agent.packages`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from treadle.training.algorithms import distribution
from treadle.training.algorithms.program import AlgorithmError, Directories, UserError, log, run

__all__ = ["Job", "arguments", "main", "variables"]

_PROGRAM: Final = "sagemaker_program"
_SOURCE: Final = "sagemaker_submit_directory"
_PREFIX: Final = "sagemaker_"
# params.py: these are neither the program's hyperparameters nor the framework's.
_OWN: Final = frozenset(
    {
        _PROGRAM,
        _SOURCE,
        "sagemaker_enable_cloudwatch_metrics",
        "sagemaker_region",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "default_user_module_name",
        "_tuning_objective_metric",
        "sagemaker_s3_output",
    }
)
_ML: Final = PurePosixPath("/opt/ml")
_INFO: Final = 20
_TAIL: Final = 4096
# Of the 1024 characters of a FailureReason, what the words around leave.
_REASON: Final = 900
_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """What the configuration files say. Each hyperparameter is read as JSON, and taken as it is where it is none."""

    base: Path
    hyperparameters: Mapping[str, Any]
    resources: Mapping[str, Any]
    inputs: Mapping[str, Any]

    @classmethod
    def read(cls, directories: Directories) -> Job:
        """Read the files of this host."""
        texts: Mapping[str, str] = directories.config("hyperparameters")
        return cls(
            directories.base,
            {name: _value(text) for name, text in texts.items()},
            directories.config("resourceconfig"),
            directories.config("inputdataconfig"),
        )

    @property
    def own(self) -> dict[str, Any]:
        """The program's own hyperparameters."""
        return {name: value for name, value in self.hyperparameters.items() if not _reserved(name)}

    @property
    def framework(self) -> dict[str, Any]:
        """What the SDK tells the framework's image."""
        return {name: value for name, value in self.hyperparameters.items() if _reserved(name) and name not in _OWN}

    @property
    def program(self) -> str:
        """The entry point. Raises `UserError`."""
        name = str(self.hyperparameters.get(_PROGRAM) or os.environ.get(_PROGRAM.upper(), ""))
        if not name:
            raise UserError(
                f"The hyperparameter {_PROGRAM} is missing: an image with script_mode needs the program's name"
            )
        return name

    @property
    def code(self) -> Path:
        """Where the source is."""
        return self.base / "code"

    @property
    def source(self) -> Path | None:
        """What `sagemaker_submit_directory` names of the host: archive, directory or program; None for an object."""
        path = PurePosixPath(str(self.hyperparameters.get(_SOURCE) or ""))
        if not path.is_absolute():
            return None
        return self.base / path.relative_to(_ML) if path.is_relative_to(_ML) else Path(path)


def _reserved(name: str) -> bool:
    return name in _OWN or name.startswith(_PREFIX)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# ---------------------------------------------------------------------------------------------------------------------
# What the program is told
# ---------------------------------------------------------------------------------------------------------------------


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Give hyperparameters as arguments, sorted by name.

    >>> arguments({"lr": 0.1, "e": 2, "on": True, "nothing": None, "map": {"b": 1, "a": 2}})
    ['-e', '2', '--lr', '0.1', '--map', 'a=2,b=1', '--nothing', '', '--on', 'True']
    """
    found = []
    for name, value in sorted(hyperparameters.items()):
        text = ",".join(f"{key}={each}" for key, each in sorted(value.items())) if isinstance(value, dict) else value
        found += [f"--{name}" if len(name) > 1 else f"-{name}", "" if text is None else str(text)]
    return found


def variables(job: Job, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Give the `SM_*` variables (§1.4), and the few that the toolkit sets besides."""
    facts = _facts(job, environment)
    own = job.own
    more = {f"channel_{name}": path for name, path in facts["channel_input_dirs"].items()}
    more |= {f"hp_{name}": value for name, value in own.items()}
    told = {
        **{name: facts[name] for name in _TOLD},
        "hps": own,
        "framework_params": job.framework,
        "channels": sorted(job.inputs),
        "training_env": facts,
        "user_args": arguments(own),
        **more,
    }
    return {
        "CURRENT_HOST": facts["current_host"],
        "SAGEMAKER_JOB_NAME": str(job.hyperparameters.get("sagemaker_job_name", "")),
        "SAGEMAKER_REGION": str(job.hyperparameters.get("sagemaker_region") or environment.get("AWS_REGION", "")),
        **{f"SM_{name.upper()}": _text(value) for name, value in told.items()},
    }


_TOLD: Final = (
    "hosts",
    "network_interface_name",
    "user_entry_point",
    "resource_config",
    "input_data_config",
    "output_data_dir",
    "current_host",
    "current_instance_type",
    "current_instance_group",
    "current_instance_group_hosts",
    "instance_groups",
    "instance_groups_dict",
    "distribution_instance_groups",
    "is_hetero",
    "module_name",
    "log_level",
    "framework_module",
    "input_dir",
    "input_config_dir",
    "output_dir",
    "num_cpus",
    "num_gpus",
    "num_neurons",
    "model_dir",
    "module_dir",
    "output_intermediate_dir",
)


def _facts(job: Job, environment: Mapping[str, str]) -> dict[str, Any]:
    """Give the toolkit's own view of the job, which is SM_TRAINING_ENV, too."""
    resources, framework, base = job.resources, job.framework, job.base
    by_name = {each["instance_group_name"]: each for each in resources.get("instance_groups", [])}
    group = resources.get("current_group_name", "homogeneousCluster")
    distributed = [group] if any(framework.get(name) for name in distribution.KINDS) else []
    groups = framework.get("sagemaker_distribution_instance_groups", distributed)
    hosts = [host for name, its in by_name.items() if name in groups for host in its["hosts"]]
    master = (hosts or resources["hosts"])[0]
    program = job.program
    return {
        "additional_framework_parameters": framework,
        "channel_input_dirs": {name: str(base / "input/data" / name) for name in job.inputs},
        "current_host": resources["current_host"],
        "current_instance_group": group,
        "current_instance_group_hosts": by_name[group]["hosts"] if group in by_name else [],
        "current_instance_type": resources.get("current_instance_type", "local"),
        "distribution_hosts": hosts,
        "distribution_instance_groups": groups,
        "framework_module": environment.get("SAGEMAKER_TRAINING_MODULE"),
        "hosts": resources["hosts"],
        "hyperparameters": job.own,
        "input_config_dir": str(base / "input/config"),
        "input_data_config": job.inputs,
        "input_dir": str(base / "input"),
        "instance_groups": list(by_name),
        "instance_groups_dict": by_name,
        "is_hetero": len(by_name) > 1,
        "is_master": resources["current_host"] == master,
        "is_modelparallel_enabled": None,
        "job_name": environment.get("TRAINING_JOB_NAME"),
        "log_level": job.hyperparameters.get("sagemaker_container_log_level", _INFO),
        "master_hostname": master,
        "model_dir": str(base / "model"),
        "module_dir": str(job.hyperparameters.get(_SOURCE, job.code)),
        "module_name": program.removesuffix(".py"),
        "network_interface_name": resources.get("network_interface_name", "eth0"),
        "num_cpus": len(os.sched_getaffinity(0)),
        "num_gpus": _gpus(environment.get("NVIDIA_VISIBLE_DEVICES", "void")),
        "num_neurons": 0,
        "output_data_dir": str(base / "output/data"),
        "output_dir": str(base / "output"),
        "output_intermediate_dir": str(base / "output/intermediate"),
        "resource_config": resources,
        "user_entry_point": program,
    }


def _gpus(visible: str) -> int:
    return 0 if visible in {"", "void", "none"} else len(visible.split(","))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


# ---------------------------------------------------------------------------------------------------------------------
# Running it
# ---------------------------------------------------------------------------------------------------------------------


def main(arguments_: Sequence[str]) -> int:
    """Run the program of the job; before the word `train` comes the interpreter, where it is another than this one."""
    *interpreter, word = arguments_ or ("",)

    def train(directories: Directories) -> None:
        # An image that has a PATH of its own means the Python that is found there.
        _train(Job.read(directories), interpreter or [shutil.which("python") or sys.executable])

    return run(train, [word])


def _train(job: Job, interpreter: Sequence[str]) -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    _bring(job)
    # As in the ENV of AWS's framework images: or what a program prints would not be seen until it has printed a lot.
    facts = _facts(job, os.environ)
    interfaces = [name for _, name in socket.if_nameindex()]
    environment = {
        "PYTHONUNBUFFERED": "1",
        **distribution.variables(job.framework, facts, interfaces),
        **os.environ,
        **variables(job),
    }
    launcher = distribution.launcher(job.framework, facts)
    if (job.code / "requirements.txt").is_file():
        _install_requirements(job, interpreter, environment)
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment["PYTHONPATH"] = os.pathsep.join([str(job.code), *inherited])
    command = _command(job, interpreter, launcher)
    log(f"Invoking user script\n\n{' '.join(command)}\n")
    code, said = _run(command, job.code, environment)
    if code:
        raise _failed("ExecuteUserScriptError", code, said, f'\nCommand "{" ".join(command)}"')
    (job.base / "output/success").touch()


def _bring(job: Job) -> None:
    """Put what is on this host into `code`, as the toolkit's `files.download_and_extract` does. Raises `UserError`."""
    source, code = job.source, job.code
    if source is None or source == code or any(code.iterdir()):
        return
    try:
        if source.is_dir():
            shutil.copytree(source, code, dirs_exist_ok=True)
        elif tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                archive.extractall(code, filter="data")
        else:
            shutil.copy2(source, code)
    except (OSError, tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"The source {job.hyperparameters[_SOURCE]} cannot be used: {error}") from error


def _command(job: Job, interpreter: Sequence[str], launcher: Sequence[str]) -> list[str]:
    """Tell a package, a Python program and any other command apart as the toolkit does. Raises `UserError`."""
    program, own = job.program, arguments(job.own)
    if launcher and ((job.code / "setup.py").is_file() or not program.endswith(".py")):
        raise UserError(f"distribution: {program} must be a Python program, and not of a package")
    if (job.code / "setup.py").is_file():
        return [*interpreter, "-m", program.removesuffix(".py"), *own]
    if not (job.code / program).is_file():
        raise UserError(f"The program {program} is not in the source that {_SOURCE} names")
    if program.endswith(".py"):
        return [*interpreter, *launcher, program, *own]
    (job.code / program).chmod(0o755)
    return ["/bin/sh", "-c", f"./{program} {' '.join(own)}"]


def _install_requirements(job: Job, interpreter: Sequence[str], environment: Mapping[str, str]) -> None:
    """Install what requirements.txt names. Raises `AlgorithmError`."""
    command = [*interpreter, "-m", "pip", "install", "-r", "requirements.txt"]
    log(f"Installing dependencies from requirements.txt:\n{' '.join(command)}")
    code, said = _run(command, job.code, environment)
    if code:
        raise _failed("InstallRequirementsError", code, said)


def _failed(what: str, code: int, said: str, command: str = "") -> AlgorithmError:
    """Give the toolkit's text; of what was said the end, which has the reason, as far as a FailureReason has room."""
    room = max(_REASON - len(command), _REASON // 2)
    return AlgorithmError(f'{what}:\nExitCode {code}\nErrorMessage "{said[-room:]}"{command}')


def _run(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run to the end, and give the exit code and the end of what went to standard error, which is passed on."""
    try:
        process = subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.PIPE)
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    tail = _Tail()
    if process.stderr is None:  # it was asked for as a pipe
        return process.wait(), ""
    copying = threading.Thread(target=tail.copy, args=(process.stderr,), daemon=True)
    copying.start()
    code = process.wait()
    # Followers of the program may hold its output open; the sandbox ends them after this process has ended.
    copying.join(1.0)
    return code if code >= 0 else 128 - code, tail.text


class _Tail:
    """Passes on what it reads, and keeps the end."""

    def __init__(self) -> None:
        self._kept = b""

    def copy(self, source: IO[bytes]) -> None:
        """Read until the end."""
        while piece := os.read(source.fileno(), _PIECE):
            sys.stderr.buffer.write(piece)
            sys.stderr.buffer.flush()
            self._kept = (self._kept + piece)[-_TAIL:]

    @property
    def text(self) -> str:
        """What is kept, as text."""
        return self._kept.decode(errors="replace").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
