"""Consumers fight over one job, in every order that hypothesis can think of.

Each of them decides with what it has read, which may be old by the time it writes; answers get
lost; some stop for long and then go on. The claim and the log are compare-and-swap registers, as
the broker's are, and `fleet.verify` judges the log in the end.
"""

from dataclasses import dataclass, field

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet.claim import Claim, Conflict, Done, GiveBack, Saved, Start, TakeOver, decide, take_over
from fleet.job import FleetInfo, ResultLine, WireError
from fleet.proof import Logged, Proof
from fleet.verify import Verifier

ITEMS = 3
SHA = "a" * 64
TENANT, JOB = "t", "j"
HANDS = st.integers(0, 2)


class Lost(Exception):
    """A guarded write was refused."""


@dataclass
class Broker:
    """What is stored of one job. messages: who wrote, which items, and if it is a take-over."""

    messages: list[tuple[str, frozenset[int], bool]] = field(default_factory=list)
    claim: Claim | None = None
    revision: int = 0
    deliveries: int = 0
    # How many messages of the job are in the queue: a client may publish it again and again.
    queued: int = 1

    @property
    def done(self) -> frozenset[int]:
        return frozenset[int]().union(*(items for _, items, _ in self.messages))

    def append(self, last: int, writer: str, items: frozenset[int], *, is_claim: bool) -> int:
        if last != len(self.messages):
            raise Lost
        self.messages.append((writer, items, is_claim))
        return len(self.messages)

    def save(self, revision: int, claim: Claim) -> int:
        """Write a claim; a lost answer makes no difference, for one's own is recognised."""
        if revision != (self.revision if self.claim else 0):
            raise Lost
        # As it travels: what does not survive the wire is not saved.
        self.claim = msgspec.json.decode(msgspec.json.encode(claim), type=Claim)
        self.revision += 1
        return self.revision


@dataclass
class Hand:
    """A consumer at work on the job."""

    node: str
    writer: str
    last: int
    done: frozenset[int]
    claim: Claim | None = None
    revision: int = 0
    # The claim is written, the record in the log is not yet.
    taking: bool = False


class ClaimMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker()
        self.hands: dict[int, Hand] = {}
        self._runs = 0

    @precondition(lambda self: self.broker.queued)
    @rule(number=HANDS, alive=st.booleans(), age_s=st.sampled_from([0.0, 100.0]))
    def deliver(self, number: int, alive: bool, age_s: float) -> None:
        """The job comes to a consumer, for whatever reason; it begins with what it reads now."""
        if number not in self.hands:
            self._deliver(number, alive=alive, age_s=age_s)

    def _deliver(self, number: int, *, alive: bool, age_s: float) -> None:
        broker = self.broker
        broker.deliveries += 1
        done = broker.done
        redelivered = broker.deliveries > 1
        # Without either of them nobody looks for a claim: that costs a round trip.
        claim = broker.claim if redelivered or broker.messages else None
        decision = decide(
            sha256=SHA,
            redelivered=redelivered,
            log_sha256=SHA if broker.messages else None,
            log_complete=len(done) == ITEMS,
            claim=claim,
            revision=broker.revision if claim else 0,
            claim_age_s=age_s,
            owner_alive=alive,
            checkpoint_s=1.0,
        )
        self._runs += 1
        hand = Hand(f"n{number}", f"w{self._runs}", len(broker.messages), done)
        match decision:
            case Done():
                self._acknowledge()
            case GiveBack():
                assert claim is not None
                assert claim.owner is not None
            case Start():
                self.hands[number] = hand
            case TakeOver(claim=before, revision=revision):
                hand.claim = take_over(
                    before, owner=hand.node, writer=hand.writer, sha256=SHA,
                    progress=len(done), at=0.0,
                )  # fmt: skip
                hand.revision, hand.taking = revision, True
                self.hands[number] = hand
            case Conflict():
                raise AssertionError("the id is its own")

    @precondition(lambda self: any(hand.taking for hand in self.hands.values()))
    @rule(number=HANDS)
    def take(self, number: int) -> None:
        """Write the claim and then the record; between the two, others may write."""
        hand = self.hands.get(number)
        if hand is None or not hand.taking or hand.claim is None:
            return
        if self.broker.claim is not None and self.broker.claim.writer == hand.writer:
            self._record(hand)
            return
        try:
            hand.revision = self.broker.save(hand.revision, hand.claim)
        except Lost:
            del self.hands[number]

    def _record(self, hand: Hand) -> None:
        """The old owner's last append may have come in between: then it is read again."""
        hand.last, hand.done = len(self.broker.messages), self.broker.done
        hand.last = self.broker.append(hand.last, hand.writer, frozenset(), is_claim=True)
        hand.taking = False

    @precondition(lambda self: self.hands)
    @rule(number=HANDS, count=st.integers(1, ITEMS), answer_is_lost=st.booleans())
    def append(self, number: int, count: int, answer_is_lost: bool) -> None:
        """Finish items and say so; a lost answer makes the same write come again."""
        hand = self.hands.get(number)
        if hand is None or hand.taking:
            return
        items = frozenset(sorted(set(range(ITEMS)) - hand.done)[:count])
        if not items:
            return
        try:
            stored = self.broker.append(hand.last, hand.writer, items, is_claim=False)
            if answer_is_lost:
                # Again, and refused; but the last message is one's own, so it is known again.
                last_writer = self.broker.messages[-1][0]
                assert last_writer == hand.writer
        except Lost:
            del self.hands[number]
            return
        hand.last, hand.done = stored, hand.done | items

    @precondition(lambda self: self.hands)
    @rule(number=HANDS, tokens=st.integers(0, 5), released=st.booleans())
    def checkpoint(self, number: int, tokens: int, released: bool) -> None:
        """Save, and perhaps hand over."""
        hand = self.hands.get(number)
        if hand is None or hand.taking:
            return
        saved = tuple(Saved(n, (1,), (2,) * tokens) for n in range(ITEMS) if n not in hand.done)
        base = hand.claim or Claim(owner=hand.node, writer=hand.writer, sha256=SHA)
        claim = msgspec.structs.replace(
            base, owner=None if released else hand.node, writer=hand.writer, saved=saved
        )
        try:
            hand.revision = self.broker.save(hand.revision, claim)
            hand.claim = claim
        except Lost:
            del self.hands[number]
            return
        if released:
            del self.hands[number]

    @precondition(lambda self: self.hands)
    @rule(number=HANDS)
    def settle(self, number: int) -> None:
        """Acknowledge what is complete; a stale acknowledgement counts for the broker too."""
        hand = self.hands.get(number)
        if hand is not None and not hand.taking and len(hand.done) == ITEMS:
            del self.hands[number]
            self._acknowledge()
            if self.broker.claim is not None and self.broker.revision == hand.revision:
                self.broker.claim = None

    @precondition(lambda self: self.hands)
    @rule(number=HANDS)
    def die(self, number: int) -> None:
        self.hands.pop(number, None)

    def _acknowledge(self) -> None:
        assert len(self.broker.done) == ITEMS, "acknowledged with items missing"
        # The second acknowledgement of one message changes nothing.
        self.broker.queued = max(0, self.broker.queued - 1)

    @precondition(lambda self: self.broker.queued < 3)
    @rule()
    def publish_again(self) -> None:
        """The same job once more, as a message of its own whose first delivery is to come."""
        self.broker.queued += 1
        self.broker.deliveries = 0

    @invariant()
    def nothing_is_said_twice(self) -> None:
        said = [item for _, items, _ in self.broker.messages for item in items]
        assert len(said) == len(set(said)), self.broker.messages

    def teardown(self) -> None:
        """All die; one that is left to itself finishes the job."""
        self.hands.clear()
        for _ in range(2 * self.broker.queued + 2):
            if not self.broker.queued:
                break
            self._deliver(0, alive=False, age_s=0.0)
            for _ in range(2):
                self.take(0)
            self.append(0, ITEMS, answer_is_lost=False)
            self.settle(0)
            self.hands.clear()
        assert not self.broker.queued
        assert self._proof().verdict == "proven"

    def _proof(self) -> Proof:
        verifier = Verifier()
        for sequence, (writer, items, is_claim) in enumerate(self.broker.messages, start=1):
            verifier.log(
                Logged(
                    sequence=sequence, tenant=TENANT, batch="_", job=JOB, run=writer,
                    is_claim=is_claim, lines=tuple(map(line_of, sorted(items))), written_at=0.0,
                )
            )  # fmt: skip
        if self.broker.queued:
            verifier.queued(TENANT, JOB)
        return verifier.proof()


def line_of(item: int) -> ResultLine:
    return ResultLine(
        id=f"{JOB}-{item}",
        custom_id=None,
        error=WireError("none", "none"),
        fleet=FleetInfo(job=JOB, item=item, items=ITEMS, node="n", capacity_type="spot"),
    )


TestClaim = ClaimMachine.TestCase
TestClaim.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
