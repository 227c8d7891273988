"""A real S3 as a child process of the tests: SeaweedFS, all of it in one process."""

import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.ports import free_port

START_S = 60.0
# It takes its time to end.
STOP_S = 30.0
LOGIN = {"AWS_ACCESS_KEY_ID": "fleet-tests", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
BUCKET = "fleet-tests"
S3 = "s3.port"
PORTS = (S3, "master.port", "volume.port", "filer.port", "admin.port")


class Seaweed(NamedTuple):
    """A running store: its endpoint, and its process."""

    endpoint: str
    process: subprocess.Popen[bytes]


@contextmanager
def seaweed(folder: Path) -> Iterator[Seaweed]:
    """Run a store whose data lie in `folder`, on loopback only."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [*PORTS, *(f"{name}.grpc" for name in PORTS)]
    ports = {name: free_port() for name in names}
    binary = Path(sysconfig.get_path("scripts"), "weed")
    args = ["mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
    args += [f"-{name}={port}" for name, port in ports.items()]
    args += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binary, *args], env={**os.environ, **LOGIN}, stdout=output, stderr=output
        )
    try:
        endpoint = f"http://127.0.0.1:{ports[S3]}"
        _wait(endpoint, process, log)
        yield Seaweed(endpoint, process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def _wait(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the bucket is there, which is later than that somebody answers."""
    # Here, for every test run imports this module, and few of them use it.
    import boto3  # noqa: PLC0415
    from botocore.client import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=LOGIN["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=LOGIN["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5),
    )
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            client.head_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-2000:]}")
