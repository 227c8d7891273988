"""`fleet tenant`: one file says who there is, and what is made of it is whole or as it was."""

import json
from pathlib import Path

import pytest

from fleet.cli.tenant_files import opened
from fleet.errors import (
    FleetError,
    JobRejected,
    NotFound,
    UsageError,
)
from fleet.tenancy.keys import new_key
from fleet.tenancy.register import read_register
from tests.integration.tenants.registers import tenant


def files(folder: Path) -> dict[str, bytes]:
    """Read all that is there."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


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


@pytest.mark.parametrize("words", ["ls", "check", "add acme", "context acme --url nats://h"])
def test_a_folder_without_a_register_stays_as_it_is(tmp_path: Path, words: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    ran = tenant(elsewhere, *words.split())
    assert isinstance(ran.exception, UsageError)
    assert "`fleet tenant init` makes one" in str(ran.exception)
    assert not elsewhere.exists()


def test_whether_a_change_is_half_done_is_told_as_json_too(folder: Path) -> None:
    assert json.loads(tenant(folder, "check", "--json").stdout) == {"ok": True, "found": []}
    (folder / "accounts.conf").write_text("")
    half = tenant(folder, "check", "--json")
    assert half.exit_code == 1
    [found] = json.loads(half.stdout)["found"]
    assert "is not what" in found
