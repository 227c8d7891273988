"""Who listens where, read from the kernel (Linux)."""

import socket
import struct
from collections.abc import Iterable
from pathlib import Path

LISTENS = "0A"


def descendants(pid: int) -> set[int]:
    """Return a process and all that it started, and they."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything, brackets too.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids: Iterable[int]) -> list[str]:
    """Return the addresses, without ports, on which these processes take TCP connections."""
    inodes = {link for pid in pids for link in _sockets(pid)}
    return sorted({
        address
        for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6))
        for address, inode in _table(table, family)
        if inode in inodes
    })  # fmt: skip


def _sockets(pid: int) -> set[str]:
    found: set[str] = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _table(name: str, family: socket.AddressFamily) -> list[tuple[str, str]]:
    rows = [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [(_address(row[1], family), row[9]) for row in rows if row[3] == LISTENS]


def _address(text: str, family: socket.AddressFamily) -> str:
    """Read an address as the kernel writes it: words of the machine's own byte order, in hex."""
    raw = bytes.fromhex(text.partition(":")[0])
    words = struct.unpack(f"={len(raw) // 4}I", raw)
    return socket.inet_ntop(family, struct.pack(f">{len(words)}I", *words))
