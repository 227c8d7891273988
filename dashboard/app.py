"""The operator's terminal: one picture at a time, from a source that it only reads."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from dashboard.acting import Action, Operator
from dashboard.details import Detail, again, as_json
from dashboard.job_rows import JobRow
from dashboard.keys import (
    ACTION_KEYS,
    LIST_KEYS,
    ROW_KEYS,
    SCREEN_KEYS,
    shown_key,
    view_keys,
)  # fmt: skip
from dashboard.look import Look
from dashboard.messages import NewsArrived, RowOpened
from dashboard.picture import Picture
from dashboard.screens.deed import act
from dashboard.screens.detail import DetailScreen
from dashboard.screens.main import MainScreen
from dashboard.snapshot import WINDOWS_S, FleetSnapshot, Story
from dashboard.source import Source
from dashboard.targets import AnyRow, target_of
from dashboard.themes import DARK, THEMES
from dashboard.widgets.ascii import Ascii
from dashboard.widgets.thrift import is_behind
from fleet.errors import FleetError

INTERVALS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# No more than one refresh a second; timers are a little early at times.
REFRESH_S: Final = 0.9
NOTE_S: Final = 6.0
# A story costs the broker a few reads.
STORY_S: Final = 5.0
_TELLS: Final = {
    "fleet": "Nodes: state, notice, rates, price",
    "queue": "Queues by tier, model and tenant: waiting, in flight, stuck, dead",
    "jobs": "Batches, and jobs without an end",
    "cost": "Money: now, today, saved, lost, idle",
    "events": "What happened, newest first",
    "help": "All keys",
}


class Dashboard(App[None]):
    """Holds what is known and how it is looked at; screens draw it.

    is_live: whether time goes on between two snapshots; that of a recording is its own. timer: of
    this machine, in seconds. operator: None where nobody may act. failure: why it ended by itself.
    """

    CSS_PATH: ClassVar[str | Path] = "fleet.tcss"
    TITLE = "Overbook"
    BINDINGS: ClassVar[list[BindingType]] = [
        *view_keys(_TELLS.items()), *SCREEN_KEYS, *ACTION_KEYS,
    ]  # fmt: skip
    ALL_KEYS: ClassVar[list[Binding]] = [
        *view_keys(_TELLS.items()),
        *ROW_KEYS,
        *LIST_KEYS,
        *SCREEN_KEYS,
        *ACTION_KEYS,
    ]

    def __init__(
        self,
        source: Source,
        *,
        look: Look | None = None,
        interval_s: float = 1.0,
        window_s: float = WINDOWS_S[0],
        operator: Operator | None = None,
        is_live: bool = True,
        timer: Callable[[], float] = time.monotonic,
        theme: str = DARK.name,
    ) -> None:
        super().__init__()
        self.look = look or Look()
        self._ascii = Ascii(self.look.ascii)
        self.failure: BaseException | None = None
        self._source = source
        self._operator = operator
        self._timer = timer
        self._came_at = 0.0
        self._latest: FleetSnapshot | None = None
        self._picture = Picture(
            None, window_s=window_s, interval_s=interval_s, is_live=is_live,
            acts=operator is not None,
        )  # fmt: skip
        self._drawn_at = self._note_until = -1.0
        self._story: Story | None = None
        self._trouble = ""
        self._main = MainScreen(self.look, self.ALL_KEYS, shows_actions=operator is not None)
        self.animation_level = "none"
        for one in THEMES:
            self.register_theme(one)
        self.theme = theme

    def on_mount(self) -> None:
        """Begin to watch."""
        self._source.interval_s = self._picture.interval_s
        _ = self.push_screen(self._main)
        _ = self.run_worker(self._follow(), name="source")
        _ = self.set_interval(1.0, self._tick)

    async def _follow(self) -> None:
        """Keep the newest snapshot. A source that fails for good ends the screen, and says why."""
        try:
            async with aclosing(self._source.snapshots()) as snapshots:
                async for snapshot in snapshots:
                    self._latest, self._came_at = snapshot, self._timer()
                    self.post_message(NewsArrived())
        except* FleetError as failures:
            self.failure = failures
            self.exit()
        else:
            self._tell("the recording ends here", lasts_s=float("inf"))

    def on_news_arrived(self, event: NewsArrived) -> None:
        """Draw what is new; what comes sooner than in a second waits for the next tick."""
        event.stop()
        self._draw_if_due(at_once=self._picture.snapshot is None)

    def _tick(self) -> None:
        """Let ages grow where nothing new comes."""
        self._draw_if_due()

    def _draw_if_due(self, *, at_once: bool = False) -> None:
        """Draw once a second, and nothing that the terminal would see late.

        A line that has stalled must not hold up what is recorded, or the answers to the broker.
        """
        is_due = at_once or self._timer() - self._drawn_at > REFRESH_S
        if is_due and not is_behind(self._driver):
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = self._timer()
        shown = self._picture.snapshot if self._picture.frozen else self._latest
        now = self._now()
        note = self._picture.note if self._drawn_at < self._note_until else ""
        self._picture = self._picture._replace(snapshot=shown, now=now, note=note)
        self._main.show(self._picture)
        if isinstance(self.screen, DetailScreen) and shown is not None:
            self._draw_detail(self.screen, shown)

    def _now(self) -> float:
        """The time by the source's clock; that of this machine may be wrong."""
        if self._latest is None:
            return 0.0
        return self._latest.at + (self._timer() - self._came_at if self._picture.is_live else 0.0)

    def _draw_detail(self, screen: DetailScreen, shown: FleetSnapshot) -> None:
        found = again(screen.row, shown, self._picture.window_s)
        story = self._story if isinstance(screen.row, JobRow) else None
        detail = Detail(
            found or screen.row, shown, self._picture.window, story, self._trouble,
            gone=found is None,
        )  # fmt: skip
        screen.show(self._picture, detail)

    def _tell(self, note: str, *, lasts_s: float = NOTE_S) -> None:
        self._note_until = self._timer() + lasts_s
        self._picture = self._picture._replace(note=note)
        self._draw()

    def on_row_opened(self, event: RowOpened) -> None:
        """Show all that is known about a row."""
        event.stop()
        row = self._main.row
        if row is None:
            return
        self._story, self._trouble = None, ""
        screen = DetailScreen(row, self._main.view, self.look, acts=self._picture.acts)
        _ = self.push_screen(screen)
        _ = self.call_after_refresh(self._draw)
        if isinstance(row, JobRow):
            _ = screen.run_worker(self._tell_story(row), name="story")

    async def _tell_story(self, row: JobRow) -> None:
        """Read a job's life anew for as long as its page is open, which ends this worker."""
        while True:
            try:
                self._story = await self._source.story(row.tenant, row.job, row.batch)
                self._trouble = ""
            except FleetError as error:
                self._trouble = str(error)
            self._draw_if_due(at_once=True)
            await asyncio.sleep(STORY_S)

    @property
    def row(self) -> AnyRow | None:
        """What is under the cursor, or what the open page is about."""
        return self.screen.row if isinstance(self.screen, DetailScreen) else self._main.row

    async def action_view(self, view: str) -> None:
        """Show one of the views, from wherever somebody is."""
        await self.action_back()
        self._main.turn_to(view)

    async def action_back(self) -> None:
        """Leave a page."""
        if isinstance(self.screen, DetailScreen):
            await self.pop_screen()

    def action_copy(self) -> None:
        """Copy the row as JSON, by an escape that the terminal turns into its clipboard."""
        if self.row is not None:
            text = as_json(self.row)
            self.copy_to_clipboard(text)
            self._tell(f"copied {len(text)} characters of JSON to the terminal's clipboard")

    def action_freeze(self) -> None:
        """Hold the picture still, or let it go."""
        self._picture = self._picture._replace(frozen=not self._picture.frozen)
        self._tell("frozen; f goes on" if self._picture.frozen else "going on")

    def action_slower(self) -> None:
        """Look less often."""
        self._look_every(next((s for s in INTERVALS_S if s > self._source.interval_s), 60.0))

    def action_faster(self) -> None:
        """Look more often."""
        slower = [s for s in INTERVALS_S if s < self._source.interval_s]
        self._look_every(slower[-1] if slower else INTERVALS_S[0])

    def _look_every(self, seconds: float) -> None:
        self._source.interval_s = seconds
        self._picture = self._picture._replace(interval_s=seconds)
        self._tell(f"looking every {seconds:.0f} s")

    def action_window(self) -> None:
        """Take the next window."""
        wider = [s for s in WINDOWS_S if s > self._picture.window_s]
        self._picture = self._picture._replace(window_s=wider[0] if wider else WINDOWS_S[0])
        self._tell(f"rates and plots over {self._picture.window}")

    def action_act(self, action: Action) -> None:
        """Ask whether to do something to what is under the cursor."""
        if not self._picture.is_live:
            self._tell("a recording: nobody can act on it")
            return
        deed = act(self, self._operator, self.look, action, target_of(self.row))
        _ = self.run_worker(deed, name=action, exclusive=True, group="act")

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Let nothing but ASCII through where the terminal has nothing else."""
        filters = super().get_line_filters()
        return [*filters, self._ascii] if self._ascii.enabled else filters

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Offer every key in the palette, too, and the themes."""
        del screen
        yield SystemCommand("theme", "Other colours", self.action_change_theme)
        for binding in self.ALL_KEYS:
            if binding in ROW_KEYS or binding.action == "command_palette":
                continue
            run = partial(self.run_action, binding.action, self._main)
            tells = f"{binding.tooltip} ({shown_key(binding)})"
            yield SystemCommand(binding.description, tells, run)
