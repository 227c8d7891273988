"""systemd's side of the notify protocol: a socket that remembers what it was told, and when."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

BOUND_S = 60.0


class Word(NamedTuple):
    """One assignment, such as READY=1, by time.monotonic()."""

    at: float
    text: str


class Manager:
    """What a unit's process talks to. address: for NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._heard: list[Word] = []
        self._news = threading.Condition()
        self._marks = itertools.count()

    def hear(self, line: socket.socket) -> None:
        """Take words in until the socket is shut."""
        while said := line.recv(4096):
            with self._news:
                now = time.monotonic()
                self._heard += [Word(now, word) for word in said.decode().splitlines()]
                self._news.notify_all()

    def barrier(self) -> Word:
        """Say something oneself, and wait until it is heard, and so all that was said before."""
        mark = f"BARRIER={next(self._marks)}"
        to = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(mark.encode(), to)
        return self.until(mark)

    def since(self, at: float = 0.0) -> list[Word]:
        """Return what was said after that time."""
        with self._news:
            return [word for word in self._heard if word.at > at]

    def until(self, text: str, *, after: float = 0.0) -> Word:
        """Wait for a word that begins so."""

        def found() -> Word | None:
            return next(
                (word for word in self._heard if word.at > after and word.text.startswith(text)),
                None,
            )

        with self._news:
            word = self._news.wait_for(found, BOUND_S)
        assert word is not None, f"{text} was not said, but {self.since()}"
        return word


@contextmanager
def systemd(folder: Path, *, abstract: bool = False) -> Iterator[Manager]:
    """Listen while the body runs."""
    address = f"@{folder}/notify" if abstract else str(folder / "notify")
    manager = Manager(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{address[1:]}" if abstract else address)
        listener = threading.Thread(target=manager.hear, args=[line])
        listener.start()
        try:
            yield manager
        finally:
            line.shutdown(socket.SHUT_RD)
            listener.join(BOUND_S)
