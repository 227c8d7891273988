"""A client that sends what no library would."""

import socket
from urllib.parse import urlsplit


def send_raw(url: str, subject: bytes, headers: bytes, payload: bytes) -> None:
    """Publish with exactly these bytes; returns when the server has taken them."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as line:
        answers = line.makefile("rb")
        answers.readline()
        line.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
        total = len(headers) + len(payload)
        line.sendall(b"HPUB %s %d %d\r\n" % (subject, len(headers), total))
        line.sendall(headers + payload + b"\r\nPING\r\n")
        while (answer := answers.readline()) != b"PONG\r\n":
            assert answer, "the server hung up"
            assert not answer.startswith(b"-ERR"), answer
