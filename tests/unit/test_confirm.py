"""The question before an act: Cancel is where the cursor is, and a name is typed to destroy."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Button

from dashboard.acting import Action, OnNode, Question, Say, Target
from dashboard.look import Look
from dashboard.screens.confirm import Confirm
from dashboard.screens.deed import READ_ONLY, act
from fleet.errors import BrokerRefused

HOSTILE = ("[/red]", "[@click=app.quit]x[/]", "\x1b]52;c;aGk=\x07", "\u202eabc", "x" * 10_000)
NODE = OnNode(node="spot-1")


def question(*, typed: str | None = None, text: str = "3 items of 2 jobs in hand") -> Question:
    facts = (text, "They go on elsewhere.")
    return Question(
        deed="drain", target=NODE, title=f"Drain {text}?", facts=facts, button="Drain", typed=typed
    )


class Scripted:
    """An operator that asks what it was told to, and notes what it did."""

    def __init__(self, asked: Question | None, *, refuses: str = "") -> None:
        self.asked = asked
        self.refuses = refuses
        self.done: list[Question] = []
        self.goes_on: asyncio.Event | None = None

    async def consider(self, action: Action, target: Target) -> Question:
        if self.asked is None:
            raise BrokerRefused(self.refuses)
        return self.asked

    async def perform(self, question: Question, say: Say) -> str:
        if self.refuses:
            raise BrokerRefused(self.refuses)
        if self.goes_on is not None:
            await self.goes_on.wait()
        self.done.append(question)
        say("on its way")
        return f"done with {question.title}"


class Acting(App[None]):
    """An app whose one key acts."""

    def __init__(self, operator: Scripted | None, target: Target | None = NODE) -> None:
        super().__init__()
        self.operator = operator
        self.target = target
        self.told: list[str] = []

    def on_key(self, event: Any) -> None:
        if event.key == "D":
            deed = act(self, self.operator, Look(), "drain", self.target)
            self.run_worker(deed, exclusive=True, group="act")

    def notify(self, message: str, **options: Any) -> None:
        assert options["markup"] is False
        self.told.append(message)


async def shown(pilot: Pilot[None]) -> Confirm:
    """Press the key and wait for the question."""
    await pilot.press("D")
    await settled(pilot, lambda: isinstance(pilot.app.screen, Confirm))
    await pilot.pause()
    assert isinstance(pilot.app.screen, Confirm)
    return pilot.app.screen


async def settled(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never came to it")


async def test_the_question_shows_the_numbers_and_a_stray_enter_does_nothing() -> None:
    operator = Scripted(question())
    app = Acting(operator)
    async with app.run_test(size=(80, 24)) as pilot:
        confirm = await shown(pilot)
        assert confirm.focused is confirm.query_one("#cancel")
        await pilot.press("enter")
        await settled(pilot, lambda: bool(app.told))
    assert app.told == ["nothing was done"]
    assert operator.done == []


@pytest.mark.parametrize("keys", [["escape"], ["right", "left", "enter"]])
async def test_there_are_many_ways_to_say_no(keys: list[str]) -> None:
    operator = Scripted(question())
    app = Acting(operator)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot)
        await pilot.press(*keys)
        await settled(pilot, lambda: bool(app.told))
    assert operator.done == []


async def test_who_agrees_is_told_how_it_goes_on_and_what_came_of_it() -> None:
    operator = Scripted(question())
    app = Acting(operator)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot)
        await pilot.press("tab", "enter")
        await settled(pilot, lambda: len(app.told) == 2)
    assert app.told[0] == "on its way"
    assert app.told[1].startswith("done with")
    assert operator.done == [operator.asked]


async def test_what_is_being_done_goes_on_while_the_next_question_is_asked() -> None:
    operator = Scripted(question())
    operator.goes_on = asyncio.Event()
    app = Acting(operator)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot)
        await pilot.press("tab", "enter")
        await settled(pilot, lambda: not isinstance(app.screen, Confirm))
        await shown(pilot)
        await pilot.press("escape")
        await settled(pilot, lambda: app.told == ["nothing was done"])
        operator.goes_on.set()
        await settled(pilot, lambda: bool(operator.done))


async def test_what_destroys_wants_the_name_typed_in_full() -> None:
    operator = Scripted(question(typed="spot-1"))
    app = Acting(operator)
    async with app.run_test(size=(80, 24)) as pilot:
        confirm = await shown(pilot)
        agree = confirm.query_one("#agree", Button)
        assert agree.disabled
        await pilot.press("shift+tab", *"spot-", "enter")
        assert agree.disabled
        assert confirm.focused is confirm.query_one("#cancel")
        await pilot.press("shift+tab", "1")
        assert not agree.disabled
        await pilot.press("enter")
        assert confirm.focused is agree
        assert operator.done == []
        await pilot.press("enter")
        await settled(pilot, lambda: bool(operator.done))


async def test_facts_that_are_longer_than_their_room_can_be_read_by_keys() -> None:
    app = Acting(Scripted(question(text="one of many words " * 60)))
    async with app.run_test(size=(80, 24)) as pilot:
        facts = (await shown(pilot)).query_one("#facts")
        await pilot.press("up", "down")
        await settled(pilot, lambda: facts.scroll_offset.y == 1)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_is_shown_and_not_obeyed(text: str) -> None:
    operator = Scripted(question(text=text, typed=text), refuses=text)
    app = Acting(operator)
    async with app.run_test(size=(80, 24)) as pilot:
        confirm = await shown(pilot)
        assert confirm.query_one("#buttons").region.bottom <= 24
        await pilot.click("#title")
        _ = confirm.dismiss(True)
        await settled(pilot, lambda: bool(app.told))
        assert app.is_running
    assert all(one.isprintable() for one in app.told)


async def test_a_refusal_is_told_and_nothing_is_asked() -> None:
    app = Acting(Scripted(None, refuses="you may not"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("D")
        await settled(pilot, lambda: bool(app.told))
        assert not isinstance(app.screen, Confirm)
    assert app.told == ["you may not"]


@pytest.mark.parametrize("operator", [None, Scripted(question())])
async def test_without_rights_or_without_a_row_nothing_is_asked(operator: Scripted | None) -> None:
    app = Acting(operator, target=None)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("D")
        await settled(pilot, lambda: bool(app.told))
    assert (app.told[0] == READ_ONLY) == (operator is None)
