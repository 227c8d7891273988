"""The question before something is done: what it does, in numbers, with the cursor on Cancel."""

from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from dashboard.acting import Question
from dashboard.look import Look
from dashboard.safe import safe

# Reasons of dead letters may be long, and whoever decides should read them.
MOST_OF_A_FACT: Final = 600
# Names have 64 characters; whatever is longer may not push the buttons off the screen.
MOST_OF_A_TITLE: Final = 140


class Confirm(ModalScreen[bool]):
    """Ask; True once the operator agreed.

    Where the question wants a name typed, agreeing is impossible until it stands there.
    """

    DEFAULT_CSS = """
    Confirm { align: center middle; }
    #asked { width: 76; max-width: 95%; height: auto; max-height: 90%; background: $surface;
        padding: 1 2; border-left: outer $warning; }
    #asked.destroys { border-left: outer $error; }
    #title { text-style: bold; margin-bottom: 1; }
    #facts { height: auto; max-height: 9; margin-bottom: 1; }
    #facts Static { margin-bottom: 0; }
    #typed { height: 1; border: none; padding: 0 1; background: $panel; margin-bottom: 1; }
    #buttons { height: 1; align-horizontal: right; }
    #buttons Button { margin-left: 2; }
    #buttons Button:focus { text-style: bold reverse; }
    """
    # A stray Enter changes nothing.
    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "refuse", "Cancel"),
        Binding("left", "app.focus_previous", "Before", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
        Binding("up", "read(-1)", "Line up", show=False),
        Binding("down", "read(1)", "Line down", show=False),
    ]

    def __init__(self, question: Question, look: Look) -> None:
        super().__init__()
        self._question = question
        self._look = look

    def compose(self) -> ComposeResult:
        """Lay it out: title, facts, where the name is typed, and the two buttons."""
        question = self._question
        with VerticalGroup(id="asked", classes="destroys" if question.typed else ""):
            yield self._text(question.title, MOST_OF_A_TITLE, id="title")
            with VerticalScroll(id="facts", can_focus=False):
                for fact in question.facts:
                    yield self._text(f"{self._look.glyph('bullet')} {fact}", MOST_OF_A_FACT)
            if question.typed is not None:
                yield self._text(f"Type {question.typed} to agree:", MOST_OF_A_TITLE)
                yield Input(id="typed", select_on_focus=False)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(
                    question.button,
                    id="agree",
                    variant="error" if question.typed else "warning",
                    compact=True,
                    disabled=question.typed is not None,
                )

    @on(Input.Changed, "#typed")
    def _compare(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one("#agree", Button).disabled = event.value != self._question.typed

    @on(Input.Submitted, "#typed")
    def _go_on(self, event: Input.Submitted) -> None:
        """Enter behind the name goes to the button, and agrees to nothing by itself."""
        event.stop()
        agree = self.query_one("#agree", Button)
        (self.query_one("#cancel", Button) if agree.disabled else agree).focus()

    @on(Button.Pressed)
    def _decide(self, event: Button.Pressed) -> None:
        event.stop()
        # Not awaited, here and below: that would wait for the end of the screen that waits.
        _ = self.dismiss(event.button.id == "agree")

    def action_read(self, lines: int) -> None:
        """Read on, where there is more than there is room for."""
        self.query_one("#facts").scroll_relative(y=lines, animate=False)

    def action_refuse(self) -> None:
        """Leave everything as it is."""
        _ = self.dismiss(False)

    def _text(self, foreign: str, most: int, *, id: str | None = None) -> Static:  # noqa: A002 -- Textual's name
        drawn = self._look.drawn(safe(foreign, most=most))
        return Static(drawn, markup=False, id=id)
