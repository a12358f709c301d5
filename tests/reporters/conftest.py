"""A scripted run of the main job, as the run loop tells it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from treadle.arazzo import events
from treadle.arazzo.criteria import Verdict
from treadle.arazzo.events import Event

ARN = "arn:aws:sagemaker:us-east-1:000000000000:training-job/churn-1"
URL = "http://127.0.0.1:4566/"
NOON = 1_750_000_000.0


class Script:
    """Makes the events of a run; `at` is the time of the next one."""

    def __init__(self) -> None:
        self.at = NOON
        self.visits = 0

    def about(self, seconds: float = 0.0) -> dict[str, object]:
        self.at += seconds
        return {"at": self.at, "run_id": "r-7k2m", "path": ("train-and-poll-job",)}

    def start(self) -> Iterator[Event]:
        yield events.RunStarted(
            **self.about(),  # type: ignore[arg-type]
            document="train.yml",
            workflow_id="train-and-poll-job",
            inputs={"trainingJobName": "churn-1"},
        )
        yield events.StepStarted(**self.about(), step_id="createTrainingJob", visit=1)  # type: ignore[arg-type]
        yield events.RequestSent(**self.about(), step_id="createTrainingJob", method="POST", url=URL)  # type: ignore[arg-type]
        yield events.AnswerReceived(
            **self.about(0.03),  # type: ignore[arg-type]
            step_id="createTrainingJob",
            status=200,
            seconds=0.03,
            size=90,
        )
        yield events.StepSucceeded(
            **self.about(),  # type: ignore[arg-type]
            step_id="createTrainingJob",
            outputs={"trainingJobArn": ARN},
            status=200,
        )

    def poll(self, status: str, secondary: str, *, reason: str = "", wait: float = 5.0) -> Iterator[Event]:
        self.visits += 1
        step = "pollTrainingJob"
        outputs = {"trainingJobStatus": status, "secondaryStatus": secondary}
        if reason:
            outputs["failureReason"] = reason
        yield events.StepStarted(**self.about(), step_id=step, visit=self.visits)  # type: ignore[arg-type]
        yield events.RequestSent(**self.about(), step_id=step, method="POST", url=URL)  # type: ignore[arg-type]
        yield events.AnswerReceived(**self.about(0.01), step_id=step, status=200, seconds=0.01, size=900)  # type: ignore[arg-type]
        good = Verdict(condition="$statusCode == 200", passed=True, reasons=("$statusCode is 200",))
        yield events.CriteriaJudged(**self.about(), step_id=step, passed=True, verdicts=(good,))  # type: ignore[arg-type]
        yield events.StepSucceeded(**self.about(), step_id=step, outputs=outputs, status=200)  # type: ignore[arg-type]
        again = status == "InProgress"
        guard = Verdict(
            condition='$.TrainingJobStatus == "InProgress"',
            passed=again,
            reasons=(f'$.TrainingJobStatus is "{status}"',),
            rules=("jsonpath-comparison",),
        )
        yield events.CriteriaJudged(
            **self.about(),  # type: ignore[arg-type]
            step_id=step,
            action="stillTraining",
            passed=again,
            verdicts=(guard,),
        )
        if again:
            yield events.ActionTaken(**self.about(), step_id=step, name="stillTraining", type="goto", target=step)  # type: ignore[arg-type]
            yield events.Waiting(
                **self.about(),  # type: ignore[arg-type]
                step_id=step,
                until=self.at + wait,
                why="poll",
                visit=self.visits,
            )
            self.at += wait
        else:
            yield events.ActionTaken(**self.about(), step_id=step, name="trainingTerminal", type="end")  # type: ignore[arg-type]

    def same(self, wait: float = 5.0) -> Iterator[Event]:
        """A visit that comes to what the last one came to."""
        self.visits += 1
        step = "pollTrainingJob"
        yield events.StepStarted(**self.about(), step_id=step, visit=self.visits)  # type: ignore[arg-type]
        yield events.RequestSent(**self.about(), step_id=step, method="POST", url=URL)  # type: ignore[arg-type]
        yield events.Unchanged(**self.about(0.01), step_id=step, status=200, seconds=0.01, size=900)  # type: ignore[arg-type]
        yield events.Waiting(
            **self.about(),  # type: ignore[arg-type]
            step_id=step,
            until=self.at + wait,
            why="poll",
            visit=self.visits + 1,
        )
        self.at += wait

    def trouble(self, tries: int, wait: float = 1.0) -> Event:
        made = events.Trouble(
            **self.about(),  # type: ignore[arg-type]
            step_id="pollTrainingJob",
            message="127.0.0.1:4566 refuses the connection",
            tries=tries,
            again_at=self.at + wait,
        )
        self.at += wait
        return made

    def finish(self, status: str = "succeeded", **members: object) -> Event:
        return events.RunFinished(**self.about(), status=status, **members)  # type: ignore[arg-type]

    def whole(self, secondary: tuple[str, ...] = ("Starting", "Training", "Training", "Uploading")) -> Iterator[Event]:
        """The main job from its start to its good end."""
        yield from self.start()
        for each in secondary:
            yield from self.poll("InProgress", each)
        yield from self.poll("Completed", "Completed")
        yield self.finish(
            outputs={
                "trainingJobArn": ARN,
                "trainingJobStatus": "Completed",
                "modelArtifacts": "s3://models/churn-1/output/model.tar.gz",
            }
        )


@pytest.fixture
def script() -> Script:
    return Script()
