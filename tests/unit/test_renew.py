"""What goes along with a job that is published once more."""

from datetime import UTC, datetime

from fleet.renew import renewed


def test_headers_that_command_a_stream_stay_behind_and_foreign_ones_come_along() -> None:
    headers = renewed(
        {
            "Nats-Rollup": "all",
            "nats-ttl": "1",
            "Nats-Expected-Last-Sequence": "0",
            "Fleet-Job-Id": "old",
            "fleet-deadline": "old",
            "traceparent": "00-aa",
            "bad name": "x",
            "x-bad": "a\r\nNats-Rollup: all",
        },
        job="new",
        msg_id="again-1",
        batch="b",
        deadline=0.0,
        requeued_from="_.old",
    )
    assert headers == {
        "traceparent": "00-aa",
        "Fleet-Job-Id": "new",
        "Nats-Msg-Id": "again-1",
        "Fleet-Batch": "b",
        "Fleet-Deadline": datetime.fromtimestamp(0, UTC).isoformat(),
        "Fleet-Requeued-From": "_.old",
    }


def test_without_batch_and_deadline_a_job_gets_none_of_its_old_ones() -> None:
    old = {"Fleet-Batch": "b", "Fleet-Deadline": "2020-01-01T00:00:00Z"}
    headers = renewed(old, job="j", msg_id="m", batch=None, deadline=None)
    assert headers == {"Fleet-Job-Id": "j", "Nats-Msg-Id": "m"}
