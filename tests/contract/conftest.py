"""Whoever stands behind a protocol: blob stores (JetStream's, a real S3, moto's), and an EC2."""

from collections.abc import AsyncIterator, Iterator

import boto3
import pytest
from moto import mock_aws

from fleet.blobs.s3 import S3, S3Config
from fleet.blobs.store import BlobStore
from fleet.broker.objects import Objects
from fleet.broker.provision import provision
from tests.integration.brokers import connected
from tests.moto import Moto, moto_server
from tests.seaweed import BUCKET


@pytest.fixture(params=["objects", "seaweed", "moto"])
async def store(request: pytest.FixtureRequest, credentials: None) -> AsyncIterator[BlobStore]:
    match request.param:
        case "objects":
            async with connected(request.getfixturevalue("nats_url")) as connection:
                await provision(connection, [])
                yield Objects(connection)
        case "seaweed":
            endpoint = request.getfixturevalue("s3_server").endpoint
            yield S3(at(endpoint), backoff_s=0.01)
        case _:
            with mock_aws():
                boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
                yield S3(S3Config(bucket=BUCKET, prefix="a/b", region="us-east-1"))


def at(endpoint: str, *, bucket: str = BUCKET) -> S3Config:
    return S3Config(bucket=bucket, prefix="a/b", endpoint=endpoint, region="us-east-1")


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """Something that answers as EC2 does, one for the whole session."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server
