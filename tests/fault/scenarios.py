"""The faults of the campaign: nodes that die, freeze and are told to go, and a broker that dies."""

import asyncio
import signal
import time

from fleet.control import DrainOrder, ResumeOrder
from fleet.faults import POINTS
from tests.fault.act import Act
from tests.fault.play import Scenario
from tests.fault.stage import ACK_WAIT_S

FAULTY_S = 180.0
# Points that only a consumer passes that was told to go.
AT_RELEASE = ("release.before", "release.after")
AT_TAKE_OVER = "claim.after"
RARE = (*AT_RELEASE, AT_TAKE_OVER)
OTHERS = ("freeze", "block:4", "fail")


async def killed_at_every_point(act: Act) -> None:
    """A consumer for each point between two steps, which dies there."""
    await _at_points(act, dict.fromkeys(act.share(POINTS), "kill"))


async def hurt_at_every_point(act: Act) -> None:
    """At each point one freezes beyond its lease, blocks, or sees the broker fail."""
    points = act.share(POINTS)
    turn = act.chance.randrange(len(OTHERS))
    await _at_points(act, {p: OTHERS[(turn + n) % len(OTHERS)] for n, p in enumerate(points)})


async def _at_points(act: Act, actions: dict[str, str]) -> None:
    """Start a consumer for each point, and give them work until each came past its own."""
    faults = {
        point: f"{point}={action}@{1 if point in RARE else act.chance.randint(1, 2)}"
        for point, action in actions.items()
    }
    waiting = {point: f"{act.tenant}-{point.replace('.', '-')}" for point in faults}
    await act.extras({node: faults[point] for point, node in waiting.items()})
    told: set[str] = set()
    give_up = time.monotonic() + FAULTY_S
    while waiting and time.monotonic() < give_up:
        await act.publish(3)
        await asyncio.sleep(0.5)
        busy = act.busy()
        for point, node in list(waiting.items()):
            if point in AT_RELEASE and node not in told:
                if node in busy:
                    told.add(node)
                    act.notice(node)
            elif await _struck(act, node, faults[point]):
                del waiting[point]
            elif node in told and act.stage.ended(node) is not None:
                # Its work was done just when the notice came: the next one may have some left.
                waiting[point] = f"{node}-n"
                act.stage.start(waiting[point], faults=faults[point])
        if AT_TAKE_OVER in waiting and (others := sorted(set(act.base()) & set(busy))):
            # What is given back is taken over, sooner or later by the one that waits for it.
            act.notice(act.chance.choice(others))
    for point, node in waiting.items():
        act.note("unproven", node, outcome=f"never came past {point} with work in hand")


async def _struck(act: Act, node: str, fault: str) -> bool:
    """Say whether the fault has happened, and write it down."""
    action = fault.partition("=")[2].partition("@")[0].partition(":")[0]
    code = act.stage.ended(node)
    if action == "kill" and code == -signal.SIGKILL:
        act.note("kill", node, outcome=fault)
        return True
    if action == "freeze" and act.stage.is_stopped(node):
        act.note("freeze", node, outcome=fault)
        return True
    if code:
        act.note("unproven", node, outcome=f"ended with {code} before {fault}")
        return True
    if action in {"kill", "freeze"}:
        return False
    # What blocks or fails goes on by itself; nobody sees from outside that it happened.
    act.note("block" if action == "block" else "fail", node, outcome=fault)
    return True


async def killed_at_random(act: Act) -> None:
    """kill -9 at a random token, again and again; the fleet replaces the node."""
    await act.publish(10)
    for _ in range(3):
        act.kill(await act.victim())
        await act.pause(0.2, 1.5)


async def told_to_go(act: Act) -> None:
    """SIGTERM once, twice, and SIGTERM followed by kill -9."""
    await act.publish(12)
    for again in ("", "notice", "kill"):
        node = await act.victim()
        act.notice(node)
        await asyncio.sleep(act.chance.uniform(0, 0.05))
        if again == "notice":
            act.notice(node)
        elif again == "kill":
            act.kill(node)
        await act.pause(0.3, 1.0)


async def drained_by_order(act: Act) -> None:
    """Orders to drain: at once, within a time, and one that is taken back while it runs."""
    await act.publish(12)
    await act.order(await act.victim(), DrainOrder(left_s=0.0))
    await act.order(await act.victim(), DrainOrder(left_s=act.chance.uniform(0.2, 2.0)))
    await act.publish(6)
    stays = await act.victim()
    await act.order(stays, DrainOrder(left_s=30.0))
    await act.pause(0.0, 0.5)
    await act.order(stays, ResumeOrder())
    await act.publish(2)


async def leaves_with_room(act: Act) -> None:
    """Told to go within a second, and killed, while another consumer has room for its work."""
    for blow in ("drain", "kill") * 2:
        await act.drained()
        await act.whole()
        await act.publish(2, tokens=(120, 180))
        node = await act.victim()
        await act.pause(0.6, 1.2)  # past the first checkpoint, from which it is known whose it was
        if blow == "kill":
            act.kill(node)
        else:
            await act.order(node, DrainOrder(left_s=act.chance.uniform(0.2, 0.6)))


async def frozen_and_back(act: Act) -> None:
    """A zombie: frozen until another has finished its job, then let go on."""
    await act.publish(8)
    node = await act.victim()
    act.freeze(node)
    await asyncio.sleep(ACK_WAIT_S + act.chance.uniform(0.5, 2.0))
    await act.publish(2)
    act.thaw(node)


async def broker_killed(act: Act) -> None:
    """kill -9 of the broker, back after a second, then five times in ten seconds."""
    await act.publish(8)
    await act.victim()
    await act.restart_server(down_s=1.0)
    await act.publish(4)
    for _ in range(5):
        await act.restart_server(down_s=act.chance.uniform(0.1, 0.5))
        await act.publish(1)
        await act.pause(0.5, 1.5)


async def broker_frozen(act: Act) -> None:
    """A broker whose disk stalls: it answers nobody for longer than a lease, and loses nothing."""
    await act.publish(8)
    await act.victim()
    act.stage.signal_server(signal.SIGSTOP)
    stalled_s = ACK_WAIT_S + act.chance.uniform(0.5, 1.5)
    await asyncio.sleep(stalled_s)
    act.stage.signal_server(signal.SIGCONT)
    act.note("outage", "broker", outcome=f"{stalled_s:.2f}")


POINTS_HURT = (
    Scenario("points-kill", "kill -9 at each of the fault points", killed_at_every_point),
    Scenario("points-hurt", "freeze, block or failure at each fault point", hurt_at_every_point),
)
# Its waits are the product's own; in the others they include waiting for room.
HANDOVER = Scenario("handover", "told to go or killed, another has room", leaves_with_room)
NODES = (
    HANDOVER,
    Scenario("kill", "kill -9 at a random token", killed_at_random),
    Scenario("notice", "SIGTERM, twice, and with kill -9 behind it", told_to_go),
    Scenario("drain", "ordered to drain, and an order taken back", drained_by_order),
    Scenario("freeze", "frozen beyond the lease, then back", frozen_and_back),
    Scenario("broker-kill", "broker killed and restarted six times", broker_killed),
    Scenario("broker-stall", "broker silent for longer than a lease", broker_frozen),
)
