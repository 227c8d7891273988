"""What answers in JetStream's place may be anything."""

import pytest

from fleet.broker.answers import ApiError, read_answer, read_receipt
from fleet.errors import BrokerRefused

STRANGE = [b"", b"x", b"[]", b"\xff", b"[" * 100_000, b'{"error": 5}', b'{"error": {"code": "no"}}']


@pytest.mark.parametrize("payload", STRANGE)
def test_an_answer_of_another_shape_is_refused(payload: bytes) -> None:
    for read in (read_answer, read_receipt):
        with pytest.raises(BrokerRefused, match="is not JetStream's") as refusal:
            read("STREAM.INFO.X", payload)
        assert not isinstance(refusal.value, ApiError)


def test_a_refusal_keeps_its_numbers() -> None:
    error = b'{"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}'
    with pytest.raises(ApiError, match="stream not found") as refusal:
        read_answer("STREAM.INFO.X", error)
    assert (refusal.value.code, refusal.value.err_code) == (404, 10059)
