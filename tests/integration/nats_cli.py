"""As much of the `nats` command line as our examples use, for no package brings the real one.

Its flags are those of the real one; anything else is refused, so that a typo in an example fails.
As there, a body is a template, an empty answer is shown as `nil body`, and a question that nobody
answers ends with exit code 0.
"""

import argparse
import os
import socket
import sys
from urllib.parse import urlsplit

PATIENCE_S = 30.0
INBOX = "_INBOX.example"
CONNECT = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'


def main() -> None:
    """Send a request, print its answer."""
    flags = argparse.ArgumentParser(prog="nats")
    request = flags.add_subparsers(required=True).add_parser("request")
    request.add_argument("--raw", "-r", action="store_true", required=True)
    request.add_argument("--header", "-H", action="append", default=[], metavar="K:V")
    request.add_argument("subject")
    request.add_argument("body")
    given = request.parse_args(sys.argv[2:])
    headers = [tuple(part.strip() for part in one.split(":", 1)) for one in given.header]
    if "{{" in given.body:
        sys.exit("this stand-in knows no templates")
    answer = asked(os.environ["NATS_URL"], given.subject, given.body.encode(), headers)
    if answer is None:
        sys.stderr.write("No responders are available\n")
    else:
        sys.stdout.write(f"{answer or 'nil body'}\n")


def asked(url: str, subject: str, body: bytes, headers: list[tuple[str, ...]]) -> str | None:
    """Send a request and return the body of its answer; None where nobody listens."""
    where = urlsplit(url)
    block = "NATS/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers) + "\r\n"
    size = len(block)
    verb = f"HPUB {subject} {INBOX} {size} {size + len(body)}\r\n{block}".encode()
    address = (where.hostname, where.port)
    with (
        socket.create_connection(address, timeout=PATIENCE_S) as line,
        line.makefile("rb") as said,
    ):
        line.sendall(CONNECT + f"SUB {INBOX} 1\r\n".encode() + verb + body + b"\r\n")
        while words := said.readline().split():
            match words:
                case [b"MSG", *_, total]:
                    return said.read(int(total)).decode()
                case [b"HMSG", *_, head, total]:
                    whole = said.read(int(total))
                    nobody = whole.startswith(b"NATS/1.0 503")
                    return None if nobody else whole[int(head) :].decode()
                case [b"-ERR", *why]:
                    sys.exit(b" ".join(why).decode())
                case [b"PING"]:
                    line.sendall(b"PONG\r\n")
                case _:  # the server tells of itself
                    continue
    sys.exit("the connection was closed")


if __name__ == "__main__":
    main()
