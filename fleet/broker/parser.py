"""The protocol's lines and messages, taken apart byte by byte."""

import json
from typing import Final

from nats import errors
from nats.protocol.parser import Parser

_END: Final = b"\r\n"
# An INFO line names every server of a cluster.
_MAX_LINE: Final = 1024 * 1024


class HardenedParser(Parser):
    """Splits lines at single spaces, as the server writes them.

    The library splits at every white space, and a foreign subject may hold VT or FF; there, too, a
    subject that is not UTF-8 ends the read loop.
    """

    async def parse(self, data: bytes = b"") -> None:
        self.buf.extend(data)
        try:
            while await self._step():
                pass
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            raise errors.ProtocolError from error  # the read loop reconnects

    async def _step(self) -> bool:
        """Process one whole message or line; False when the buffer has none."""
        end = self.buf.find(_END, 0, _MAX_LINE)
        if end < 0:
            if len(self.buf) >= _MAX_LINE:
                raise errors.ProtocolError
            return False
        verb, _, rest = bytes(self.buf[:end]).partition(b" ")
        if verb in {b"MSG", b"HMSG"}:
            return await self._message(rest.split(b" "), end + len(_END), verb == b"HMSG")
        del self.buf[: end + len(_END)]
        match verb:
            case b"PING":
                await self.nc._process_ping()
            case b"PONG":
                await self.nc._process_pong()
            case b"INFO":
                await self.nc._process_info(json.loads(rest))
            case b"-ERR":
                await self.nc._process_err(rest.decode(errors="replace"))
            case b"+OK":
                pass
            case _:
                raise errors.ProtocolError
        return True

    async def _message(self, words: list[bytes], start: int, has_headers: bool) -> bool:
        """Process `<subject> <sid> [reply] [header size] <size>` and the bytes behind it."""
        middle = start + int(words[-2]) if has_headers else start
        end = start + int(words[-1])
        if len(self.buf) < end + len(_END):
            return False
        reply = words[2] if len(words) == (5 if has_headers else 4) else b""
        headers, payload = bytes(self.buf[start:middle]), bytes(self.buf[middle:end])
        del self.buf[: end + len(_END)]
        await self.nc._process_msg(int(words[1]), words[0], reply, payload, headers)
        return True
