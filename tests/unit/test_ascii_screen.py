"""A terminal that has ASCII alone gets nothing else, of Textual's own parts neither."""

from typing import Final

from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot

from dashboard.acting import Action, OnNode, Question, Say, Target
from dashboard.app import Dashboard
from dashboard.look import Look
from dashboard.widgets.ascii import Ascii
from tests import made_up
from tests.screens import Timer, Told, seen

NODE: Final = OnNode(node="node-0000")


class Willing:
    """An operator who asks, and does it."""

    async def consider(self, action: Action, target: Target) -> Question:
        return Question(deed="drill", target=NODE, title="Kill node-0000?", facts=("A jöb… dies.",),
                        button="Kill it", typed="k")  # fmt: skip

    async def perform(self, question: Question, say: Say) -> str:
        return "done…"


async def shown(pilot: Pilot[None], *words: str) -> None:
    """Wait until the words are there, and nothing that is not ASCII."""
    assert isinstance(pilot.app, Dashboard)
    for _ in range(100):
        screen = seen(pilot.app)
        assert screen.isascii(), [c for c in screen if not c.isascii()]
        if all(word in screen for word in words):
            return
        await pilot.pause(0.02)
    raise AssertionError(f"{words} did not come:\n{seen(pilot.app)}")


async def test_a_question_and_what_came_of_it_are_in_ascii() -> None:
    app = Dashboard(
        Told(made_up.snapshot()), look=Look(ascii=True), operator=Willing(), timer=Timer()
    )
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await shown(pilot, "node-0000")
        await pilot.press("K")
        await shown(pilot, "Kill node-0000?", "A job~ dies.", "Type k to agree")
        await pilot.press("shift+tab", "k", "tab", "tab", "enter")
        await shown(pilot, "done~")


async def test_the_palette_and_the_themes_are_in_ascii() -> None:
    app = Dashboard(Told(made_up.snapshot()), look=Look(ascii=True), timer=Timer())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        await shown(pilot, "Search for commands~")
        await pilot.press(*"theme")
        await shown(pilot, "Other colours")
        await pilot.press("enter")
        await shown(pilot, "Search for themes~", "ansi-dark")


def test_what_is_drawn_otherwise_is_as_wide_as_before() -> None:
    line = [Segment("▌日本 e\u0301 🔎…"), Segment("plain")]
    drawn = Ascii().apply(line, Color(0, 0, 0))
    assert [one.text for one in drawn] == ["|? ?  e / ~", "plain"]
    assert sum(one.cell_length for one in drawn) == sum(one.cell_length for one in line)
