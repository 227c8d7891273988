"""Which NATS server to talk to, and as whom."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from fleet.errors import UsageError

DEFAULT_URL: Final = "nats://127.0.0.1:4222"
_SCHEMES: Final = ("nats", "tls")
_SECRET: Final = ("password", "token")
_FILES: Final = ("creds", "nkey", "cert", "key", "ca")
_LOGIN: Final = ("user", "password", "token", "creds", "nkey")
_TLS: Final = ("cert", "key", "ca")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where to connect and as whom; shown without secrets.

    servers: `nats://host:port` or `tls://host:port`, without credentials. creds, nkey, cert, key,
    ca: paths of files. name: of the nats CLI's context, if one was used. origin: in words, where
    the address came from.
    """

    servers: tuple[str, ...]
    user: str | None = None
    password: str | None = None
    token: str | None = None
    creds: str | None = None
    nkey: str | None = None
    cert: str | None = None
    key: str | None = None
    ca: str | None = None
    inbox_prefix: str | None = None
    name: str | None = None
    origin: str

    @property
    def address(self) -> str:
        """The servers, comma-separated."""
        return ",".join(self.servers)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return what is set, secrets masked."""
        fields = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [
            (name, "***" if name in _SECRET else value)
            for name, value in fields
            if value is not None
        ]

    def __repr__(self) -> str:
        """Show no password and no token."""
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Target({fields})"


class _Context(msgspec.Struct, frozen=True):
    """A file of the nats CLI, `context/<name>.json`; it knows more fields than we use."""

    url: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    creds: str = ""
    nkey: str = ""
    cert: str = ""
    key: str = ""
    ca: str = ""
    inbox_prefix: str = ""


def find_target(url: str | None, env: Mapping[str, str]) -> Target:
    """Find the server: `url`, else NATS_CONTEXT, NATS_URL, the selected context, this machine.

    url: one or several addresses, comma-separated. NATS_USER, NATS_PASSWORD, NATS_TOKEN, NATS_CREDS
    and NATS_NKEY replace a context's login, NATS_CERT, NATS_KEY and NATS_CA its TLS files; a login
    inside the address goes before both. Raises UsageError naming the file or variable at fault.
    """
    folder = _folder(env)
    if url:
        return _target(url, "--nats or FLEET_NATS", {}, env)
    if name := env.get("NATS_CONTEXT"):
        return _from_context(folder, name, "NATS_CONTEXT", env)
    if url := env.get("NATS_URL"):
        return _target(url, "NATS_URL", {}, env)
    if name := _selected(folder):
        return _from_context(folder, name, f"{folder}/context.txt", env)
    return _target(DEFAULT_URL, "the default address", {}, env)


def _folder(env: Mapping[str, str]) -> Path | None:
    """Return the nats CLI's folder, or None where there is no home."""
    if base := env.get("XDG_CONFIG_HOME"):
        return Path(base, "nats")
    return Path(env["HOME"], ".config", "nats") if env.get("HOME") else None


def _selected(folder: Path | None) -> str:
    if folder is None or not (file := folder / "context.txt").is_file():
        return ""
    return _text(file).strip()


def _from_context(folder: Path | None, name: str, source: str, env: Mapping[str, str]) -> Target:
    if folder is None:
        raise UsageError(f"{source} names context {name!r}, but HOME and XDG_CONFIG_HOME are unset")
    if Path(name).name != name:
        raise UsageError(f"{source} names context {name!r}, which is no name of a file")
    file = folder / "context" / f"{name}.json"
    try:
        context = msgspec.json.decode(_text(file), type=_Context)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{file} is no context of the nats CLI: {error}") from error
    fields = {key: value for key, value in msgspec.structs.asdict(context).items() if value}
    url = fields.pop("url", DEFAULT_URL)
    return _target(url, f"context {name} in {file}", {**fields, "name": name}, env)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


def _target(url: str, origin: str, context: dict[str, str], env: Mapping[str, str]) -> Target:
    """Lay credentials upon each other; each group is taken as a whole, never mixed."""
    fields = dict(context)
    parts = [_split(one.strip(), origin) for one in url.split(",") if one.strip()]
    if not parts:
        raise UsageError(f"{origin} names no server: write nats://host:port")
    given = {name: env[f"NATS_{name.upper()}"] for name in (*_LOGIN, *_TLS, "inbox_prefix")
             if env.get(f"NATS_{name.upper()}")}  # fmt: skip
    for layer in (given, _login(parts, origin)):
        for group in (_LOGIN, _TLS):
            if any(name in layer for name in group):
                fields = {name: value for name, value in fields.items() if name not in group}
        fields |= layer
    if fields.get("user") and not fields.get("password"):
        fields["token"] = fields.pop("user")  # as the nats CLI takes a user without a password
    for name in _FILES:
        if path := fields.get(name):
            fields[name] = _file(path, name, origin, env)
    return Target(servers=tuple(map(_bare, parts)), origin=origin, **fields)


def _split(address: str, origin: str) -> SplitResult:
    """Split one address. The text of an error shows none of it: it may hold a password."""
    wrong = UsageError(f"{origin} is no address of a NATS server: write nats://host:port")
    try:
        parts = urlsplit(address if "://" in address else f"nats://{address}")
        valid = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise wrong from None  # its text quotes the address
    if not valid:
        raise wrong
    return parts


def _bare(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 4222}"


def _login(parts: list[SplitResult], origin: str) -> dict[str, str]:
    """Take the login out of the addresses; servers of one cluster share it."""
    logins = {(one.username, one.password) for one in parts if one.username is not None}
    if not logins:
        return {}
    if len(logins) > 1:
        raise UsageError(f"{origin} has servers with different logins: one login serves all")
    user, password = logins.pop()
    login = {"user": unquote(user or "")}
    return login if password is None else {**login, "password": unquote(password)}


def _file(path: str, name: str, origin: str, env: Mapping[str, str]) -> str:
    """Expand `~/` and make sure that the file is there."""
    full = Path(env.get("HOME", "~"), path[2:]) if path.startswith("~/") else Path(path)
    if not full.is_file():
        raise UsageError(
            f"{full} is no file: correct the {name} of {origin}, or NATS_{name.upper()}"
        )
    return str(full)
