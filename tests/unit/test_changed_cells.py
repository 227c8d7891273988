"""What is sent to the terminal: enough for the picture, and nothing beside it."""

import re
from typing import Final

import pytest
from rich.cells import cell_len
from textual._compositor import ChopsUpdate, LayoutUpdate

from dashboard.app import Dashboard
from dashboard.lines import Line, Piece, changed
from tests import made_up
from tests.screens import Timer, Told, seen

SIZE: Final = (120, 30)
_TOKEN: Final = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[[0-9;]*m|\n|(.)")


def line(*texts: str) -> Line:
    return Line(tuple(Piece(text, "plain") for text in texts))


def test_a_cell_that_changed_is_sent_alone() -> None:
    before = line("node-1    ", "ready ", "  12 ", "            ", " 99 ")
    assert changed(line("node-1    ", "ready ", "  13 ", "            ", " 99 "), before, 40) == [
        (16, 21)
    ]
    assert changed(before, before, 40) == []


def test_cells_far_apart_are_sent_apart_and_near_ones_together() -> None:
    before = line("a   ", "b   ", "c" * 20, "d   ")
    after = line("A   ", "B   ", "c" * 20, "D   ")
    assert changed(after, before, 40) == [(0, 8), (28, 32)]
    assert changed(line("A   ", "b   ", "C" * 20, "d   "), before, 40) == [(0, 28)]


def test_a_line_that_looks_otherwise_is_sent_whole() -> None:
    before = line("a", "b")
    assert changed(before._replace(cursor=True), before, 40) == [(0, 40)]
    assert changed(None, before, 40) == [(0, 40)]


class Paper:
    """A terminal that knows where its cursor is, and nothing of colours."""

    def __init__(self, width: int, height: int) -> None:
        self.rows = [[" "] * width for _ in range(height)]
        self.written = 0

    def write(self, sequence: str) -> None:
        """Do what is written."""
        x = y = 0
        for match in _TOKEN.finditer(sequence):
            row, column, character = match.groups()
            if row is not None:
                y, x = int(row) - 1, int(column) - 1
            elif character is not None:
                self.rows[y][x] = character
                # The second half of a wide letter is nobody's.
                self.rows[y][x + 1 : x + cell_len(character)] = [""] * (cell_len(character) - 1)
                x += cell_len(character)
                self.written += 1


@pytest.mark.parametrize("said", ["", "日本語"])
async def test_what_is_sent_comes_to_what_is_seen(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    paper, timer = Paper(*SIZE), Timer()
    source = Told(made_up.snapshot(say=lambda text: said + text))
    app = Dashboard(source, timer=timer)

    def display(screen: object, update: object) -> None:
        if isinstance(update, (LayoutUpdate, ChopsUpdate)):
            paper.write(update.render_segments(app.console))

    monkeypatch.setattr(app, "_display", display)
    async with app.run_test(size=SIZE) as pilot:
        for seed in range(1, 6):
            timer.now += 1
            source.tell(made_up.snapshot(seed=seed, say=lambda text: said + text))
            for key in ("j", "k", str(seed)):
                await pilot.press(key)
                await pilot.pause()
            assert "\n".join("".join(row) for row in paper.rows) == seen(app)


async def test_a_second_in_which_little_changes_costs_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paper, timer, made = Paper(*SIZE), Timer(), made_up.snapshot()
    source = Told(made)
    app = Dashboard(source, timer=timer)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()

        def display(screen: object, update: object) -> None:
            if isinstance(update, ChopsUpdate):
                paper.write(update.render_segments(app.console))

        monkeypatch.setattr(app, "_display", display)
        timer.now += 1
        source.tell(made_up.snapshot(at=made.at + 1))
        await pilot.pause()
        assert paper.written < 400  # of 3,600
