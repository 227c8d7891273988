"""The field in which a filter is typed; every letter counts at once."""

from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Input

from dashboard.messages import FilterTyped
from dashboard.seeking import MOST_CHARACTERS

# What is pasted must not steer the terminal either.
_SHOWABLE: Final = r"[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*"


class FilterBar(Input):
    """Hidden until someone asks for it. Enter keeps the filter, Esc takes it away."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "no filter", show=False)]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 -- Textual's name
        super().__init__(
            id=id,
            compact=True,
            max_length=MOST_CHARACTERS,
            placeholder="regular expression; ! turns it round",
            restrict=_SHOWABLE,
            select_on_focus=False,
        )

    def ask(self, text: str) -> None:
        """Open the field with what is in force."""
        self.value = text
        self.cursor_position = len(text)
        self.display = True
        self.focus()

    def close(self) -> None:
        """Hide, without a word: what was typed is in force where it was asked for."""
        self.display = False

    def action_give_up(self) -> None:
        """Take the filter away."""
        self._end("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what is typed so far."""
        event.stop()
        if self.display:
            self.post_message(FilterTyped(event.value, done=False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep what was typed."""
        event.stop()
        self._end(event.value)

    def on_blur(self, event: events.Blur) -> None:
        """Keep what was typed when someone goes elsewhere."""
        del event
        if self.display:
            self._end(self.value)

    def _end(self, text: str) -> None:
        self.display = False
        self.post_message(FilterTyped(text, done=True))
