"""What each server of a cluster has in force, told by itself; asked as the system identity."""

import asyncio
from typing import Final

import msgspec

from fleet.broker.answers import read_answer, read_part
from fleet.broker.connection import Connection

QUESTION: Final = "$SYS.REQ.SERVER.PING.ACCOUNTZ"
# Nobody says how many there are: all that answer within this are all there are.
ANSWERS_S: Final = 1.0


class _Server(msgspec.Struct, frozen=True):
    name: str


class _Accounts(msgspec.Struct, frozen=True):
    accounts: frozenset[str]


class _Answer(msgspec.Struct, frozen=True):
    server: _Server
    data: _Accounts


async def accounts_of_servers(connection: Connection) -> dict[str, frozenset[str]]:
    """Name the accounts that each server knows, by the server's name. Takes ANSWERS_S seconds.

    Raises BrokerRefused where we are not the system identity, BrokerUnreachable.
    """
    # Whether we may ask at all: the first answer comes to a request, a refusal too.
    answers = [await connection.request(QUESTION)]
    inbox = connection.new_inbox()
    subscription = await connection.subscribe(inbox, answers.append)
    try:
        await connection.publish(QUESTION, reply=inbox)
        await asyncio.sleep(ANSWERS_S)
    finally:
        await subscription.unsubscribe()
    told = [read_part(QUESTION, read_answer(QUESTION, one.payload), _Answer) for one in answers]
    return {one.server.name: one.data.accounts for one in told}
