"""What each server of a cluster has in force, told by itself; asked as the system identity."""

import asyncio
from typing import Final

import msgspec

from fleet.broker.connection import Connection, Message

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
    found: dict[str, frozenset[str]] = {}

    def receive(message: Message) -> None:
        answer = msgspec.json.decode(message.payload, type=_Answer)
        found[answer.server.name] = answer.data.accounts

    # Whether we may ask at all: the first answer comes to a request, a refusal too.
    receive(await connection.request(QUESTION))
    inbox = connection.new_inbox()
    subscription = await connection.subscribe(inbox, receive)
    try:
        await connection.publish(QUESTION, reply=inbox)
        await asyncio.sleep(ANSWERS_S)
    finally:
        await subscription.unsubscribe()
    return found
