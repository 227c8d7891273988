"""What `fleet doctor` says of the blob stores: each failure with its remedy."""

import pytest

from fleet.blobs.s3 import S3
from fleet.cli.store_checks import Usage, check_objects, check_s3
from tests.contract.conftest import at
from tests.contract.s3_line import line_to
from tests.seaweed import Seaweed

pytestmark = pytest.mark.usefixtures("credentials")


@pytest.mark.parametrize(
    ("usage", "state"),
    [
        (Usage(0, 100), "ok"),
        (Usage(90, 100), "ok"),
        (Usage(91, 100), "failed"),
        (Usage(10**12, 0), "ok"),
        (Usage(10**12, -1), "ok"),
        (None, "unknown"),
    ],
)
def test_an_object_store_that_is_nearly_full_fails(usage: Usage | None, state: str) -> None:
    check = check_objects(usage)
    assert check.state == state
    assert bool(check.remedy) == (state != "ok")


async def test_a_store_that_answers_is_fit(s3_server: Seaweed) -> None:
    check = await check_s3(S3(at(s3_server.endpoint)))
    assert (check.name, check.state) == ("s3", "ok")
    assert "s3://fleet-tests/a/b/" in check.detail


@pytest.mark.parametrize("status", [403, 503])
async def test_a_store_that_refuses_or_is_down_fails(s3_server: Seaweed, status: int) -> None:
    async with line_to(s3_server.endpoint) as line:
        line.usual = status
        check = await check_s3(S3(at(line.endpoint), backoff_s=0.01))
    assert check.state == "failed"
    assert "FLEET_S3_" in check.remedy


async def test_a_bucket_that_is_not_there_fails(s3_server: Seaweed) -> None:
    check = await check_s3(S3(at(s3_server.endpoint, bucket="no-such-bucket")))
    assert check.state == "failed"
    assert "NoSuchBucket" in check.detail
