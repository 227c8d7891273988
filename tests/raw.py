"""A NATS client of a few lines, which sends what no library would."""

import socket
from urllib.parse import urlsplit

BOUND_S = 30.0
CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


def publish_raw(url: str, subject: bytes, payload: bytes, headers: bytes | None = None) -> bytes:
    """Publish exactly these bytes, without a reply subject; return what the server said to it.

    `PONG` where it took the message, else the error. headers: a whole block, or None for a PUB.
    """
    where = urlsplit(url)
    address = (where.hostname, where.port)
    with socket.create_connection(address, timeout=BOUND_S) as line, line.makefile("rb") as said:
        said.readline()
        if headers is None:
            verb = b"PUB %b %d\r\n" % (subject, len(payload))
        else:
            size = len(headers) + len(payload)
            verb = b"HPUB %b %d %d\r\n" % (subject, len(headers), size)
        line.sendall(CONNECT + verb + (headers or b"") + payload + b"\r\nPING\r\n")
        while (answer := said.readline().strip()).startswith((b"INFO", b"PING")):
            continue
        return answer
