"""Every row of the reference's chapter 2 (API semantics) with the tests that hold it.

A row without a test has the reason. The rows are compared with the reference itself where it stands beside the
checkout, so that a row that is added there is missed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.proofs import missing

ROOT: Final = Path(__file__).resolve().parents[2]
REFERENCE: Final = ROOT.parent / "shared" / "reference" / "sagemaker-training.md"

SERVICE = "tests/training/test_service.py::"
OPERATIONS = "tests/training/test_operations.py::"
JOB = "tests/training/test_job.py::"
SUPERVISOR = "tests/training/test_supervisor.py::"
API = "tests/training/test_api.py::"
LOGS = "tests/training/test_api_logs.py::"
KEYS = "tests/training/test_keys.py::"
CLIENTS = "tests/training/test_clients.py::"
WEBHOOK = "tests/training/test_webhook.py::"
SHAPES = "tests/aws/test_shapes.py::"
WALK = "tests/aws/test_shapes_walk.py::"
JSON11 = "tests/aws/test_json11.py::"
PROTOCOLS = "tests/conformance/test_aws_protocols.py::"
MAIN = "tests/end_to_end/test_main_job.py::"
STORY = f"{JOB}test_a_job_that_completes_tells_aws_story"

ROWS: Final[dict[str, tuple[str, ...]]] = {
    # 2.1 Wire format
    "2.1 JSON 1.1": (f"{API}test_boto3_drives_a_job", f"{PROTOCOLS}test_a_server_reads_the_request"),
    "2.1 Timestamps": (f"{API}test_boto3_drives_a_job", f"{SHAPES}test_timestamps_are_read_in_every_form"),
    "2.1 Stop and Delete": (
        f"{JSON11}test_an_operation_without_output_answers_nothing",
        f"{OPERATIONS}test_a_deleted_job_is_gone_and_its_name_free",
    ),
    # 2.2 DescribeTrainingJob
    "2.2 echo of the request": (f"{SERVICE}test_a_job_is_created_and_described",),
    "2.2 LastModifiedTime": (STORY, f"{SERVICE}test_a_job_is_created_and_described"),
    "2.2 EnableNetworkIsolation": (f"{SERVICE}test_a_job_is_created_and_described",),
    "2.2 TrainingStartTime": (STORY,),
    "2.2 TrainingEndTime": (STORY, f"{SUPERVISOR}test_outputs_are_in_their_place_before_the_status_says_so"),
    "2.2 TrainingTimeInSeconds": (
        f"{SERVICE}test_the_end_of_a_job_as_described",
        f"{JOB}test_training_time_is_the_sum_of_the_attempts",
    ),
    "2.2 FinalMetricDataList": (
        f"{OPERATIONS}test_metrics_at_the_end",
        f"{SERVICE}test_a_metric_out_of_range_is_infinite",
    ),
    "2.2 FailureReason": (
        f"{SERVICE}test_the_end_of_a_job_as_described",
        f"{JOB}test_a_reason_has_at_most_1024_characters",
    ),
    "2.2 WarmPoolStatus": (f"{OPERATIONS}test_a_warm_pool_is_gone_at_once",),
    "2.2 DebugRuleEvaluationStatuses": (
        f"{OPERATIONS}test_rules_are_configured_and_not_evaluated",
        f"{OPERATIONS}test_an_update_changes_what_describe_shows",
    ),
    "2.2 TuningJobArn": (f"{SERVICE}test_a_job_is_created_and_described",),
    "2.2 Tags": (f"{OPERATIONS}test_tags_of_a_job",),
    "2.2 Server-added defaults": (f"{SERVICE}test_a_job_is_created_and_described",),
    "2.2 This matters": (f"{CLIENTS}test_sdk_v2_fits_and_attaches",),
    # 2.3 State machine
    "2.3 InProgress/Starting": (STORY, f"{JOB}test_messages_of_starting_change_inside_one_entry"),
    "2.3 InProgress/Pending": (
        f"{JOB}test_a_job_without_room_is_pending_until_it_is_placed",
        f"{SUPERVISOR}test_jobs_wait_for_room_in_their_order",
    ),
    "2.3 InProgress/Downloading": (STORY,),
    "2.3 InProgress/Training": (STORY,),
    "2.3 InProgress/Uploading": (STORY,),
    "2.3 InProgress/Interrupted": (f"{JOB}test_an_interrupted_job_begins_again_from_its_checkpoints",),
    "2.3 Completed/Completed": (STORY,),
    "2.3 Stopping/Stopping": (f"{JOB}test_a_stop_in_each_phase_ends_stopped",),
    "2.3 Stopped/Stopped": (f"{JOB}test_a_stop_in_each_phase_ends_stopped",),
    "2.3 Stopped/MaxRuntimeExceeded": (f"{JOB}test_ends", f"{JOB}test_attempts_share_the_maximum_runtime"),
    "2.3 Stopped/MaxWaitTimeExceeded": (
        f"{JOB}test_a_limit_on_waiting_stops_a_job",
        f"{JOB}test_limits_on_waiting",
    ),
    "2.3 Failed/Failed": (f"{JOB}test_ends", f"{SERVICE}test_the_end_of_a_job_as_described"),
    # 2.4 Errors
    "2.4 unknown job": (f"{SERVICE}test_an_unknown_job", f"{OPERATIONS}test_a_job_in_progress_is_not_deleted"),
    "2.4 duplicate name": (
        f"{SERVICE}test_a_name_is_taken_for_ever",
        f"{API}test_errors_reach_boto3_by_their_names",
    ),
    "2.4 duplicate (2026 wording": ("not used: it was seen for a processing job only",),
    "2.4 Stop on a finished job": (f"{SERVICE}test_a_stop_and_a_second_one",),
    "2.4 pattern": (
        f"{SHAPES}test_a_broken_constraint_has_the_wording_of_aws",
        f"{OPERATIONS}test_a_wrong_request_names_every_fault",
    ),
    "2.4 length": (f"{SHAPES}test_a_broken_constraint_has_the_wording_of_aws", f"{WALK}test_every_constraint_is_kept"),
    "2.4 enum": (f"{SHAPES}test_a_broken_constraint_has_the_wording_of_aws", f"{WALK}test_every_constraint_is_kept"),
    "2.4 several": (f"{SHAPES}test_all_errors_stand_in_one_message", f"{API}test_a_wrong_request_is_told_every_fault"),
    "2.4 missing required": (f"{SHAPES}test_a_missing_member_is_null", f"{WALK}test_every_required_member_is_missed"),
    "2.4 empty S3 prefix": (f"{SERVICE}test_refusals", f"{SERVICE}test_a_bucket_that_is_not_there"),
    "2.4 role": ("never answered: roles are names, and every one can be assumed",),
    "2.4 image": (f"{SERVICE}test_refusals",),
    "2.4 quota": (f"{SERVICE}test_gpus_that_are_absent", f"{OPERATIONS}test_limits_that_are_refused"),
    "2.4 throttling": ("never answered: there is no rate limit here",),
    "2.4 unknown operation": (
        f"{API}test_an_operation_that_is_not_here_is_named",
        f"{OPERATIONS}test_another_operation_is_named",
    ),
    "2.4 malformed JSON": (
        f"{API}test_a_strange_request_gets_a_clean_error",
        f"{JSON11}test_a_request_that_cannot_be_read_is_refused",
    ),
    "2.4 bad signature": (
        f"{API}test_a_stranger_is_refused",
        f"{KEYS}test_credentials_that_do_not_belong_together",
    ),
    # 2.5 ListTrainingJobs
    "2.5 Filters": (f"{SERVICE}test_lists", f"{SERVICE}test_a_summary"),
    "2.5 Default page size": (f"{SERVICE}test_lists",),
    "2.5 Quirk in the docs": (f"{SERVICE}test_pages", f"{SERVICE}test_lists"),
    "2.5 The documented default order": (f"{SERVICE}test_lists",),
    # 2.6 Other
    "2.6 Tags": (
        f"{OPERATIONS}test_tags_of_a_job",
        f"{OPERATIONS}test_tags_are_limited",
        f"{OPERATIONS}test_tags_of_nobody",
        f"{OPERATIONS}test_an_arn_that_is_none",
    ),
    "2.6 Idempotency": (
        f"{SERVICE}test_a_name_is_taken_for_ever",
        f"{OPERATIONS}test_a_deleted_job_is_gone_and_its_name_free",
    ),
    "2.6 UpdateTrainingJob": (
        f"{OPERATIONS}test_an_update_changes_what_describe_shows",
        f"{OPERATIONS}test_an_update_that_is_refused",
    ),
    "2.6 Logs": (
        f"{LOGS}test_there_is_one_group",
        f"{LOGS}test_streams_of_a_job_in_the_order_of_their_names",
        "tests/agent/test_lines.py::test_lines",
        "tests/end_to_end/test_algorithms.py::test_two_hosts_of_xgboost_share_the_rows",
    ),
    "2.6 Waiter": (f"{CLIENTS}test_the_waiter_ends_with_stopped_jobs_too",),
    "2.6 EventBridge": (f"{WEBHOOK}test_every_status_change_is_told",),
    # 2.7 What the clients really call
    "2.7 SDK v2": (f"{CLIENTS}test_sdk_v2_fits_and_attaches", f"{CLIENTS}test_logs_of_nobody_are_tolerated"),
    "2.7 SDK v3": (f"{CLIENTS}test_sdk_v3_trains", f"{KEYS}test_iam_answers_as_the_sdks_ask"),
    "2.7 Both SDKs, no default bucket": ("the client's own: it asks a hard-coded address, and the README says so",),
    "2.7 AWS CLI": (f"{MAIN}test_the_aws_cli_works_with_what_env_prints", f"{CLIENTS}test_the_cli_follows_a_log"),
    "2.7 Minimum set": (
        f"{CLIENTS}test_sdk_v2_fits_and_attaches",
        f"{CLIENTS}test_sdk_v3_trains",
        f"{KEYS}test_a_role_that_is_assumed_works",
        f"{OPERATIONS}test_search_finds",
    ),
}
"""Section and beginning of the row → the tests that hold it, or why there is none."""


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_tests(row: str) -> None:
    """They are there, or there is a reason why not."""
    tests = [each for each in ROWS[row] if "::" in each]
    assert missing(each.removeprefix("tests/") for each in tests) == []
    for each in set(ROWS[row]) - set(tests):
        assert len(each.split()) > 4, f"{row}: {each!r} is no reason"


def _rows_of_the_reference() -> Iterator[str]:
    """Give the rows of chapter 2: table rows by their first cells, other paragraphs by their first words."""
    chapter = REFERENCE.read_text("utf-8").partition("\n## 2.")[2].partition("\n## 3.")[0]
    section = ""
    for line in chapter.splitlines():
        if line.startswith("### "):
            section = line.split()[1]
        elif line.startswith("|") and section in {"2.2", "2.3", "2.4"}:
            cells = [re.sub(r"[`*]", "", each).strip() for each in line.strip("|").split("|")]
            if not set(cells[0]) <= {"-"} and cells[0] not in {"Field", "Primary", "Case"}:
                yield f"{section} {cells[0]}/{cells[1]}" if section == "2.3" else f"{section} {cells[0]}"
        elif line.startswith("- ") or (line.startswith("**") and section in {"2.2", "2.7"}):
            yield f"{section} {re.sub(r'[`*]', '', line.removeprefix('- '))}"


@pytest.mark.suite
@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference does not stand beside the checkout")
def test_every_row_of_the_reference_is_here() -> None:
    """A row that is added to the reference is missed."""
    found = list(_rows_of_the_reference())
    assert len(found) > 50
    assert [row for row in found if not any(row.startswith(known) for known in ROWS)] == []
