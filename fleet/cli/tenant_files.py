"""The folder of a register: who there is, the server's accounts made from it, and secret keys.

`tenants.json` is the register, `accounts.conf` what servers include, `keys/` holds a seed and an
environment file for each identity and tenant. A change is checked with the server's own parser
first; then the register is replaced, then the accounts, then seeds take their names. Whoever comes
next finishes what was interrupted in between.
"""

import fcntl
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fleet.broker.server import find_server
from fleet.errors import UsageError
from fleet.tenancy.grants import inbox_prefix
from fleet.tenancy.keys import public_key
from fleet.tenancy.register import (
    Register,
    read_register,
    role_of,
    without_expired,
    write_register,
)
from fleet.tenancy.render import digest_in, digest_of, render

REGISTER: Final = "tenants.json"
ACCOUNTS: Final = "accounts.conf"
KEYS: Final = "keys"
CHECK_S: Final = 30.0
_NEW: Final = ".new"
# A server's whole configuration, for its parser alone: nothing listens, nothing is stored.
_TRIAL: Final = 'listen: "127.0.0.1:-1"\njetstream {{ store_dir: {store} }}\ninclude "{accounts}"\n'


class Folder:
    """One register and what belongs to it. Made by `opened`, which keeps others away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.register_file = path / REGISTER
        self.accounts_file = path / ACCOUNTS
        self._keys = path / KEYS

    def load(self) -> Register:
        """Read the register, and finish a change that was interrupted. Raises UsageError."""
        try:
            data = self.register_file.read_bytes()
        except FileNotFoundError as error:
            raise _missing(self.register_file) from error
        register = read_register(data, origin=str(self.register_file))
        self._finish(register)
        return register

    def save(self, register: Register, seeds: Mapping[str, bytes]) -> None:
        """Put a register in force, with the seeds of its new keys; what has expired is left out.

        Raises UsageError, and changes nothing, if the server would not take it.
        """
        register = without_expired(register, datetime.now(UTC))
        read_register(write_register(register), origin="the changed register")
        accounts = render(register)
        _try(accounts, self.path)
        for name, seed in seeds.items():
            _replace(self.seed_file(name).with_suffix(_NEW), seed + b"\n", mode=0o600)
        _replace(self.register_file, write_register(register), mode=0o644)
        _replace(self.accounts_file, accounts.encode(), mode=0o644)
        self._finish(register)

    def state(self, register: Register) -> list[str]:
        """Say what is half-done: accounts of another register, seeds that let nobody in."""
        found: list[str] = []
        try:
            made_of = digest_in(self.accounts_file.read_text())
        except OSError as error:
            made_of = None
            found.append(f"{self.accounts_file} cannot be read: {error.strerror}")
        if made_of != digest_of(without_expired(register, datetime.now(UTC))):
            found.append(f"{self.accounts_file} is not what {self.register_file} says now")
        counting = _nkeys(register)
        found += [
            f"{file} belongs to no key of the register"
            for file in sorted(self._keys.glob("*.nk"))
            if public_key(file.read_bytes().strip()) not in counting
        ]
        return found

    def remove_seed(self, name: str) -> None:
        """Remove a secret that lets nobody in any more."""
        self.seed_file(name).unlink(missing_ok=True)
        self._env_file(name).unlink(missing_ok=True)

    def env_file(self, name: str) -> Path:
        """Name the file of variables with which `name` connects."""
        return self._env_file(name)

    def _finish(self, register: Register) -> None:
        """Give staged seeds their names, and drop those whose change was never made."""
        counting = _nkeys(register)
        for staged in self._keys.glob(f"*{_NEW}"):
            if public_key(staged.read_bytes().strip()) not in counting:
                staged.unlink()
                continue
            name = staged.name.removesuffix(_NEW)
            variables = _variables(name, self.seed_file(name).absolute())
            _replace(self._env_file(name), variables.encode(), mode=0o600)
            staged.replace(self.seed_file(name))

    def seed_file(self, name: str) -> Path:
        """Name the file of a secret."""
        return self._keys / f"{name}.nk"

    def _env_file(self, name: str) -> Path:
        return self._keys / f"{name}.env"


@contextmanager
def opened(path: Path, *, new: bool = False) -> Iterator[Folder]:
    """Open the folder, for one process at a time; new: make it. Raises UsageError."""
    if not new and not (path / REGISTER).exists():
        raise _missing(path / REGISTER)
    try:
        (path / KEYS).mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (path / ".lock").open("w")
    except OSError as error:
        raise UsageError(f"{path} cannot hold a register: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"another `fleet tenant` works in {path}: wait until it has ended"
            ) from error
        yield Folder(path)


def _missing(register: Path) -> UsageError:
    return UsageError(
        f"{register} does not exist: `fleet tenant init` makes one, --dir names another folder"
    )


def reload(pid_file: Path) -> int:
    """Have a server read its configuration again; return its process id. Raises UsageError."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(
            f"{pid_file} names no running server ({error}): give the file that its `pid_file` "
            "setting names; the configuration is written, and counts after the next reload"
        ) from error
    return pid


def _try(accounts: str, near: Path) -> None:
    """Let the server's parser read what we made."""
    program = find_server(os.environ)
    with tempfile.TemporaryDirectory(prefix=".trial-", dir=near) as folder:
        place = Path(folder)
        (place / ACCOUNTS).write_text(accounts)
        trial = place / "trial.conf"
        trial.write_text(_TRIAL.format(store=f'"{place}"', accounts=ACCOUNTS))
        try:
            checked = subprocess.run(  # noqa: S603 - the user's own server
                [program, "-t", "-c", trial],
                capture_output=True, text=True, timeout=CHECK_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"{program} cannot check the accounts: {error}") from error
    if checked.returncode:
        raise UsageError(
            f"{program} refuses the accounts, so nothing was changed: {checked.stderr.strip()}"
        )


def _replace(file: Path, data: bytes, *, mode: int) -> None:
    """Put a file in place whole or not at all, also through a power cut."""
    number, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(number, "wb") as out:
            out.write(data)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        Path(name).replace(file)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _variables(name: str, seed_file: Path) -> str:
    role = role_of(name)
    own = f"FLEET_TENANT={name}" if role is None else f"NATS_INBOX_PREFIX={inbox_prefix(role)}"
    return f"NATS_NKEY={seed_file}\n{own}\n"


def _nkeys(register: Register) -> frozenset[str]:
    now = datetime.now(UTC)
    owned = (*register.identities.values(), *(one.keys for one in register.tenants.values()))
    return frozenset(key.nkey for keys in owned for key in keys if key.counts(now))
