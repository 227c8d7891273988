"""NATS header blocks, which a foreign client may have filled with anything."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from fleet.errors import UsageError
from fleet.subjects import shown

_VERSION: Final = b"NATS/1.0"
_NAME: Final = re.compile(rb"[!-9;-~]+")  # printable ASCII without the colon
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of RFC 9110: what we send
_NEWLINES: Final = str.maketrans("\r\n", "  ")
# Of the largest number of 64 bits.
_DIGITS: Final = 20
_STATUS: Final = re.compile(rb" (\d{3})(?: (.*))?")


class HeaderBlock(NamedTuple):
    """What a block says. malformed: it breaks the rules; `headers` has the lines that do not."""

    headers: dict[str, str]
    status: str | None
    description: str
    malformed: bool


def parse_headers(block: bytes, *, last: bool) -> HeaderBlock:
    """Parse a block of any bytes; never raises.

    last: of a repeated name the last value counts, else the first. The server appends its own lines
    to those of a stored message, and reads the first of what a client sends.
    """
    first_line, *lines = block.split(b"\r\n")
    malformed = lines[-2:] != [b"", b""]
    status, description = None, ""
    rest = first_line.removeprefix(_VERSION)
    if rest == first_line or (rest and _STATUS.fullmatch(rest) is None):
        malformed = True
    elif match := _STATUS.fullmatch(rest):
        status = match[1].decode()
        description = (match[2] or b"").decode(errors="replace")
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(b":")
        text = value.strip().decode(errors="replace")
        if not colon or _NAME.fullmatch(name.strip()) is None:
            malformed = True
            continue
        malformed = malformed or "\ufffd" in text
        key = name.strip().decode()
        if last or key not in headers:
            headers[key] = text
    return HeaderBlock(headers, status, description, malformed)


def encode_headers(headers: Mapping[str, str], *, status: str = "") -> bytes:
    """Return the block; b"" if there are none. A newline in a value is sent as a space.

    status: three digits that stand in place of a message, as the server sends them. Raises
    UsageError for a name that cannot be sent.
    """
    if not headers and not status:
        return b""
    lines = [f"{_checked(name)}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    # One look for all of them: it would end the line, and begin another one of its writer's making.
    if text.count("\n") + text.count("\r") != 2 * (len(lines) - 1):
        text = "\r\n".join([line.translate(_NEWLINES) for line in lines])
    first = _VERSION + f" {status}".encode() if status else _VERSION
    return b"%b\r\n%b\r\n\r\n" % (first, text.encode())


@lru_cache(maxsize=1024)
def _checked(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise UsageError(f"header name {shown(name)} cannot be sent: use letters, digits and -")
    return name


def whole(text: str) -> int | None:
    """Read a count or a sequence, which anyone may have written; None for what can be neither."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def headers_size(headers: Mapping[str, str]) -> int:
    """Return how many bytes the headers take on the wire; 0 if there are none."""
    if not headers:
        return 0
    text = "".join(name + value for name, value in headers.items())
    return len(_VERSION) + 4 + len(text.encode()) + 4 * len(headers)
