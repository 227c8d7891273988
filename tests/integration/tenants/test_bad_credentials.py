"""Credentials and certificates that are wrong, too old or too new: refused, with the remedy."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fleet.broker.connection import connect
from fleet.broker.context import find_target
from fleet.errors import BrokerRefused, BrokerUnreachable, ConnectionLost
from fleet.tenancy.register import Register, without_tenant
from fleet.tenancy.render import render
from tests.asking import eventually
from tests.certificates import DAY, Authority, Files
from tests.jwts import Issuer
from tests.server import NatsServer, nats_server
from tests.tenants import connected_as, register, server_with_accounts


async def test_a_strangers_key_is_refused(tmp_path: Path) -> None:
    with server_with_accounts(tmp_path / "server") as server:
        with pytest.raises(BrokerRefused, match="refused the credentials"):
            async with connected_as("stranger", server.url, tmp_path):
                pass
        with pytest.raises(BrokerRefused, match="refused the credentials"):
            async with connect(find_target(server.url, {}), name="nobody"):
                pass


async def test_a_removed_tenant_is_cut_off_and_refused(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    with server_with_accounts(folder) as server:
        with pytest.raises(ConnectionLost):
            async with connected_as("acme", server.url, tmp_path) as acme:
                put_in_force(folder, server, without_tenant(register(), "acme"))
                await acme.closed()
        with pytest.raises(BrokerRefused, match="refused the credentials"):
            async with connected_as("acme", server.url, tmp_path):
                pass
        async with connected_as("beta", server.url, tmp_path) as beta:
            assert beta.connected


async def test_half_a_configuration_changes_nothing_at_a_running_server(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    with server_with_accounts(folder) as server:
        async with connected_as("acme", server.url, tmp_path) as acme:
            whole = (folder / "nats.conf").read_text()
            (folder / "nats.conf").write_text(whole[: len(whole) // 2])
            os.kill(server.process.pid, signal.SIGHUP)

            async def noticed() -> bool:
                return "Failed to reload" in (folder / "nats.log").read_text()

            await eventually(noticed, "the refusal in the server's log")
            async with connected_as("beta", server.url, tmp_path) as beta:
                assert acme.connected
                assert beta.connected


def test_a_server_does_not_start_on_half_a_configuration(tmp_path: Path) -> None:
    whole = render(register())
    with (
        pytest.raises(RuntimeError, match="did not start"),
        nats_server(tmp_path, config=whole[: len(whole) // 2]),
    ):
        pass


async def test_a_token_that_has_run_out_is_refused(tmp_path: Path) -> None:
    issuer = Issuer()
    late = issuer.creds(tmp_path / "late.creds", lasts_s=-1)
    good = issuer.creds(tmp_path / "good.creds", lasts_s=3600)
    with nats_server(tmp_path / "server", config=issuer.config()) as server:
        async with connect(find_target(server.url, {"NATS_CREDS": str(good)}), name="t") as broker:
            assert broker.connected
        with pytest.raises(BrokerRefused, match=r"refused the credentials.*creds"):
            async with connect(find_target(server.url, {"NATS_CREDS": str(late)}), name="t"):
                pass


async def test_a_token_that_runs_out_ends_the_connection(tmp_path: Path) -> None:
    issuer = Issuer()
    with nats_server(tmp_path / "server", config=issuer.config()) as server:
        # Written last, so that it has not run out before it was used.
        brief = issuer.creds(tmp_path / "brief.creds", lasts_s=4)
        target = find_target(server.url, {"NATS_CREDS": str(brief)})
        with pytest.raises(ConnectionLost):
            async with connect(target, name="t") as broker:
                await broker.closed()


def encrypted(files: Files) -> str:
    return f'tls {{ cert_file: "{files.cert}", key_file: "{files.key}" }}'


MISTAKES: list[tuple[str, Callable[[Authority], Files], str]] = [
    ("of a clock that is behind", lambda a: a.certificate("s", begins=DAY, ends=2 * DAY),
     r"not yet valid.*this machine's clock"),
    ("that has expired", lambda a: a.certificate("s", ends=-timedelta(hours=1)),
     r"expired.*the certificate's dates"),
    ("of another place", lambda a: a.certificate("s", address="192.0.2.1"),
     r"mismatch.*dates and names"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "make", "told"), MISTAKES, ids=[one[0] for one in MISTAKES])
async def test_a_certificate_is_refused(
    tmp_path: Path, what: str, make: Callable[[Authority], Files], told: str
) -> None:
    authority = Authority(tmp_path)
    with nats_server(tmp_path / "server", config=encrypted(make(authority))) as server:
        target = find_target(server.url, {"NATS_CA": str(authority.file)})
        with pytest.raises(BrokerUnreachable, match=f"(?i){told}"):
            async with connect(target, name="t", wait_s=2.0):
                pass


async def test_another_authoritys_certificate_is_refused(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    with nats_server(tmp_path / "server", config=encrypted(ours.certificate("s"))) as server:
        target = find_target(server.url, {"NATS_CA": str(theirs.file)})
        with pytest.raises(BrokerUnreachable, match=r"(?i)verify failed.*NATS_CA"):
            async with connect(target, name="t", wait_s=2.0):
                pass


async def test_nothing_is_said_to_a_server_without_encryption(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with nats_server(tmp_path / "server") as server:
        target = find_target(server.url, {"NATS_CA": str(authority.file)})
        with pytest.raises(BrokerUnreachable, match="turn TLS on at the server"):
            async with connect(target, name="t", wait_s=2.0):
                pass


def put_in_force(folder: Path, server: NatsServer, wanted: Register) -> None:
    """Have a server read another register's accounts."""
    file = folder / "nats.conf"
    whole = file.read_text()
    file.write_text(whole.replace(render(register()), render(wanted)))
    os.kill(server.process.pid, signal.SIGHUP)
