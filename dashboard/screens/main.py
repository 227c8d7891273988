"""The six views, one at a time, in a frame of six lines."""

from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import DescendantFocus
from textual.widgets import ContentSwitcher

from dashboard import headline
from dashboard.cost_rows import cost_view
from dashboard.event_rows import event_rows
from dashboard.findings import Finding, alarms
from dashboard.headline import Standing
from dashboard.job_rows import batch_rows, job_rows
from dashboard.keys import ACTION_KEYS, LIST_KEYS, ROW_KEYS, SCREEN_KEYS, help_lines, hints
from dashboard.look import Look
from dashboard.messages import CursorMoved, FilterTyped
from dashboard.picture import Picture
from dashboard.queue_rows import queue_rows
from dashboard.screens.room import Calm, Room, room_of
from dashboard.seeking import Filter, read
from dashboard.snapshot import FleetSnapshot
from dashboard.targets import AnyRow
from dashboard.views import cost, events, fleet, jobs, queue
from dashboard.widgets.filter_bar import FilterBar
from dashboard.widgets.grid import Grid
from dashboard.widgets.page import Page, Ribbon
from dashboard.widgets.thrift import ThriftyScreen
from fleet.errors import UsageError

VIEWS: Final = ("fleet", "queue", "jobs", "cost", "events", "help")


class MainScreen(ThriftyScreen):
    """Draws a picture; whose it is and what to do with it is the application's."""

    BINDINGS: ClassVar[list[BindingType]] = [*LIST_KEYS]

    def __init__(self, look: Look, all_keys: list[Binding], *, shows_actions: bool) -> None:
        super().__init__()
        self.look = look
        self.view = VIEWS[0]
        self._all_keys = all_keys
        self._shows_actions = shows_actions
        self._picture = Picture(None)
        self._alarms: list[Finding] = []
        self._calm = Calm()
        self._fleet = Grid(fleet.table(look), look, id="fleet")
        self._queue = Grid(queue.table(look), look, id="queue")
        self._batches = Grid(jobs.batch_table(look), look, id="batches")
        self._jobs = Grid(jobs.job_table(look), look, id="waiting")
        self._costs = Grid(cost.table(look), look, id="costs")
        self._events = Grid(events.table(look), look, id="events")
        self._on_batches = self._batches.is_active = False

    def compose(self) -> ComposeResult:
        """Lay it out, from the first line to the last."""
        look = self.look
        yield Ribbon(look, id="masthead")
        yield Ribbon(look, id="tabs")
        yield Ribbon(look, id="trends")
        yield Ribbon(look, id="alarms")
        with ContentSwitcher(initial=self.view):
            yield self._fleet
            yield self._queue
            with Vertical(id="jobs"):
                yield self._batches
                yield self._jobs
            with Vertical(id="cost"):
                yield Ribbon(look, id="figures")
                yield self._costs
            yield self._events
            yield Page(look, id="help")
        yield FilterBar(id="filter")
        yield Ribbon(look, id="status")
        yield Ribbon(look, id="hints")

    def on_mount(self) -> None:
        """Let the keys go to the table."""
        self._fleet.focus()

    def on_resize(self) -> None:
        """Give every part its room."""
        room = self._room
        self.query_one("#trends").display = room.trends
        keys = help_lines(self._all_keys, self.size.width, self.look)
        self.query_one("#help", Page).show(keys)
        self._draw()

    @property
    def _room(self) -> Room:
        return room_of(self.size.height)

    @property
    def grid(self) -> Grid[Any] | None:
        """The table that the keys go to; None where the view has none."""
        match self.view:
            case "fleet":
                return self._fleet
            case "queue":
                return self._queue
            case "jobs":
                return self._batches if self._on_batches else self._jobs
            case "cost":
                return self._costs
            case "events":
                return self._events
            case _:
                return None

    @property
    def row(self) -> AnyRow | None:
        """The row under the cursor."""
        grid = self.grid
        found: AnyRow | None = grid.current if grid is not None else None
        return found

    def show(self, picture: Picture) -> None:
        """Take something newer."""
        before, self._picture = self._picture, picture
        if picture.snapshot is not None and picture.snapshot is not before.snapshot:
            self._alarms = alarms(picture.snapshot)
        same = picture.snapshot is before.snapshot and picture.window_s == before.window_s
        self._draw(rows=not same)

    def turn_to(self, view: str) -> None:
        """Show another view."""
        self.query_one(FilterBar).close()
        self.view = view
        self.query_one(ContentSwitcher).current = view
        self._draw()
        (self.grid or self.query_one("#help", Page)).focus()

    def _grids(self) -> tuple[Grid[Any], ...]:
        return (
            self._fleet, self._queue, self._batches, self._jobs, self._costs, self._events,
        )  # fmt: skip

    def _draw(self, *, rows: bool = True) -> None:
        if not self.is_mounted or not self.size.width:
            return
        picture, look, width = self._picture, self.look, self.size.width
        first = headline.masthead(picture, self.view, width, look)
        self.query_one("#masthead", Ribbon).show([first])
        second = headline.tabs(VIEWS, self.view, self._alarms, picture, width=width, look=look)
        self.query_one("#tabs", Ribbon).show([second])
        if picture.snapshot is not None:
            lines = headline.alarm_lines(
                self._alarms, width=width, most=self._room.alarms, look=look
            )
            ribbon = self.query_one("#alarms", Ribbon)
            ribbon.styles.height = self._calm.height(len(lines))
            ribbon.show(lines)
            moments = picture.snapshot.history.over(picture.window_s)
            trends = headline.trends(moments, picture.window, width, look)
            self.query_one("#trends", Ribbon).show([trends])
            if rows:
                self._feed(picture.snapshot)
        self._draw_status()
        keys = [*ROW_KEYS, *LIST_KEYS, *SCREEN_KEYS]
        shown = [key for key in keys if key.show] + list(ACTION_KEYS if self._shows_actions else ())
        self.query_one("#hints", Ribbon).show([hints(shown, width)])

    def _feed(self, snapshot: FleetSnapshot) -> None:
        """Make the rows of what is seen, and of nothing else."""
        window_s = self._picture.window_s
        for grid in self._grids():
            grid.window = self._picture.window
        match self.view:
            case "fleet":
                self._fleet.show(fleet.rows(snapshot, window_s))
            case "queue":
                self._queue.show(queue_rows(snapshot, window_s))
            case "jobs":
                self._batches.show(batch_rows(snapshot, window_s))
                self._jobs.show(job_rows(snapshot))
                self._share_height()
            case "cost":
                self._feed_cost(snapshot)
            case "events":
                self._events.show(event_rows(snapshot))
            case _:
                pass

    def _share_height(self) -> None:
        """Give batches what they need, but no more than two fifths."""
        height = self.query_one(ContentSwitcher).size.height
        self._batches.styles.height = max(3, min(self._batches.total + 2, height * 2 // 5))

    def _feed_cost(self, snapshot: FleetSnapshot) -> None:
        window_s, look = self._picture.window_s, self.look
        lines = cost.figure_lines(cost_view(snapshot, window_s), self._picture.window, look)
        lines += cost.spend_lines(
            snapshot, window_s, width=self.size.width - 1, height=self._room.plot, look=look
        )
        figures = self.query_one("#figures", Ribbon)
        figures.styles.height = len(lines)
        figures.show(lines)
        self._costs.show(cost.rows(snapshot))

    def _draw_status(self) -> None:
        line = headline.status(self._picture, self._standing, self.look)
        self.query_one("#status", Ribbon).show([line])

    @property
    def _standing(self) -> Standing | None:
        grid, snapshot = self.grid, self._picture.snapshot
        if grid is None or snapshot is None:
            return None
        in_all = snapshot.jobs_in_all if grid is self._jobs else None
        text = grid.filter.text
        return Standing(grid.position, grid.shown, grid.total, grid.order, text, in_all)

    def on_cursor_moved(self, event: CursorMoved) -> None:
        """Say which row it is."""
        event.stop()
        self._draw_status()

    def on_filter_typed(self, event: FilterTyped) -> None:
        """Show what matches so far; a filter that is no expression yet changes nothing."""
        event.stop()
        grid = self.grid
        if grid is None:
            return
        try:
            grid.seek(read(event.text))
        except UsageError as error:
            self._picture = self._picture._replace(note=str(error))
        self._draw_status()
        if event.done:
            grid.focus()

    def action_filter(self) -> None:
        """Ask for a filter."""
        if self.grid is not None:
            self.query_one(FilterBar).ask(self.grid.filter.text)

    def action_back(self) -> None:
        """Take the filter away."""
        if self.grid is not None:
            self.grid.seek(Filter())
            self._draw_status()

    def action_sort(self) -> None:
        """Sort by the next column."""
        if self.grid is not None:
            self.grid.sort(onwards=True)
            self._draw_status()

    def action_reverse(self) -> None:
        """Turn the order round."""
        if self.grid is not None:
            self.grid.sort(onwards=False)
            self._draw_status()

    def action_other_table(self) -> None:
        """Go from batches to jobs, and back."""
        if self.view == "jobs":
            (self._jobs if self._on_batches else self._batches).focus()

    def _mark_table(self, *, batches: bool) -> None:
        self._on_batches = batches
        self._batches.is_active, self._jobs.is_active = batches, not batches
        self._batches.refresh_changed()
        self._jobs.refresh_changed()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Remember which of the two tables of this view the keys go to."""
        if event.widget in {self._batches, self._jobs}:
            self._mark_table(batches=event.widget is self._batches)
            self._draw_status()
