"""An EC2 to talk to: moto's server as a child process of the tests."""

import functools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.ports import free_port

START_S = 60.0
STOP_S = 10.0
REGION = "us-east-1"
TEMPLATE = "overbook-nodes"
LOGIN = {"aws_access_key_id": "fleet-tests", "aws_secret_access_key": "not-a-secret"}


class Moto(NamedTuple):
    """A running server. subnets: one for each of three zones."""

    endpoint: str
    subnets: dict[str, str]


@contextmanager
def moto_server(folder: Path) -> Iterator[Moto]:
    """Run a server on loopback, with a launch template in it."""
    port = free_port()
    log = folder / "moto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=output,
        )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait(port, process, log)
        yield Moto(endpoint, _furnish(ec2_client(endpoint)))
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def ec2_client(endpoint: str | None = None) -> Any:
    """Make a client that asks once."""
    # Here, for every test run imports this module, and few of them use it.
    from botocore.client import Config  # noqa: PLC0415 - slow, and few tests need it

    return _session().client(
        "ec2",
        endpoint_url=endpoint,
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )


@functools.cache
def _session() -> Any:
    """One for all, for it takes a second to read what EC2 can do."""
    import boto3  # noqa: PLC0415 - slow, and few tests need it

    return boto3.session.Session(**LOGIN)


def _furnish(ec2: Any) -> dict[str, str]:
    ec2.create_launch_template(
        LaunchTemplateName=TEMPLATE,
        LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "g6.xlarge"},
    )
    subnets = {
        one["AvailabilityZone"]: one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]
    }
    return {zone: subnets[zone] for zone in sorted(subnets)[:3]}


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)  # nobody tells when it listens
        else:
            return
    raise RuntimeError(f"moto's server did not start:\n{log.read_text(errors='replace')[-2000:]}")
