"""Logging in with keys, and encrypted connections."""

import asyncio
import signal
import subprocess
from pathlib import Path

import msgspec
import nkeys
import pytest

from fleet.broker import dial
from fleet.broker.connection import connect
from fleet.broker.context import find_target
from fleet.errors import BrokerRefused, BrokerUnreachable, UsageError
from tests.server import nats_server
from tests.tools import requires_tool


def seed(number: int) -> bytes:
    """Make the seed of a user's key."""
    return bytes(nkeys.encode_seed(bytes([number]) * 32, nkeys.PREFIX_BYTE_USER))


async def test_a_seed_file_logs_in_and_another_one_does_not(tmp_path: Path) -> None:
    public = nkeys.from_seed(bytearray(seed(1))).public_key.decode()
    mine, other = tmp_path / "mine.nk", tmp_path / "other.nk"
    mine.write_bytes(seed(1) + b"\n")
    other.write_bytes(seed(2))
    config = f"authorization {{ users = [ {{ nkey: {public} }} ] }}"
    with nats_server(tmp_path / "server", config=config) as server:
        async with connect(find_target(server.url, {"NATS_NKEY": str(mine)}), name="t") as broker:
            assert await broker.api("INFO")
        with pytest.raises(BrokerRefused, match="refused the credentials"):
            async with connect(find_target(server.url, {"NATS_NKEY": str(other)}), name="t"):
                pass


@pytest.mark.parametrize("variable", ["NATS_NKEY", "NATS_CREDS"])
@pytest.mark.parametrize("text", ["", "SUxyz", "-----BEGIN USER NKEY SEED-----\nSUAAA\n"])
async def test_a_file_without_a_key_is_named(tmp_path: Path, variable: str, text: str) -> None:
    file = tmp_path / "a.key"
    file.write_text(text)
    target = find_target("nats://127.0.0.1:1", {variable: str(file)})
    with pytest.raises(UsageError, match=r"a\.key cannot be used to log in"):
        async with connect(target, name="t"):
            pass


async def test_a_creds_file_without_a_token_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.creds"
    file.write_bytes(b"-----BEGIN USER NKEY SEED-----\n" + seed(1))
    with pytest.raises(UsageError, match=r"a\.creds has no BEGIN NATS USER JWT"):
        async with connect(find_target("nats://h", {"NATS_CREDS": str(file)}), name="t"):
            pass


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            requires_tool("openssl"), "req", "-x509", "-newkey", "ec",
            "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(cert),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_an_encrypted_connection_checks_the_server(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    config = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}'
    with nats_server(tmp_path / "server", config=config) as server:
        url = server.url.replace("nats://", "tls://")
        async with connect(find_target(url, {"NATS_CA": str(cert)}), name="t") as broker:
            assert await broker.api("INFO")
        with pytest.raises(BrokerUnreachable, match=r"(?i)certificate verify failed"):
            async with connect(find_target(url, {}), name="t", wait_s=2.0):
                pass
    with pytest.raises(UsageError, match=r"key\.pem"):
        async with connect(find_target(url, {"NATS_CA": str(key)}), name="t"):
            pass


async def test_a_frozen_server_is_left_within_seconds_although_it_closes_nothing(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "PING_S", 0.3)
    cert, key = certificate
    config = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}'
    with (
        nats_server(tmp_path / "one", config=config) as one,
        nats_server(tmp_path / "two", config=config) as two,
    ):
        target = find_target(one.url.replace("nats://", "tls://"), {"NATS_CA": str(cert)})
        both = (*target.servers, two.url.replace("nats://", "tls://"))
        back = asyncio.Event()
        async with connect(msgspec.structs.replace(target, servers=both), name="t") as broker:
            broker.on_reconnect(back.set)
            connected_to = broker._client.connected_url  # noqa: SLF001 - which of the two
            assert connected_to is not None
            frozen = one if connected_to.port == one.port else two
            frozen.process.send_signal(signal.SIGSTOP)
            try:
                async with asyncio.timeout(60):
                    await back.wait()
                assert await broker.api("INFO")
            finally:
                frozen.process.send_signal(signal.SIGCONT)
