"""Logging in with keys: creds files and nkey seeds. They are read again at every reconnect."""

import base64
import re
from pathlib import Path
from typing import Any, Final

from nats import errors

from fleet.errors import UsageError

_JWT: Final = re.compile(rb"-----BEGIN NATS USER JWT-----\s+(\S+)")
_SEED: Final = re.compile(rb"-----BEGIN USER NKEY SEED-----\s+(\S+)")


def key_options(creds: str | None, nkey: str | None) -> dict[str, Any]:
    """Return the client's options for a creds file or a seed file, none for neither.

    Raises UsageError naming a file that holds no key. The library itself would read a creds file
    without a JWT for ever.
    """
    try:
        if creds:
            _sign(_find(_SEED, creds), "")
            _find(_JWT, creds)
            return {
                "user_jwt_cb": lambda: _find(_JWT, creds),
                "signature_cb": lambda nonce: _sign(_find(_SEED, creds), nonce),
            }
        if nkey:
            _sign(Path(nkey).read_bytes().strip(), "")
            return {"nkeys_seed": nkey}
    except (errors.Error, OSError) as error:
        raise UsageError(f"{creds or nkey} cannot be used to log in: {error}") from error
    return {}


def _find(pattern: re.Pattern[bytes], file: str) -> bytes:
    match = pattern.search(Path(file).read_bytes())
    if match is None:
        raise errors.Error(f"{file} has no {pattern.pattern.decode().split('-----')[1]}")
    return match[1]


def _sign(seed: bytes, nonce: str) -> bytes:
    import nkeys  # noqa: PLC0415 - costs time that those without keys need not spend

    try:
        return base64.b64encode(nkeys.from_seed(bytearray(seed)).sign(nonce.encode()))
    except (nkeys.NkeysError, ValueError) as error:
        raise errors.Error(f"the seed is not valid: {type(error).__name__}") from error
