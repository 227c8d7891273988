"""Credentials that run out: JWTs of an operator, an account and its users, for tests."""

import base64
import json
import time
from pathlib import Path

import nkeys

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_ALL = {"subs": -1, "data": -1, "payload": -1}


class Issuer:
    """An operator with one account; makes creds files of users."""

    def __init__(self) -> None:
        self._operator = _pair(1, nkeys.PREFIX_BYTE_OPERATOR)
        self._account = _pair(2, nkeys.PREFIX_BYTE_ACCOUNT)
        self._system = _pair(3, nkeys.PREFIX_BYTE_ACCOUNT)

    def config(self) -> str:
        """Give the server's configuration."""
        preloaded = {
            _public(account): _signed(
                self._operator, _public(account), account.__class__.__name__,
                {"type": "account", "limits": _limits(), "version": 2},
            )
            for account in (self._account, self._system)
        }  # fmt: skip
        operator = _signed(
            self._operator, _public(self._operator), "operator",
            {"type": "operator", "version": 2, "system_account": _public(self._system)},
        )  # fmt: skip
        accounts = "\n".join(f"{name}: {jwt}" for name, jwt in preloaded.items())
        return (
            f"operator: {operator}\nsystem_account: {_public(self._system)}\n"
            f"resolver: MEMORY\nresolver_preload: {{\n{accounts}\n}}"
        )

    def creds(self, file: Path, *, lasts_s: float) -> Path:
        """Write a user's creds file that is valid for so many seconds from now."""
        user = _pair(4, nkeys.PREFIX_BYTE_USER)
        claims = {"type": "user", "version": 2, **_ALL}
        jwt = _signed(
            self._account, _public(user), "user", claims, expires=int(time.time() + lasts_s)
        )
        seed = nkeys.encode_seed(bytes([4]) * 32, nkeys.PREFIX_BYTE_USER).decode()
        file.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
        return file


def _pair(number: int, prefix: int) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(bytes([number]) * 32, prefix)))


def _public(pair: nkeys.KeyPair) -> str:
    return str(pair.public_key.decode())


def _signed(
    issuer: nkeys.KeyPair, subject: str, name: str, nats: object, *, expires: int = 0
) -> str:
    claims = {
        "jti": name, "iat": int(time.time()), "iss": _public(issuer), "sub": subject,
        "name": name, "nats": nats, **({"exp": expires} if expires else {}),
    }  # fmt: skip
    text = ".".join(_encoded(json.dumps(part).encode()) for part in (_HEADER, claims))
    return f"{text}.{_encoded(issuer.sign(text.encode()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _limits() -> dict[str, object]:
    return {
        **_ALL, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1,
    }  # fmt: skip
