"""Free ports that stay free until somebody listens, and while what listens there is restarted.

A port that the kernel chose and that was let go again may be its next choice for anybody. These lie
below those that it chooses from; each process of a test run has its own share of them.
"""

import itertools
import os
import re
import secrets
import socket
from collections.abc import Iterator
from typing import Final

# Below what kernels hand out, which begins at 32768 on Linux and at 49152 elsewhere.
FIRST: Final = 10_240
COUNT: Final = 9_600
SHARES: Final = 16


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on, and that is nobody else's to take."""
    return next(port for port in _own if is_free(port))


def _share() -> int:
    """Number this process among those of a test run."""
    found = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return int(found[1]) % SHARES if found else 0


def _ports() -> Iterator[int]:
    # From anywhere: two test runs on one machine have the same shares.
    begin = secrets.randbelow(COUNT // SHARES)
    for number in itertools.count(begin):
        yield FIRST + (number * SHARES + _share()) % COUNT


def is_free(port: int) -> bool:
    """Say whether nobody listens on this port of 127.0.0.1 just now."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_own: Final = _ports()
