"""One message as it came in, whatever is in it."""

from typing import Final, NamedTuple

from fleet.broker.headers import parse_headers

ACK_PREFIX: Final = "$JS.ACK."
# Direct reads carry it; what the server says of itself does not.
_STORED: Final = "Nats-Sequence"


class Message(NamedTuple):
    """A message. status: three digits that the server sent in place of a message, else None.

    malformed: the header block was no valid one; headers_bytes: its size.
    """

    subject: str
    reply: str
    headers: dict[str, str]
    payload: bytes
    status: str | None = None
    description: str = ""
    malformed: bool = False
    headers_bytes: int = 0

    def __repr__(self) -> str:
        """Show no payload: prompts belong in no log."""
        return f"Message({self.subject!r}, {len(self.payload)} bytes, status={self.status})"


def read_message(subject: bytes, reply: bytes, payload: bytes, block: bytes) -> Message:
    """Build a message out of what is on the wire; never raises.

    A status line in a job or in a stored message is the sender's, so it means nothing.
    """
    to = subject.decode(errors="replace")
    answer_to = reply.decode(errors="replace")
    if not block:
        return Message(to, answer_to, {}, payload)
    is_job = answer_to.startswith(ACK_PREFIX)
    headers, status, description, malformed = parse_headers(block, last=not is_job)
    if is_job or _STORED in headers:
        status, description = None, ""
    if is_job and malformed:
        headers = {}
    return Message(
        to, answer_to, headers, payload, status, description, malformed, headers_bytes=len(block)
    )
