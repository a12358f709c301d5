"""Every row of the reference's §1, the container's contract, with the tests that hold us to it.

A row without a test says why there is none: mostly because nobody knows what it should be, or because it is another
service's. The names of tests are checked, so that a row cannot point to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.proofs import missing


@dataclass(frozen=True)
class Row:
    """A row: its section, what it says, and the tests `file::name` below `tests/`, or why there are none."""

    section: str
    what: str
    tests: tuple[str, ...] = ()
    reason: str = ""


def row(section: str, what: str, *tests: str) -> Row:
    return Row(section, what, tests)


def without(section: str, what: str, reason: str) -> Row:
    return Row(section, what, (), reason)


PARTS = "agent/test_parts.py"
HOST = "agent/test_host.py"
HOSTS = "agent/test_hosts.py"
DATA = "agent/test_data.py"
PIPES = "agent/test_pipes.py"
STREAMS = "agent/test_streams.py"
SCRIPT = "agent/test_script_mode.py"
NETWORK = "agent/test_network.py"
MACHINE = "training/test_job.py"
SERVICE = "training/test_service.py"
OPERATIONS = "training/test_operations.py"
SANDBOX = "contracts/test_sandbox.py"

ROWS = [
    # 1.1 Layout
    row("1.1", "input/config/hyperparameters.json: a flat map, {} when none", f"{PARTS}::test_files_byte_for_byte"),
    row("1.1", "input/config/inputdataconfig.json", f"{PARTS}::test_files_byte_for_byte", f"{PARTS}::test_files_of_a_fuller_job"),
    row("1.1", "input/config/resourceconfig.json", f"{PARTS}::test_files_byte_for_byte", f"{PARTS}::test_instance_groups"),
    without("1.1", "init-config.json", "its form of 2020 is known, that of 2022 has other bytes, and no container reads it"),
    row("1.1", "metric-definition-regex.json is {} without metrics", f"{PARTS}::test_files_byte_for_byte"),
    row("1.1", "debughookconfig, profilerconfig, tensorboardoutputconfig", f"{PARTS}::test_files_of_the_debugger"),
    without("1.1", "upstreamoutputdataconfig, trainingjobconfig", "jobs since 2022 have them no more"),
    row("1.1", "checkpointconfig.json, only with CheckpointConfig", f"{PARTS}::test_files_of_a_fuller_job"),
    row("1.1", "input/data/<channel>/: File and FastFile data", f"{HOST}::test_happy_path", f"{DATA}::test_fast_file"),
    row("1.1", "input/data/<channel>_<epoch>: FIFOs of Pipe mode", f"{DATA}::test_pipe", f"{PIPES}::test_epoch_after_epoch"),
    row("1.1", "input/data/<channel>-manifest", f"{PARTS}::test_a_manifest_beside_a_channel", f"{DATA}::test_manifests_beside_channels"),
    row("1.1", "model/ becomes model.tar.gz", f"{HOST}::test_happy_path"),
    row("1.1", "output/data/ becomes output.tar.gz", f"{HOST}::test_happy_path"),
    row("1.1", "output/failure: the first 1024 characters are the FailureReason", f"{PARTS}::test_failure_file", f"{HOST}::test_failing_program"),
    row("1.1", "output/success is the toolkit's", f"{SCRIPT}::test_script"),
    row("1.1", "output/metrics/sagemaker, named by SAGEMAKER_METRICS_DIRECTORY", f"{PARTS}::test_environment"),
    row("1.1", "output/tensors, tensorboard: go to S3 as they are written", f"{DATA}::test_what_the_debugger_keeps"),
    without("1.1", "output/profiler", "nobody profiles here, and the log of the job says so"),
    without("1.1", "output/intermediate", "the toolkit's own, not the platform's"),
    row("1.1", "checkpoints/, or CheckpointConfig.LocalPath: two-way", f"{DATA}::test_checkpoints_both_ways", f"{DATA}::test_checkpoints_elsewhere"),
    row("1.1", "code: unpacked sourcedir.tar.gz", f"{SCRIPT}::test_script", f"{SCRIPT}::test_source_in_a_channel", f"{SCRIPT}::test_sources_that_are_refused"),
    without("1.1", "errors", "seen once; nobody knows what it is"),
    row("1.1", "what an image has in /opt/ml is hidden; the rest of /opt is not", f"{SANDBOX}::test_namespace_sees_its_own"),
    # 1.2 How the container is started
    row("1.2", "by default the word train takes the place of CMD", "training/test_images.py::test_how_a_container_is_started"),
    row("1.2", "ContainerEntrypoint, ContainerArguments, and both", "training/test_images.py::test_how_a_container_is_started"),
    row("1.2", "limits of lists and items", "aws/test_shapes_walk.py::test_every_constraint_is_kept"),
    row("1.2", "exit 0 is Completed, anything else Failed", f"{HOST}::test_happy_path", f"{HOST}::test_failing_program", f"{SANDBOX}::test_exit_code"),
    # 1.3 Exact configuration files
    row("1.3", "compact JSON in this key order: 107 and 280 bytes", f"{PARTS}::test_files_byte_for_byte"),
    row("1.3", "ContentType only when given, and first; the container's own names of keys", f"{PARTS}::test_files_of_a_fuller_job"),
    row("1.3", "hosts are sorted as strings", f"{PARTS}::test_files_of_a_fuller_job", "training/test_hosts.py::test_names"),
    row("1.3", "network_interface_name is eth0, and there is one", f"{PARTS}::test_files_byte_for_byte", f"{HOSTS}::test_one_port_on_two_hosts"),
    without("1.3", "topology", "optional and new; its values are those of AWS's own racks"),
    row("1.3", "current_group_name", f"{PARTS}::test_instance_groups", f"{HOSTS}::test_groups"),
    row("1.3", "hosts are really called algo-1 to algo-N; /opt/ml/input is writable", f"{HOSTS}::test_all_reduce", f"{SANDBOX}::test_namespace_sees_its_own"),
    # 1.4 Environment variables
    row("1.4", "TRAINING_JOB_NAME, TRAINING_JOB_ARN, the request's Environment", f"{PARTS}::test_environment"),
    row("1.4", "AWS_REGION, SAGEMAKER_METRICS_DIRECTORY", f"{PARTS}::test_environment"),
    row("1.4", "NVIDIA_VISIBLE_DEVICES: void on CPU instances, else the host's own", f"{PARTS}::test_environment", "launchers/test_machine.py::test_gpu_variables", "training/test_hosts.py::test_gpus_of_hosts"),
    without("1.4", "ECS metadata and credentials URIs, AWS_EXECUTION_ENV, DMLC_INTERFACE, HOSTNAME of EC2", "of Amazon's machines; credentials come as variables here"),
    row("1.4", "credentials and the service's address; S3_ENDPOINT_URL for the toolkit", f"{HOSTS}::test_reach", f"{NETWORK}::test_endpoints", "end_to_end/test_hosts.py::test_two_hosts_reach_each_other_and_the_service"),
    row("1.4", "SM_*: set by the toolkit, so in script mode only", f"{SCRIPT}::test_script", f"{SCRIPT}::test_distributed"),
    row("1.4", "an image of its own gets no SM_*", f"{PARTS}::test_environment"),
    # 1.5 Hyperparameters and limits
    row("1.5", "at most 100, key 256, value 2500; Environment and Tags likewise", "aws/test_shapes_walk.py::test_every_constraint_is_kept"),
    row("1.5", "values are strings; the toolkit reads each as JSON or as it is", f"{SCRIPT}::test_script"),
    # 1.6 Input data
    row("1.6", "a channel's InputMode overrides TrainingInputMode", f"{PARTS}::test_files_of_a_fuller_job"),
    row("1.6", "S3Prefix: where files go", f"{PARTS}::test_place", f"{PARTS}::test_place_refuses"),
    row("1.6", "ManifestFile", f"{PARTS}::test_manifest", f"{STREAMS}::test_plan"),
    row("1.6", "AugmentedManifestFile: Pipe only, attributes in order, -ref streamed, others as JSON", f"{STREAMS}::test_augmented_manifest", f"{STREAMS}::test_augmented_manifest_that_is_wrong", f"{SERVICE}::test_refusals"),
    row("1.6", "RecordIO framing; each object or attribute one record", f"{STREAMS}::test_records", f"{STREAMS}::test_augmented_manifest"),
    row("1.6", "ShardedByS3Key; InstanceGroupNames", f"{PARTS}::test_sharded", f"{STREAMS}::test_shares", f"{HOSTS}::test_groups"),
    row("1.6", "CompressionType Gzip: Pipe only, decompressed", f"{STREAMS}::test_gzip", f"{STREAMS}::test_gzip_that_is_none", f"{SERVICE}::test_refusals"),
    row("1.6", "RecordWrapperType: Pipe only", f"{STREAMS}::test_records", f"{SERVICE}::test_refusals"),
    row("1.6", "ShuffleConfig: every epoch anew, reshuffled across hosts", f"{STREAMS}::test_shuffled_anew_in_each_epoch", f"{STREAMS}::test_augmented_manifest_shuffled_and_sharded"),
    row("1.6", "Pipe: the next FIFO after the end or an early close", f"{PIPES}::test_epoch_after_epoch", f"{PIPES}::test_early_close"),
    row("1.6", "Pipe: data larger than memory", f"{STREAMS}::test_nothing_is_held_whole"),
    row("1.6", "FastFile: a read-only view", f"{DATA}::test_fast_file", f"{DATA}::test_fast_file_that_cannot_be_shown"),
    row("1.6", "FastFile: no partial prefixes, with AWS's text", f"{DATA}::test_fast_file_prefixes"),
    row("1.6", "EFS and FSx: File mode, rw or ro", f"{DATA}::test_file_systems", f"{DATA}::test_file_systems_that_cannot_be_had", f"{SERVICE}::test_file_systems", f"{SERVICE}::test_refusals"),
    row("1.6", "no matching objects: CreateTrainingJob is refused", f"{SERVICE}::test_refusals"),
    # 1.7 Output
    row("1.7", "<S3OutputPath>/<job>/output/model.tar.gz and output.tar.gz", f"{HOST}::test_happy_path"),
    row("1.7", "CompressionType NONE", f"{HOST}::test_plain_files_as_output", "training/test_outputs.py::test_plain_files"),
    row("1.7", "members without a leading directory", "agent/test_artifacts.py::test_members_are_relative_and_sorted"),
    row("1.7", "several hosts: one archive", "training/test_outputs.py::test_archives", f"{HOSTS}::test_all_reduce"),
    row("1.7", "no model on failure, one on Stop and MaxRuntime", f"{HOST}::test_failing_program", f"{HOST}::test_stop_while_training", f"{HOST}::test_max_runtime", f"{MACHINE}::test_a_job_that_fails_has_no_model"),
    row("1.7", "S3ModelArtifacts is there from the start", f"{SERVICE}::test_where_the_model_is"),
    # 1.8 Checkpoints
    row("1.8", "restored on every host before the start", f"{DATA}::test_checkpoints_both_ways", f"{HOSTS}::test_spot"),
    row("1.8", "uploaded while it runs, deletions too; others' objects are not brought", f"{DATA}::test_checkpoints_both_ways", f"{DATA}::test_a_file_that_is_being_written_waits"),
    row("1.8", "no suffix for hosts; they stay after the end", f"{HOSTS}::test_spot"),
    row("1.8", "what goes wrong is told as it is", f"{DATA}::test_checkpoints_that_cannot_be_kept"),
    # 1.9 Stop, limits, retries
    row("1.9", "Stop: SIGTERM to all, 120 s, SIGKILL; artifacts are kept", f"{HOST}::test_stop_while_training", f"{HOST}::test_stop_of_a_program_that_will_not", f"{SANDBOX}::test_terminate_reaches_everybody"),
    row("1.9", "MaxRuntimeInSeconds ends Stopped/MaxRuntimeExceeded, all attempts together", f"{HOST}::test_max_runtime", f"{MACHINE}::test_attempts_share_the_maximum_runtime"),
    row("1.9", "MaxWaitTimeInSeconds: spot only, at least MaxRuntime", f"{MACHINE}::test_limits_on_waiting", f"{OPERATIONS}::test_limits_that_are_refused"),
    row("1.9", "MaxPendingTimeInSeconds", f"{MACHINE}::test_limits_on_waiting", f"{OPERATIONS}::test_limits_that_are_refused"),
    row("1.9", "RetryStrategy: InternalServerError only", f"{OPERATIONS}::test_a_fault_of_the_platform_is_retried", f"{OPERATIONS}::test_a_fault_of_the_program_is_not_retried"),
    row("1.9", "spot: Training, Interrupted, Starting, … Training", f"{HOSTS}::test_spot", f"{MACHINE}::test_an_interrupted_job_begins_again_from_its_checkpoints", f"{DATA}::test_interruption"),
    row("1.9", "training time is the sum of the attempts", f"{MACHINE}::test_training_time_is_the_sum_of_the_attempts"),
    row("1.9", "warm pools: taken, and Terminated at once", f"{OPERATIONS}::test_a_warm_pool_is_gone_at_once"),
    # 1.10 Several instances
    row("1.10", "algo-1 to algo-N resolve; a collective works", f"{HOSTS}::test_all_reduce"),
    row("1.10", "each its own network, without root too: two hosts bind one port", f"{HOSTS}::test_one_port_on_two_hosts", f"{NETWORK}::test_who_may_make_none_has_them_all_the_same"),
    row("1.10", "EnableNetworkIsolation: the other hosts, and nothing else", f"{HOSTS}::test_reach", f"{SANDBOX}::test_namespace_without_network"),
    row("1.10", "heterogeneous groups", f"{HOSTS}::test_groups", "training/test_hosts.py::test_groups"),
    row("1.10", "InstancePreferences", "training/test_supervisor.py::test_the_first_preference_that_there_is_room_for", f"{SERVICE}::test_preferences_that_all_need_what_is_absent", f"{SERVICE}::test_refusals"),
    row("1.10", "all start or none; the first failure stops the others", f"{HOSTS}::test_data_that_is_missing_on_one_host_starts_none", f"{HOSTS}::test_the_first_failure_stops_the_others"),
    # 1.11 Metrics
    row("1.11", "group 1, the last value, float32, whole seconds", f"{PARTS}::test_metrics", f"{PARTS}::test_metrics_that_look_around", f"{SERVICE}::test_the_end_of_a_job_as_described"),
    # 1.12 FailureReason
    row("1.12", "AlgorithmError: , exit code: 1", f"{PARTS}::test_algorithm_error", f"{HOST}::test_failing_program"),
    row("1.12", "AlgorithmError: <file text>, exit code: 1", f"{PARTS}::test_algorithm_error", f"{HOST}::test_failing_program"),
    row("1.12", "the toolkit's script failure; exit code 1", f"{SCRIPT}::test_script_that_fails"),
    row("1.12", "ClientError: Data download failed:…", f"{HOST}::test_data_that_cannot_come", f"{DATA}::test_pipe_whose_data_breaks"),
    without("1.12", "CapacityError", "a machine that is full makes jobs wait; one that is too small is ResourceLimitExceeded"),
    row("1.12", "InternalServerError: the platform's fault", f"{MACHINE}::test_a_launch_that_fails_is_an_internal_error"),
    row("1.12", "killed for its memory: the reason says so", f"{DATA}::test_memory"),
    row("1.12", "at most 1024 characters, the last lines of the log within them", f"{PARTS}::test_algorithm_error_fits", f"{PARTS}::test_a_traceback_is_not_lost", f"{MACHINE}::test_a_reason_has_at_most_1024_characters"),
]  # fmt: skip


@pytest.mark.parametrize("each", ROWS, ids=lambda each: f"{each.section} {each.what}")
def test_row(each: Row) -> None:
    """A row names tests that are there, or the reason why there are none."""
    assert bool(each.tests) != bool(each.reason)
    assert missing(each.tests) == []


def test_every_section_is_there() -> None:
    assert {each.section for each in ROWS} == {f"1.{number}" for number in range(1, 13)}
