"""The topology keeps what the design promises, whatever else is changed in it."""

import pytest

from fleet.endings import REALTIME_LONGEST_S
from fleet.job import Tier
from fleet.subjects import job_stream
from fleet.topology import STREAMS, StreamSpec, durables

BY_NAME = {stream.name: stream for stream in STREAMS}
JOBS = [BY_NAME[job_stream(tier)] for tier in Tier]
BUCKETS = [stream for stream in STREAMS if stream.name.startswith("KV_")]
JETSTREAM_MIN_WINDOW_NS = 100_000_000


def test_every_stream_is_on_disk_readable_and_confirmed_after_the_write() -> None:
    for stream in STREAMS:
        config = stream.config()
        assert config["storage"] == "file", stream.name
        assert config["allow_direct"] is True, stream.name
        # A token stream is a courtesy, and its readers wait for the write.
        assert ("persist_mode" in config) == (stream.name == "TOKENS"), stream.name


@pytest.mark.parametrize("stream", JOBS, ids=lambda stream: stream.name)
def test_a_full_job_stream_refuses_new_jobs_and_drops_none(stream: StreamSpec) -> None:
    config = stream.config()
    assert config["retention"] == "workqueue"
    assert config["discard"] == "new"
    assert config["discard_new_per_subject"] is True
    assert stream.max_bytes > 0
    assert stream.queue_limit > 0


@pytest.mark.parametrize("stream", JOBS, ids=lambda stream: stream.name)
def test_equal_ids_of_two_tenants_meet_in_the_shortest_window_there_is(stream: StreamSpec) -> None:
    assert stream.config()["duplicate_window"] == JETSTREAM_MIN_WINDOW_NS


def test_no_job_is_dropped_before_it_was_told_its_end() -> None:
    assert [stream.max_age_s for stream in JOBS] == [2 * REALTIME_LONGEST_S, 0, 0]
    # A time to live of the producer's would delete a job without a word, even while it runs.
    assert not any(stream.message_ttl for stream in JOBS)


def test_a_batch_can_be_published_as_a_whole() -> None:
    assert [stream.atomic for stream in JOBS] == [False, False, True]


def test_buckets_keep_one_value_a_key() -> None:
    assert {bucket.name for bucket in BUCKETS} == {
        "KV_claims", "KV_nodes", "KV_batches", "KV_cancels", "KV_policy",
    }  # fmt: skip
    for bucket in BUCKETS:
        assert bucket.queue_limit == 1
        assert bucket.discard == "new"
        assert bucket.deny_delete
        assert bucket.message_ttl


def test_a_bucket_that_tenants_write_to_takes_no_rollup() -> None:
    assert {bucket.name for bucket in BUCKETS if not bucket.rollup} == {"KV_batches", "KV_cancels"}


def test_in_a_cluster_every_stream_is_kept_by_as_many_servers() -> None:
    for stream in STREAMS:
        config = stream.config(replicas=3)
        assert config["num_replicas"] == 3
        assert "persist_mode" not in config
        assert config["storage"] == ("memory" if stream.name == "TOKENS" else "file")


def test_the_end_of_a_node_leaves_a_marker_for_watchers() -> None:
    assert BY_NAME["KV_nodes"].marker_ttl_s >= 1


def test_only_stores_take_rollups() -> None:
    stores = [*BUCKETS, BY_NAME["OBJ_payloads"]]
    assert not any(stream.rollup for stream in STREAMS if stream not in stores)


def test_inputs_and_checkpoints_are_bounded_and_kept_as_long_as_results() -> None:
    payloads = BY_NAME["OBJ_payloads"]
    assert payloads.subjects == ("$O.payloads.C.>", "$O.payloads.M.>")
    assert payloads.max_bytes > 0
    assert payloads.max_age_s >= BY_NAME["RESULTS"].max_age_s


def test_claims_outlive_results() -> None:
    assert BY_NAME["KV_claims"].max_age_s > BY_NAME["RESULTS"].max_age_s


def test_only_the_background_tier_has_priorities() -> None:
    configs = {spec.name: spec.config() for spec in durables("smollm2", ack_wait_s=10)}
    assert configs["background_smollm2"]["priority_policy"] == "prioritized"
    assert configs["background_smollm2"]["priority_groups"] == ["g"]
    assert "priority_groups" not in configs["realtime_smollm2"]
    assert "priority_groups" not in configs["batch_smollm2"]


def test_a_durable_counts_no_deliveries_and_limits_no_leases() -> None:
    for spec in durables("smollm2", ack_wait_s=2.5):
        config = spec.config()
        assert config["ack_policy"] == "explicit"
        assert config["ack_wait"] == 2_500_000_000
        assert config["max_deliver"] == -1
        assert config["max_ack_pending"] == -1


def test_the_durables_of_a_model_are_one_a_tier_and_disjoint() -> None:
    filters = [spec.filter_subject for spec in durables("smollm2", ack_wait_s=10)]
    assert filters == [f"jobs.{tier}.smollm2.*" for tier in Tier]
