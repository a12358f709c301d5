"""`treadle jobs` and `treadle env` against a service that owns the home and checks every signature."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from treadle.aws import sigv4
from treadle.home import Endpoint, Home

Run = Callable[..., subprocess.CompletedProcess[str]]

NOON = 1_750_000_000.0
JOB = {
    "TrainingJobName": "churn-1",
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "CreationTime": NOON,
    "TrainingStartTime": NOON + 5,
    "TrainingEndTime": NOON + 70,
    "ModelArtifacts": {"S3ModelArtifacts": "s3://models/churn-1/output/model.tar.gz"},
    "AlgorithmSpecification": {"TrainingImage": "churn", "TrainingInputMode": "File"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
    "HyperParameters": {"eta": "0.1"},
    "FinalMetricDataList": [{"MetricName": "validation:auc", "Value": 0.91, "Timestamp": NOON}],
    "SecondaryStatusTransitions": [
        {"Status": "Starting", "StartTime": NOON, "EndTime": NOON + 5, "StatusMessage": "Preparing the instances"},
        {"Status": "Completed", "StartTime": NOON + 70, "StatusMessage": "Training job completed"},
    ],
}


class Service:
    """Answers the calls of `treadle jobs`; `log` holds lines by stream, in pages of two."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.job: dict[str, Any] = dict(JOB)
        self.names = ["churn-3", "churn-2", "churn-1"]
        self.log: dict[str, list[str]] = {"churn-1/algo-1-1750000000": ["one", "two\x1b[31m", "three"]}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.describes_until_end = 0

    def answer(self, target: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        operation = target.partition(".")[2]
        self.calls.append((operation, asked))
        operations = {
            "ListTrainingJobs": self.list_jobs,
            "DescribeTrainingJob": self.describe_job,
            "StopTrainingJob": self.stop_job,
            "DescribeLogStreams": self.describe_streams,
            "GetLogEvents": self.log_events,
        }
        return operations[operation](asked)

    def list_jobs(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        first = int(asked.get("NextToken", 0))
        page = self.names[first : first + min(2, asked["MaxResults"])]
        summaries = [
            {k: v for k, v in self.job.items() if "Time" in k or "Status" in k} | {"TrainingJobName": n} for n in page
        ]
        more = {"NextToken": str(first + 2)} if first + 2 < len(self.names) else {}
        return 200, {"TrainingJobSummaries": summaries, **more}

    def describe_job(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if asked["TrainingJobName"] != "churn-1":
            return 400, {"__type": "ValidationException", "message": "Requested resource not found."}
        if self.describes_until_end > 0:
            self.describes_until_end -= 1
            self.log["churn-1/algo-1-1750000000"].append(f"line {self.describes_until_end}")
            return 200, self.job | {"TrainingJobStatus": "InProgress"}
        return 200, self.job

    def stop_job(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        del asked
        return 200, {}

    def describe_streams(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        names = sorted(name for name in self.log if name.startswith(asked["logStreamNamePrefix"]))
        return 200, {"logStreams": [{"logStreamName": name} for name in names]}

    def log_events(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        lines = self.log[asked["logStreamName"]]
        first = (
            int(asked.get("nextToken", "f/0")[2:]) if asked["startFromHead"] else max(0, len(lines) - asked["limit"])
        )
        page = list(enumerate(lines))[first:][: 2 if asked["startFromHead"] else None]
        events = [{"timestamp": int(NOON + n) * 1000, "message": line} for n, line in page]
        return 200, {"events": events, "nextForwardToken": f"f/{first + len(page)}"}


@pytest.fixture
def service(home: Home) -> Iterator[Service]:
    """Give a service that owns the home, as `treadle serve` would."""
    made = Service(home)
    key, secret = home.credentials()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            identity = sigv4.verify(
                "POST",
                self.path,
                "",
                tuple(self.headers.items()),
                sigv4.payload_hash(body),
                secret_for={key: secret}.get,
                now=dt.datetime.now(dt.UTC),
                region="us-east-1",
            )
            target = self.headers["X-Amz-Target"]
            assert identity.service == ("logs" if target.startswith("Logs") else "sagemaker")
            code, answer = made.answer(target, json.loads(body))
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    lock = home.own()
    assert lock is not None
    home.publish(Endpoint(url=f"http://127.0.0.1:{server.server_address[1]}", pid=0))
    yield made
    home.withdraw()
    lock.release()
    server.shutdown()
    server.server_close()
    thread.join()


def test_ls(treadle: Run, service: Service) -> None:
    """Newest first, page by page, aligned; nothing but the table on standard output."""
    done = treadle("jobs", "ls", TZ="UTC")
    assert done.stdout == (
        "NAME     STATUS     CREATED              TOOK\n"
        "churn-3  Completed  2025-06-15 15:06:40  1 min 10 s\n"
        "churn-2  Completed  2025-06-15 15:06:40  1 min 10 s\n"
        "churn-1  Completed  2025-06-15 15:06:40  1 min 10 s\n"
    ), done.stderr
    assert len(treadle("jobs", "ls", "-n", "1").stdout.splitlines()) == 2
    assert [each["TrainingJobName"] for each in json.loads(treadle("jobs", "ls", "--json").stdout)] == service.names
    treadle("jobs", "ls", "--status", "failed", "--name", "churn")
    assert service.calls[-1][1]["StatusEquals"] == "Failed"
    assert service.calls[-1][1]["NameContains"] == "churn"


def test_no_jobs(treadle: Run, service: Service) -> None:
    """An empty list says so on standard error."""
    service.names = []
    done = treadle("jobs", "ls")
    assert (done.stdout, done.stderr) == ("", "No training jobs.\n")


def test_show(treadle: Run, service: Service) -> None:
    """Everything that a person asks about a job, and how it got there."""
    del service
    done = treadle("jobs", "show", "churn-1", TZ="UTC")
    assert done.stdout == (
        "name:                  churn-1\n"
        "status:                Completed (Completed)\n"
        "image:                 churn\n"
        "instances:             2 × ml.m5.large\n"
        "created:               2025-06-15 15:06:40\n"
        "trained for:           1 min 05 s\n"
        "model:                 s3://models/churn-1/output/model.tar.gz\n"
        "metric validation:auc: 0.91\n"
        "hyperparameter eta:    0.1\n"
        "transitions:\n"
        "  2025-06-15 15:06:40  Starting          5.0 s  Preparing the instances\n"
        "  2025-06-15 15:07:50  Completed                Training job completed\n"
    ), done.stderr
    assert json.loads(treadle("jobs", "show", "churn-1", "--json").stdout)["TrainingJobName"] == "churn-1"


@pytest.mark.parametrize("command", ["show", "logs", "stop"])
def test_a_job_that_is_not_there(treadle: Run, service: Service, command: str) -> None:
    """A sentence and the way to the names."""
    del service
    done = treadle("jobs", command, "nix")
    assert done.returncode == 1
    assert done.stderr == "error: There is no training job nix.\nhint: treadle jobs ls lists them.\n"


def test_logs(treadle: Run, service: Service) -> None:
    """All pages, every line once; several hosts are told apart; the last lines alone; times; JSON."""
    del service.log["churn-1/algo-1-1750000000"]
    service.log |= {"churn-1/algo-1-175": ["a", "b", "c"], "churn-1/algo-2-175": ["x"], "churn-10/algo-1-175": ["no"]}
    assert treadle("jobs", "logs", "churn-1").stdout == "algo-1 | a\nalgo-1 | b\nalgo-1 | c\nalgo-2 | x\n"
    service.job = service.job | {"ResourceConfig": {"InstanceCount": 1}}
    assert treadle("jobs", "logs", "churn-1", "-n", "1").stdout == "x\nc\n"
    assert treadle("jobs", "logs", "churn-1", "-t", TZ="UTC").stdout.splitlines()[0] == "2025-06-15 15:06:40 a"
    first = json.loads(treadle("jobs", "logs", "churn-1", "--json").stdout.splitlines()[0])
    assert first == {"host": "algo-1", "at": NOON, "text": "a"}
    assert treadle("jobs", "logs", "churn-1", "-f", "-n", "1").returncode == 2


def test_following_a_log_ends_with_the_job(treadle: Run, service: Service) -> None:
    """Lines as they come, none twice, none lost; how the job ended on standard error."""
    service.describes_until_end = 4
    done = treadle("jobs", "logs", "-f", "churn-1")
    assert done.stdout.splitlines() == ["algo-1 | one", "algo-1 | two\x1b[31m", "algo-1 | three"] + [
        f"algo-1 | line {n}" for n in (3, 2, 1, 0)
    ]
    assert done.stderr == "Completed\n"


def test_stop(treadle: Run, service: Service) -> None:
    """A job that runs is told to stop; one that has ended is left alone."""
    assert "has already ended: Completed" in treadle("jobs", "stop", "churn-1").stderr
    assert "StopTrainingJob" not in [operation for operation, _ in service.calls]
    service.describes_until_end = 1
    assert "churn-1 is stopping" in treadle("jobs", "stop", "churn-1").stderr
    assert service.calls[-1] == ("StopTrainingJob", {"TrainingJobName": "churn-1"})


def test_env(treadle: Run, service: Service, home: Home) -> None:
    """Shells read it; a left-over session token goes; taking it back is one line."""
    del service
    endpoint = home.endpoint()
    assert endpoint is not None
    key, secret = home.credentials()
    written = treadle("env").stdout
    script = (
        written + 'echo "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_REGION [$AWS_SESSION_TOKEN]"'
    )
    shell = subprocess.run(
        ["sh", "-c", script], env={"AWS_SESSION_TOKEN": "old"}, capture_output=True, text=True, check=True
    )
    assert shell.stdout == f"{endpoint.url} {key} {secret} us-east-1 []\n"
    assert 'eval "$(treadle env --unset)"' in written
    assert treadle("env", "--shell", "fish").stdout.splitlines()[1] == f"set -gx AWS_ENDPOINT_URL {endpoint.url};"
    assert json.loads(treadle("env", "--json").stdout)["AWS_DEFAULT_REGION"] == "us-east-1"
    back = treadle("env", "--unset").stdout.splitlines()
    assert back[0] == "unset AWS_ENDPOINT_URL"
    assert len(back) == 6


def test_env_as_a_profile(treadle: Run, service: Service, home: Home, tmp_path: Path) -> None:
    """boto3 finds everything in it, while the variables of the shell are those of AWS."""
    none = {"AWS_CONFIG_FILE": str(tmp_path / "none")}
    written = treadle("env", "--profile", "local", **none).stdout
    (tmp_path / "config").write_text(f"[default]\nregion = eu-west-1{written}")
    environment = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_ACCESS_KEY_ID": "AKIAAWS",
        "AWS_SECRET_ACCESS_KEY": "aws",
    }
    script = (
        "import boto3; client = boto3.Session(profile_name='local').client('sagemaker');"
        "print(client.describe_training_job(TrainingJobName='churn-1')['TrainingJobStatus'], client.meta.region_name)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "Completed us-east-1\n"
    assert service.calls[-1] == ("DescribeTrainingJob", {"TrainingJobName": "churn-1"})
    there = {"AWS_CONFIG_FILE": environment["AWS_CONFIG_FILE"]}
    for name, heading in (("local", "[profile local]"), ("default", "[default]")):
        again = treadle("env", "--profile", name, **there)
        assert (again.returncode, again.stdout) == (2, "")
        assert f"config has {heading} already." in again.stderr
    assert treadle("env", "--profile", "default", **none).stdout.startswith("\n[default]\nregion = ")
    assert home.credentials()[1] in written
    assert "cannot be the name of a profile" in treadle("env", "--profile", "a]b").stderr
    assert "--profile stands alone" in treadle("env", "--profile", "a", "--unset").stderr


def test_env_of_the_sdks(treadle: Run, service: Service, home: Home) -> None:
    """Their default bucket and telemetry are settled in a file; one that is configured otherwise is left alone."""
    del service
    name = "SAGEMAKER_ADMIN_CONFIG_OVERRIDE"
    path = json.loads(treadle("env", "--json").stdout)[name]
    assert Path(path) == home.root / "sagemaker-sdk.yaml"
    modules = yaml.safe_load(Path(path).read_text())["SageMaker"]["PythonSDK"]["Modules"]
    bucket = "sagemaker-us-east-1-000000000000"
    assert modules == {"TelemetryOptOut": True, "Session": {"DefaultS3Bucket": bucket}}
    assert f"unset {name}" in treadle("env", "--unset", **{name: path}).stdout
    assert name not in treadle("env", **{name: "/etc/mine.yaml"}).stdout
    assert name not in treadle("env", "--unset", **{name: "/etc/mine.yaml"}).stdout


def test_a_region_that_is_none(treadle: Run) -> None:
    """It would be part of ARNs and signatures: it is refused before a service begins."""
    done = treadle("serve", "--region", "Europe")
    assert (done.returncode, "'Europe' is not a region, such as eu-west-1." in done.stderr) == (2, True)
