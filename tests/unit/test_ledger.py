"""The ledger: every second of a node's life is paid for, and went for something."""

import pytest

from fleet.errors import ProcessError
from fleet.events import AnyEvent, EngineLost, NodeResumed
from fleet.job import Tier
from fleet.ledger import Account, Use, ledger
from fleet.lives import believed, lives
from fleet.prices import Series
from tests.books import HOUR, T0, Machine, hours, priced, seed_fleet


def accounts_of(*events: AnyEvent, beats: dict[str, float] | None = None) -> list[Account]:
    return ledger(lives(events, beats), priced)


def usd(accounts: list[Account]) -> float:
    return round(sum(account.usd or 0.0 for account in accounts), 6)


def test_a_life_is_start_up_work_and_idleness() -> None:
    n = Machine(launched=0.0)
    accounts = accounts_of(
        n.started(0.5), n.ready(1), n.meter(4, busy=2), n.used(4, 2), n.meter(5, busy=2),
        n.stopped(5),
    )  # fmt: skip
    assert hours(accounts) == {"start_up": 1, "useful": 2, "idle": 2}
    assert usd(accounts) == 5 * 1.80


def test_the_machine_is_paid_for_before_its_process_says_a_word() -> None:
    (account,) = accounts_of(Machine(launched=0.0).started(0.5), Machine().ready(0.75))
    assert (account.life.start, account.seconds) == (T0, 0.75 * HOUR)


def test_a_clock_that_was_wrong_at_the_start_bills_no_years() -> None:
    n = Machine(launched=-100_000.0)
    assert accounts_of(n.started(0), n.ready(1))[0].seconds == HOUR


def test_who_is_killed_without_a_word_ends_at_its_last_sign_of_life() -> None:
    n = Machine()
    accounts = accounts_of(n.started(0), n.ready(0), n.meter(3, busy=1, items=2), n.used(3, 0.75))
    assert hours(accounts) == {"useful": 0.75, "lost": 0.25, "idle": 2}
    assert accounts[0].life.how == "vanished"


def test_who_watches_over_a_node_knows_its_end_better() -> None:
    n = Machine()
    told = [n.started(0), n.ready(0), n.meter(3, busy=3, items=2), n.used(3, 3)]
    accounts = accounts_of(*told, n.gone(4))
    assert hours(accounts) == {"useful": 3, "lost": 1}
    assert accounts[0].life.how == "SIGKILL"


def test_a_node_without_work_that_vanishes_was_idle() -> None:
    n = Machine()
    accounts = accounts_of(n.started(0), n.ready(0), n.meter(3, busy=3), n.used(3, 3), n.gone(4))
    assert hours(accounts) == {"useful": 3, "idle": 1}


def test_what_a_node_has_in_hand_is_not_lost_while_it_lives() -> None:
    n = Machine()
    told = [n.started(0), n.ready(0), n.meter(3, busy=3, items=2), n.used(3, 2)]
    accounts = accounts_of(*told, beats={"n1": T0 + 4 * HOUR})
    assert hours(accounts) == {"useful": 2, "in_hand": 2}
    assert accounts[0].life.is_alive


def test_the_tail_of_a_drain_is_what_it_does_not_work() -> None:
    n = Machine()
    accounts = accounts_of(
        n.started(0), n.ready(0), n.meter(2, busy=2), n.used(2, 1.5), n.draining(2),
        n.meter(3, busy=2.25, state="drained"), n.used(3, 0.75), n.stopped(3), n.gone(3.5),
    )  # fmt: skip
    assert hours(accounts) == {"useful": 2.25, "drain_tail": 1.25}


def test_a_notice_that_is_called_off_leaves_a_node_ready() -> None:
    n = Machine()
    resumed = NodeResumed(at=T0 + 2 * HOUR, node="n1", source="azure")
    accounts = accounts_of(
        n.started(0), n.ready(0), n.draining(1), resumed, n.meter(4, busy=0), n.stopped(4)
    )
    assert hours(accounts) == {"idle": 3, "drain_tail": 1}


def test_the_time_of_writing_alone_is_a_stall() -> None:
    n = Machine()
    accounts = accounts_of(n.started(0), n.ready(0), n.meter(2, busy=1, stall=0.5), n.used(2, 1))
    assert hours(accounts) == {"useful": 1, "checkpoint_stall": 0.5, "idle": 0.5}


def test_another_engine_is_another_start_up() -> None:
    n = Machine()
    lost = EngineLost(at=T0 + 2 * HOUR, node="n1", reason="killed", restarts=True)
    accounts = accounts_of(
        n.started(0), n.ready(0), n.meter(2, busy=2, state="loading"), n.used(2, 1), lost,
        n.meter(3, busy=2), n.ready(3), n.meter(4, busy=2), n.stopped(4),
    )  # fmt: skip
    assert hours(accounts) == {"useful": 1, "lost": 1, "start_up": 1, "idle": 1}


def test_useful_time_is_known_by_whom_it_was_for() -> None:
    n = Machine()
    (account,) = accounts_of(
        n.started(0), n.ready(0), n.meter(3, busy=3), n.used(3, 2, tenant="acme"),
        n.used(3, 1, tenant="zeta", batch=None, tier=Tier.BACKGROUND), n.stopped(3),
    )  # fmt: skip
    assert {entry.use: entry.seconds / HOUR for entry in account.entries} == {
        Use("acme", Tier.BATCH, "b1"): 2,
        Use("zeta", Tier.BACKGROUND, None): 1,
    }


def test_days_are_cut_at_midnight_and_priced_as_they_were() -> None:
    n = Machine(launched=0)
    dear = Series([(0, 2.0), (T0 + 24 * HOUR, 10.0)], capacity_type="spot", confirmed_at=0)
    told = [n.started(0), n.ready(0), n.meter(36, busy=0), n.stopped(36)]
    (account,) = ledger(lives(told), lambda _: dear)
    assert [(e.day, e.seconds / HOUR, round(e.usd, 6)) for e in account.entries] == [
        ("2027-01-16", 24, 48.0),
        ("2027-01-17", 12, 120.0),
    ]
    assert account.usd == pytest.approx(168.0)


def test_a_window_cuts_lives_and_bills_alike() -> None:
    n = Machine()
    told = [n.started(0), n.ready(1), n.meter(4, busy=3), n.used(4, 3), n.stopped(4)]
    (account,) = ledger(lives(told), priced, since=T0 + 2 * HOUR)
    assert hours([account]) == {"useful": 2}
    assert account.usd == pytest.approx(2 * 1.80)
    assert ledger(lives(told), priced, since=T0 + 5 * HOUR) == []


def test_a_node_without_a_price_is_counted_in_hours() -> None:
    n = Machine()
    (account,) = ledger(lives([n.started(0), n.ready(2)]), lambda _: None)
    assert (account.seconds, account.usd) == (2 * HOUR, None)


def test_a_node_that_never_told_how_it_spent_its_time_was_idle() -> None:
    n = Machine()
    (account,) = accounts_of(n.started(0), n.ready(1), n.stopped(3))
    assert hours([account]) == {"start_up": 1, "idle": 2}
    assert not account.metered


def test_a_process_that_comes_back_on_its_machine_pays_no_second_twice() -> None:
    first, second = Machine("n1", host="h"), Machine("n2", host="h")
    accounts = accounts_of(first.started(0.5), first.gone(2), second.started(3), second.gone(4))
    assert [account.seconds / HOUR for account in accounts] == [2, 2]


def test_processes_that_share_a_machine_are_paid_for_side_by_side() -> None:
    one, other = Machine("n1", host="h"), Machine("n2", host="h")
    accounts = accounts_of(one.started(0.5), other.started(0.6), one.gone(2), other.gone(3))
    assert [account.seconds / HOUR for account in accounts] == [2, 3]


def test_a_name_that_comes_back_is_another_node() -> None:
    first, second = Machine("n1"), Machine("n1", launched=5)
    accounts = accounts_of(first.started(0), first.gone(2), second.meter(6, busy=0), second.gone(7))
    assert [account.seconds / HOUR for account in accounts] == [2, 2]


def test_who_saw_the_end_first_is_right() -> None:
    n = Machine()
    (account,) = accounts_of(n.started(0), n.ready(1), n.gone(2), n.gone(5))
    assert account.seconds == 2 * HOUR


def test_a_machine_costs_money_from_its_launch() -> None:
    machine, node = Machine("i-1", launched=0), Machine("i-1-abc", launched=0.5)
    accounts = accounts_of(machine.launched(0), node.started(0.5), node.ready(1), node.gone(2))
    assert [account.seconds / HOUR for account in accounts] == [2]


def test_a_machine_is_paid_for_until_its_own_end() -> None:
    machine, node = Machine("i-1", launched=0), Machine("i-1-abc", launched=0)
    told = [machine.launched(0), machine.launched(0), node.started(1), node.stopped(2, "command")]
    accounts = accounts_of(*told, machine.gone(3, "terminated"), Machine("i-12").gone(9))
    assert [(account.seconds / HOUR, account.life.how) for account in accounts] == [(3, "command")]
    assert hours(accounts) == {"start_up": 2, "drain_tail": 1}


def test_a_machine_that_never_said_a_word_is_start_up_and_nothing_else() -> None:
    told = [
        Machine("i-1").launched(0),
        Machine("i-1").gone(0.5, "failed"),
        Machine("i-12").started(0),
    ]
    accounts = accounts_of(*told)
    assert hours(accounts) == {"start_up": 0.5}
    assert [account.life.how for account in accounts if account.seconds] == ["failed"]


@pytest.mark.parametrize(("now", "paid", "how"), [(0.5, 0.5, "alive"), (9, 2, "vanished")])
def test_a_machine_nobody_hears_of_is_believed_in_for_a_while(
    now: float, paid: float, how: str
) -> None:
    (account,) = ledger(lives([Machine().launched(0)], now=T0 + now * HOUR), priced)
    assert (account.seconds / HOUR, account.life.how) == (paid, how)


def test_events_of_others_are_no_nodes() -> None:
    assert accounts_of(Machine("sweep").used(1, 1), Machine("sweep").stopped(2)) == []


def test_a_clock_far_off_is_not_believed() -> None:
    event = Machine().ready(0)
    assert believed(event, T0 + 1) is event
    assert believed(event, T0 - 60).at == T0 - 60
    assert believed(event, T0 + 3 * HOUR).at == T0 + 3 * HOUR


def test_the_seeds_fleet_comes_to_what_its_formula_says() -> None:
    accounts = ledger(lives(seed_fleet()), priced)
    assert usd(accounts) == 1800.0
    assert hours(accounts) == {"start_up": 8.333333, "useful": 991.666667}


def test_parts_that_do_not_sum_to_the_bill_are_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fleet.ledger._Pot.add", lambda *_: None)
    n = Machine()
    with pytest.raises(ProcessError, match="the ledger of n1 is wrong"):
        accounts_of(n.started(0), n.ready(1))
