"""Which server is meant, and that no secret is ever shown."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.pretty import pprint

from fleet.broker.context import Target, find_target
from fleet.errors import UsageError

URL = "nats://one:4222"
SECRET = "h4x0r"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the contexts `prod` and `test` of the nats CLI, none selected."""
    contexts = tmp_path / ".config" / "nats" / "context"
    contexts.mkdir(parents=True)
    prod = {"url": "nats://prod:4222,nats://prod2:4222", "user": "op", "password": SECRET}
    (contexts / "prod.json").write_text(json.dumps({**prod, "description": "not ours"}))
    (contexts / "test.json").write_text('{"url": "nats://test:4222", "inbox_prefix": "_INBOX_t"}')
    return tmp_path


def select(home: Path, name: str) -> None:
    (home / ".config" / "nats" / "context.txt").write_text(name + "\n")


def test_a_given_address_goes_before_everything(home: Path) -> None:
    select(home, "test")
    env = {"HOME": str(home), "NATS_CONTEXT": "prod", "NATS_URL": "nats://env"}
    assert find_target(URL, env).servers == (URL,)


def test_the_order_is_named_context_then_url_then_selected_context_then_here(home: Path) -> None:
    env = {"HOME": str(home)}
    assert find_target(None, env).servers == ("nats://127.0.0.1:4222",)
    select(home, "test")
    assert find_target(None, env).servers == ("nats://test:4222",)
    env["NATS_URL"] = "nats://env"
    assert find_target(None, env).servers == ("nats://env:4222",)
    env["NATS_CONTEXT"] = "prod"
    target = find_target(None, env)
    assert target.servers == ("nats://prod:4222", "nats://prod2:4222")
    assert (target.name, target.user, target.password) == ("prod", "op", SECRET)
    assert "prod" in target.origin


def test_the_folder_of_contexts_may_lie_elsewhere(home: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(home / ".config"), "NATS_CONTEXT": "test"}
    target = find_target(None, env)
    assert (target.servers, target.inbox_prefix) == (("nats://test:4222",), "_INBOX_t")


def test_without_a_home_there_is_the_default() -> None:
    assert find_target(None, {}).servers == ("nats://127.0.0.1:4222",)


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ("one", ("nats://one:4222",)),
        ("one:1", ("nats://one:1",)),
        ("tls://one", ("tls://one:4222",)),
        ("nats://[::1]:7", ("nats://[::1]:7",)),
        (" nats://one , two:5 ,", ("nats://one:4222", "nats://two:5")),
    ],
)
def test_addresses_are_completed(given: str, servers: tuple[str, ...]) -> None:
    assert find_target(given, {}).servers == servers


@pytest.mark.parametrize(
    "bad",
    [
        f"http://me:{SECRET}@one",
        f"nats://me:{SECRET}@one:port",
        f"nats://me:{SECRET}@one:99999",
        f"nats://me:{SECRET}@[::1",
        f"nats://me:{SECRET}@",
        f"ws://me:{SECRET}@one",
        ",",
    ],
)
def test_no_address_is_refused_without_showing_it(bad: str) -> None:
    with pytest.raises(UsageError, match="NATS_URL") as error:
        find_target(None, {"NATS_URL": bad})
    assert SECRET not in str(error.value)


def test_a_login_is_taken_out_of_the_address() -> None:
    target = find_target("nats://me:a%40b@one,nats://me:a%40b@two", {})
    assert target.servers == ("nats://one:4222", "nats://two:4222")
    assert (target.user, target.password, target.token) == ("me", "a@b", None)


def test_a_user_without_a_password_is_a_token() -> None:
    target = find_target(f"nats://{SECRET}@one", {})
    assert (target.user, target.password, target.token) == (None, None, SECRET)


def test_servers_with_different_logins_are_refused() -> None:
    with pytest.raises(UsageError, match="different logins"):
        find_target(f"nats://me:{SECRET}@one,nats://you:{SECRET}@two", {})


def test_variables_complete_an_address_and_its_own_login_goes_before() -> None:
    env = {"NATS_USER": "env", "NATS_PASSWORD": SECRET, "NATS_INBOX_PREFIX": "_INBOX_e"}
    target = find_target(URL, env)
    assert (target.user, target.password, target.inbox_prefix) == ("env", SECRET, "_INBOX_e")
    assert find_target("nats://me:mine@one", env).password == "mine"


def test_variables_replace_a_login_as_a_whole(home: Path, tmp_path: Path) -> None:
    creds = tmp_path / "a.creds"
    creds.touch()
    env = {"HOME": str(home), "NATS_CONTEXT": "prod", "NATS_CREDS": str(creds)}
    target = find_target(None, env)
    assert (target.creds, target.user, target.password) == (str(creds), None, None)


def test_a_file_may_lie_in_the_home(home: Path) -> None:
    (home / "ca.pem").touch()
    assert find_target(URL, {"HOME": str(home), "NATS_CA": "~/ca.pem"}).ca == f"{home}/ca.pem"


@pytest.mark.parametrize("name", ["CREDS", "NKEY", "CERT", "KEY", "CA"])
def test_a_file_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=rf"/no/file is no file.*NATS_{name}"):
        find_target(URL, {f"NATS_{name}": "/no/file"})


@pytest.mark.parametrize("name", ["none", "../prod", "a/b"])
def test_a_context_that_is_missing_is_named(home: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        find_target(None, {"HOME": str(home), "NATS_CONTEXT": name})
    select(home, name)
    with pytest.raises(UsageError, match=name):
        find_target(None, {"HOME": str(home)})


@pytest.mark.parametrize("text", ["", "[]", '{"url": 1}', "\xff"])
def test_a_context_that_is_none_is_named(home: Path, text: str) -> None:
    file = home / ".config" / "nats" / "context" / "prod.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"prod\.json"):
        find_target(None, {"HOME": str(home), "NATS_CONTEXT": "prod"})


@pytest.mark.parametrize("given", [f"nats://me:{SECRET}@one", f"nats://{SECRET}@one"])
def test_no_secret_is_shown(given: str) -> None:
    target = find_target(given, {})
    out = io.StringIO()
    pprint(target, console=Console(file=out))
    for shown in (repr(target), str(target), f"{target}", target.address, out.getvalue()):
        assert SECRET not in shown
    assert "one:4222" in repr(target)


def test_a_target_is_a_value() -> None:
    assert find_target(URL, {}) == find_target(URL, {})
    assert isinstance(find_target(URL, {}), Target)
