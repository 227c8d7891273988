"""`fleet tenant`: one file says who there is, and what is made of it is whole or as it was."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.broker.connection import connect
from fleet.broker.context import find_target
from fleet.cli.tenant import command
from fleet.cli.tenant_files import opened
from fleet.errors import (
    BrokerRefused,
    ConnectionLost,
    FleetError,
    JobRejected,
    NotFound,
    UsageError,
)
from fleet.tenancy.keys import new_key
from fleet.tenancy.register import read_register
from tests.asking import eventually
from tests.server import NatsServer, nats_server


def tenant(folder: Path, *args: str) -> Result:
    """Run a command; its error, if it is one of ours, is in `exception`."""
    return CliRunner().invoke(command, [args[0], "--dir", str(folder), *args[1:]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "register"
    assert tenant(place, "init").exit_code == 0
    assert tenant(place, "add", "acme").exit_code == 0
    return place


def files(folder: Path) -> dict[str, bytes]:
    """Read all that is there."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@contextmanager
def served(folder: Path, at: Path) -> Iterator[NatsServer]:
    config = f'include "{os.path.relpath(folder / "accounts.conf", at)}"'
    pid_file = f'pid_file: "{folder / "server.pid"}"'
    with nats_server(at, config=f"{config}\n{pid_file}") as server:
        yield server


def variables(folder: Path, name: str) -> dict[str, str]:
    """Read the variables that the command wrote for somebody."""
    lines = (folder / "keys" / f"{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


async def works(server: NatsServer, env: dict[str, str]) -> bool:
    try:
        async with connect(find_target(server.url, env), name="t"):
            return True
    except BrokerRefused:
        return False


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
        assert 0 in (tenant(folder, *check).exit_code for _ in range(5))


BAD: list[tuple[tuple[str, ...], type[FleetError]]] = [
    (("add", "*"), JobRejected),
    (("add", ">"), JobRejected),
    (("add", "a.b"), JobRejected),
    (("add", "../escape"), JobRejected),
    (("add", "Acme"), JobRejected),
    (("add", ""), JobRejected),
    (("add", "@spot"), JobRejected),
    (("add", "acme"), UsageError),
    (("add", "new", "--model", "meta/Llama-3.1"), JobRejected),
    (("rotate", "nobody"), NotFound),
    (("rotate", "@nobody"), NotFound),
    (("remove", "nobody"), NotFound),
    (("context", "nobody", "--url", "nats://h"), NotFound),
    (("remove", "@spot"), UsageError),
    (("init",), UsageError),
]


@pytest.mark.parametrize(("args", "error"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_what_cannot_be_right_changes_nothing(
    folder: Path, args: tuple[str, ...], error: type[FleetError]
) -> None:
    before = files(folder)
    result = tenant(folder, *args)
    assert isinstance(result.exception, error)
    assert files(folder) == before


@pytest.mark.parametrize("name", ["acme", "@spot"])
def test_a_change_that_the_server_would_refuse_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = files(folder)
    monkeypatch.setattr("fleet.cli.tenant_files.render", lambda _: "accounts: { broken")
    result = tenant(folder, "rotate", name)
    assert isinstance(result.exception, UsageError)
    assert "nothing was changed" in str(result.exception)
    assert files(folder) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b'"acme"', b'"a.*"'),
        lambda text: text.replace(b'"nkey": "U', b'"nkey": "S'),
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: text.replace(b'"tenants"', b'"tenant"'),
        lambda text: b"[" * 100_000,
    ],
)
def test_a_damaged_register_is_named_and_nothing_is_changed(folder: Path, damage: object) -> None:
    assert callable(damage)
    file = folder / "tenants.json"
    file.write_bytes(damage(file.read_bytes()))
    before = files(folder)
    for args in (("add", "new"), ("apply",), ("check",), ("ls",)):
        result = tenant(folder, *args)
        assert isinstance(result.exception, UsageError), args
        assert "tenants.json" in str(result.exception)
    assert files(folder) == before


def test_what_was_interrupted_is_seen_and_finished(folder: Path) -> None:
    seed = (folder / "keys" / "acme.nk").read_bytes()
    before = files(folder)
    assert tenant(folder, "rotate", "acme").exit_code == 0
    after = files(folder)
    # As a crash leaves it between the register and the rest: the new seed is staged.
    (folder / "keys" / "acme.new").write_bytes(after["keys/acme.nk"])
    (folder / "keys" / "acme.nk").write_bytes(seed)
    (folder / "accounts.conf").write_bytes(before["accounts.conf"])
    checked = tenant(folder, "check")
    assert checked.exit_code == 1
    assert "accounts.conf is not what" in checked.output
    assert tenant(folder, "apply").exit_code == 0
    assert tenant(folder, "check").exit_code == 0
    assert files(folder) == after


def test_a_seed_whose_change_was_never_made_is_dropped(folder: Path) -> None:
    before = files(folder)
    stray = new_key().seed
    (folder / "keys" / "acme.new").write_bytes(stray + b"\n")
    assert tenant(folder, "check").exit_code == 0
    assert files(folder) == before


def test_two_at_once_do_not_mix(folder: Path) -> None:
    with opened(folder):
        result = tenant(folder, "add", "other")
    assert isinstance(result.exception, UsageError)
    assert "another `fleet tenant`" in str(result.exception)


def test_secrets_are_for_their_owner_alone_and_in_no_other_file(folder: Path) -> None:
    everything = files(folder)
    seeds = [data.strip() for name, data in everything.items() if name.endswith(".nk")]
    assert len(seeds) == 9
    for name, data in everything.items():
        if not name.endswith(".nk"):
            assert not [seed for seed in seeds if seed in data], name
    for file in (folder / "keys").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert (folder / "keys").stat().st_mode & 0o077 == 0


def test_the_list_names_everybody(folder: Path) -> None:
    assert tenant(folder, "add", "narrow", "--tier", "batch", "--model", "m").exit_code == 0
    listed = [json.loads(line) for line in tenant(folder, "ls", "--json").output.splitlines()]
    by_name = {one["name"]: one for one in listed}
    assert by_name["narrow"] == {
        "name": "narrow", "keys": 1, "expired": 0, "tiers": ["batch"], "models": ["m"],
    }  # fmt: skip
    assert "@spot" in by_name
    assert "narrow" in tenant(folder, "ls").output


def test_a_register_without_tenants_is_one(folder: Path) -> None:
    assert tenant(folder, "remove", "acme").exit_code == 0
    register = read_register((folder / "tenants.json").read_bytes(), origin="t")
    assert register.tenants == {}


def test_a_server_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    result = tenant(folder, "apply", "--reload", str(tmp_path / "no.pid"))
    assert isinstance(result.exception, UsageError)
    assert "no.pid names no running server" in str(result.exception)
