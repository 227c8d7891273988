"""Files of requests that were fetched: their lines, and a bounded memory of them."""

import hashlib
from array import array
from collections import OrderedDict
from itertools import pairwise

from fleet.errors import BlobCorrupt


class Lines:
    """A file of requests. Lines end with a line feed; the last one may lack it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts = array("Q", [0])
        end = data.find(b"\n")
        while end >= 0:
            self._starts.append(end + 1)
            end = data.find(b"\n", end + 1)
        if self._starts[-1] < len(data):
            self._starts.append(len(data) + 1)

    def __len__(self) -> int:
        """Count the lines."""
        return len(self._starts) - 1

    @property
    def size_bytes(self) -> int:
        """Bytes in memory, about."""
        return len(self._data) + self._starts.itemsize * len(self._starts)

    def cut(self, first: int, count: int) -> list[bytes]:
        """Copy lines `first` to `first + count`, which must be there, without their ends."""
        bounds = self._starts[first : first + count + 1]
        return [self._data[start : end - 1].removesuffix(b"\r") for start, end in pairwise(bounds)]


def checked(data: bytes, sha256: str, *, uri: str) -> Lines:
    """Index a file whose content is what its digest says. Raises BlobCorrupt."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BlobCorrupt(f"{uri} has another sha256 than the job names: name its own")
    return Lines(data)


class Cache:
    """The files used last, by content, up to a number of bytes; the newest is always kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[str, Lines] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Bytes of all that is held."""
        return sum(lines.size_bytes for lines in self._held.values())

    def get(self, key: str) -> Lines | None:
        """Return what is held under a key, and hold it longer."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key]

    def put(self, key: str, lines: Lines) -> None:
        """Hold a file, and let go of those that nobody asked for longest."""
        self._held[key] = lines
        self._held.move_to_end(key)
        while len(self._held) > 1 and self.size_bytes > self._limit_bytes:
            self._held.popitem(last=False)
