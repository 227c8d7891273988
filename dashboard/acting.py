"""What an operator may do from the screen: asked first, shown with numbers, and only then done.

The dashboard does nothing by itself. It asks an `Operator`; without one it is read-only. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from fleet.job import Tier

Action: TypeAlias = Literal["drain", "pause", "requeue", "cancel", "drill"]
# What a question turned out to be about: a node that drains is called back, a pause is ended.
Deed: TypeAlias = Literal["drain", "call back", "pause", "unpause", "requeue", "cancel", "drill"]
Say: TypeAlias = Callable[[str], None]


class OnNode(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A node, by its name."""

    node: str


class OnQueue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The jobs of one tier for one model, of all tenants."""

    tier: Tier
    model: str


class OnJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One job. batch: only to find it; None where it is not known."""

    tenant: str
    job: str
    batch: str | None = None


class OnBatch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A whole batch."""

    tenant: str
    batch: str


class OnLetter(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A dead letter, by its number."""

    letter: int


Target: TypeAlias = OnNode | OnQueue | OnJob | OnBatch | OnLetter
# What each action may be done to; of a job that was given up, requeueing takes its letter.
FITS: Final[Mapping[Action, tuple[type[Target], ...]]] = {
    "drain": (OnNode,),
    "pause": (OnQueue,),
    "requeue": (OnLetter, OnJob),
    "cancel": (OnJob, OnBatch),
    "drill": (OnNode,),
}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done, with the numbers of this moment.

    title: one line. facts: what it does and to how much, a sentence each; foreign text is in them.
    button: what agrees to it. typed: what has to be typed first where something is destroyed.
    """

    deed: Deed
    target: Target
    title: str
    facts: tuple[str, ...]
    button: str
    typed: str | None = None


class Operator(Protocol):
    """Who can act. Both methods raise FleetError, whose text says what to do about it."""

    async def consider(self, action: Action, target: Target) -> Question:
        """Say what an action would do now; changes nothing."""
        ...

    async def perform(self, question: Question, say: Say) -> str:
        """Do it, leave an audit event, and return what came of it in one sentence.

        say: told how it goes on where that takes a while.
        """
        ...
