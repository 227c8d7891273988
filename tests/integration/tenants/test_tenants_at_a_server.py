"""What `fleet tenant` declares counts at a server that runs, and stops to count in time."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.broker.connection import connect
from fleet.broker.context import find_target
from fleet.errors import ConnectionLost
from tests.asking import BOUND_S, eventually
from tests.integration.tenants.registers import served, tenant, variables, works


async def test_whoever_is_in_the_file_is_let_in(folder: Path, tmp_path: Path) -> None:
    with served(folder, tmp_path / "server") as server:
        for name in ("@operator", "@spot", "@dashboard", "acme"):
            assert await works(server, variables(folder, name)), name
        assert not await works(server, {})


async def test_a_tenant_comes_and_goes_while_the_server_runs(folder: Path, tmp_path: Path) -> None:
    with served(folder, tmp_path / "server") as server:
        pid_file = str(folder / "server.pid")
        added = tenant(folder, "add", "late", "--reload", pid_file)
        assert added.exit_code == 0, added.output
        late = variables(folder, "late")
        seed = (folder / "keys" / "late.nk").read_bytes()
        await eventually(lambda: works(server, late), "the tenant to be let in")
        assert tenant(folder, "remove", "late", "--reload", pid_file).exit_code == 0
        assert not (folder / "keys" / "late.nk").exists()
        kept = tmp_path / "kept.nk"
        kept.write_bytes(seed)

        async def refused() -> bool:
            return not await works(server, {"NATS_NKEY": str(kept)})

        await eventually(refused, "the tenant to be refused")


async def test_old_and_new_key_count_side_by_side_until_the_old_one_runs_out(
    folder: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.nk"
    old.write_bytes((folder / "keys" / "acme.nk").read_bytes())
    assert tenant(folder, "rotate", "acme", "--overlap", "1h").exit_code == 0
    with served(folder, tmp_path / "server") as server:
        assert await works(server, variables(folder, "acme"))
        assert await works(server, {"NATS_NKEY": str(old)})
        expire(folder, "acme")
        assert tenant(folder, "check").exit_code == 1
        assert tenant(folder, "apply", "--reload", str(folder / "server.pid")).exit_code == 0
        assert tenant(folder, "check").exit_code == 0

        async def refused() -> bool:
            return not await works(server, {"NATS_NKEY": str(old)})

        await eventually(refused, "the old key to be refused")
        assert await works(server, variables(folder, "acme"))


async def test_a_key_that_leaked_is_shut_out_at_once(folder: Path, tmp_path: Path) -> None:
    leaked = tmp_path / "leaked.nk"
    leaked.write_bytes((folder / "keys" / "@spot.nk").read_bytes())
    with served(folder, tmp_path / "server") as server:
        target = find_target(server.url, {"NATS_NKEY": str(leaked)})
        with pytest.raises(ConnectionLost):
            async with connect(target, name="t") as thief:
                pid_file = str(folder / "server.pid")
                done = tenant(folder, "rotate", "@spot", "--overlap", "0s", "--reload", pid_file)
                assert done.exit_code == 0, done.output
                await thief.closed()
        assert await works(server, variables(folder, "@spot"))


def expire(folder: Path, name: str) -> None:
    """Let the old keys of a tenant have run out a moment ago."""
    file = folder / "tenants.json"
    register = json.loads(file.read_bytes())
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for key in register["tenants"][name]["keys"][1:]:
        key["until"] = past
    file.write_text(json.dumps(register))


async def test_a_context_is_what_fleet_and_nats_connect_with(folder: Path, tmp_path: Path) -> None:
    with served(folder, tmp_path / "server") as server:
        for name in ("@dashboard", "acme"):
            printed = tenant(folder, "context", name, "--url", server.url)
            place = tmp_path / "config" / "nats" / "context"
            place.mkdir(parents=True, exist_ok=True)
            (place / "mine.json").write_text(printed.output)
            env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "NATS_CONTEXT": "mine"}
            target = find_target(None, env)
            assert target.inbox_prefix == ("_INBOX_dashboard" if name == "@dashboard" else None)
            async with connect(target, name="t") as connection:
                assert connection.connected


def test_a_server_that_missed_a_change_is_named(folder: Path, tmp_path: Path) -> None:
    with served(folder, tmp_path / "server") as server:
        check = ["check", "--servers", "--nats", server.url]
        assert tenant(folder, *check).exit_code == 0
        assert tenant(folder, "rotate", "acme").exit_code == 0
        behind = tenant(folder, *check)
        assert behind.exit_code == 1
        assert "has another register in force" in behind.output
        assert tenant(folder, "apply", "--reload", str(folder / "server.pid")).exit_code == 0
        # It reads the file in its own time.
        give_up = time.monotonic() + BOUND_S
        while (told := tenant(folder, *check)).exit_code:
            assert time.monotonic() < give_up, told.output
            time.sleep(0.05)  # nobody tells when it has read it
