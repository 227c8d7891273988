"""The newest messages of many subjects, asked for by many tasks and looked up together."""

import asyncio
from typing import Final

from fleet.broker.connection import Connection
from fleet.broker.stored import Stored, check_literal, last_message, last_messages
from fleet.errors import BrokerRefused, BrokerUnreachable

# The server finds at most 1024 subjects at once.
ROUND: Final = 512
_Ticket = tuple[str, "asyncio.Future[Stored | None]"]


class Latest:
    """Looks subjects of one stream up, all that are wanted at a time with one request.

    Jobs come in bursts, and for 64 of them a common request costs us and the server an eighth of
    64 single ones. Nobody waits for company: a lookup takes along what came while the last one was
    on its way.
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._wanted: list[_Ticket] = []
        self._one_at_a_time = asyncio.Lock()

    async def of(self, subject: str) -> Stored | None:
        """Read the newest message of one subject, or None.

        Raises UsageError for wildcards, BrokerRefused, BrokerUnreachable.
        """
        check_literal(subject)
        answer: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()
        self._wanted.append((subject, answer))
        async with self._one_at_a_time:
            while not answer.done():
                await self._look_up()
        return answer.result()

    async def _look_up(self) -> None:
        tickets, self._wanted = self._wanted[:ROUND], self._wanted[ROUND:]
        try:
            found = await self._find({subject for subject, _ in tickets})
        except (BrokerRefused, BrokerUnreachable) as error:
            for _, answer in tickets:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # Its task may be gone, and then nobody else looks at it.
        else:
            for subject, answer in tickets:
                if not answer.done():
                    answer.set_result(found.get(subject))
        finally:
            # We may have been cancelled; the others still want to know.
            self._wanted = [one for one in tickets if not one[1].done()] + self._wanted

    async def _find(self, subjects: set[str]) -> dict[str, Stored]:
        if len(subjects) > 1:
            return await last_messages(self._connection, self._stream, subjects)
        (subject,) = subjects
        stored = await last_message(self._connection, self._stream, subject)
        return {} if stored is None else {subject: stored}
