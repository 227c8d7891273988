"""Making keys. The seed is the secret, and the server is only ever told the public half."""

import secrets
from typing import NamedTuple

from fleet.errors import UsageError


class Pair(NamedTuple):
    """A user's new key. seed: text of a seed file."""

    seed: bytes
    public: str


def new_key() -> Pair:
    """Make a key for a user."""
    import nkeys  # noqa: PLC0415 - costs time that other commands need not spend

    seed = bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER))
    return Pair(seed, public_key(seed))


def public_key(seed: bytes) -> str:
    """Return the public half of a seed. Raises UsageError for what is none."""
    import nkeys  # noqa: PLC0415

    try:
        return str(nkeys.from_seed(bytearray(seed)).public_key.decode())
    except (nkeys.NkeysError, ValueError) as error:
        raise UsageError(f"that is no seed: {type(error).__name__}") from error
