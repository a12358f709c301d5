"""What is tried against the service, and the tests that try it, each against real servers, disks and processes.

The rest of the set is in the tests themselves: this is where to look, and what must not get lost.
"""

from __future__ import annotations

import pytest
from tests.proofs import missing

API, KEYS = "training/test_api.py::", "training/test_keys.py::"
S3, STRANGE = "training/test_api_s3.py::", "training/test_api_s3_strange.py::"
OBJECTS, FAULTS = "objects/test_filesystem.py::", "end_to_end/test_faults_"

ATTACKS = {
    "signatures: wrong": (f"{API}test_a_stranger_is_refused", f"{S3}test_signatures_are_refused_in_the_words_of_s3"),
    "signatures: expired": (f"{API}test_a_client_with_a_wrong_clock_is_told", f"{S3}test_a_presigned_url_ends"),
    "signatures: replayed later, or with another body": (
        f"{API}test_a_client_with_a_wrong_clock_is_told",
        f"{S3}test_a_body_must_be_the_one_that_was_signed",
        "training/test_replays.py::test_a_request_is_good_for_some_minutes",
        "training/test_replays.py::test_a_request_is_good_for_what_it_says",
    ),
    "signatures: of another region or service": (
        f"{S3}test_another_region",
        f"{S3}test_signatures_are_refused_in_the_words_of_s3",
        f"{API}test_a_stranger_is_refused",
    ),
    "signatures: keys, secrets and tokens that do not belong together": (
        f"{KEYS}test_credentials_that_do_not_belong_together",
        f"{KEYS}test_a_token_does_not_serve_another_key",
        f"{KEYS}test_a_token_that_is_none",
        f"{STRANGE}test_session_tokens_are_refused_in_the_words_of_s3",
    ),
    "a program that wants more than its job may": (
        f"{KEYS}test_a_program_reaches_what_its_job_may",
        f"{KEYS}test_what_a_program_may_do",
        f"{KEYS}test_an_earlier_attempt_has_no_credentials",
        f"{FAULTS}programs.py::test_a_program_cannot_read_the_home",
    ),
    "traversal: buckets": (f"{S3}test_names_that_no_bucket_has",),
    "traversal: keys": (
        f"{STRANGE}test_keys_stay_in_their_bucket",
        f"{OBJECTS}test_no_link_leads_out_of_the_tree",
        f"{FAULTS}programs.py::test_keys_that_lead_nowhere_good",
    ),
    "traversal: job names": (
        "aws/test_shapes.py::test_a_broken_constraint_has_the_wording_of_aws",
        f"{FAULTS}programs.py::test_names_that_differ_only_in_case_and_names_as_long_as_can_be",
        "training/test_replays.py::test_names_of_jobs_that_lead_elsewhere",
    ),
    "traversal: channels, file systems": ("training/test_service.py::test_refusals", "training/test_service.py::test_file_systems"),
    "traversal: manifests": ("agent/test_parts.py::test_manifest", "agent/test_parts.py::test_place_refuses"),
    "traversal: tar members": ("agent/test_script_mode.py::test_sources_that_are_refused",),
    "symlinks in model directories": (
        "agent/test_artifacts.py::test_links",
        "agent/test_artifacts.py::test_root_that_is_a_link",
        "agent/test_artifacts.py::test_what_is_no_file",
    ),
    "huge headers": ("training/test_connection.py::test_a_head_without_end_is_refused", f"{STRANGE}test_a_huge_head_is_refused"),
    "slow clients": (
        "training/test_connection.py::test_a_head_that_does_not_come_is_not_waited_for",
        f"{STRANGE}test_a_client_that_falls_silent_is_let_go",
        f"{STRANGE}test_a_client_that_takes_nothing_is_let_go",
        f"{STRANGE}test_a_slow_client_is_served",
    ),
    "oversized bodies": (f"{API}test_a_strange_request_gets_a_clean_error", "training/test_agents.py::test_a_body_that_is_too_large"),
    "more instances than any machine can be": ("training/test_operations.py::test_limits_that_are_refused",),
    "garbage": (f"{API}test_garbage_is_refused_by_the_server", f"{STRANGE}test_a_strange_request_gets_a_clean_error"),
    "1,000 uploads at once": (f"{STRANGE}test_a_thousand_at_once", f"{STRANGE}test_many_write_and_read_one_object"),
    "a full disk": (
        f"{STRANGE}test_a_full_disk_is_told",
        f"{FAULTS}input.py::test_a_disk_that_runs_full",
        f"{FAULTS}input.py::test_a_disk_that_is_full_for_a_while",
        "agent/test_spool.py::test_a_disk_without_room",
    ),
    "nothing leaks": (
        f"{STRANGE}test_nothing_stays_open",
        f"{STRANGE}test_a_client_that_breaks_off_leaves_nothing",
        f"{STRANGE}test_large_objects_pass_through_little_memory",
        f"{FAULTS}programs.py::test_dead_children_do_not_pile_up",
    ),
    "nothing is lost": (
        f"{STRANGE}test_killed_in_the_middle_of_a_put",
        f"{STRANGE}test_killed_while_an_object_is_put_together",
        "training/test_outputs.py::test_killed_at_any_point",
        f"{FAULTS}killed.py::test_after_a_power_failure",
    ),
    "an agent of an earlier attempt": ("agent/test_fencing.py::test_an_agent_that_was_cut_off_changes_nothing",),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_has_its_tests(attack: str) -> None:
    assert ATTACKS[attack]
    assert missing(ATTACKS[attack]) == []
