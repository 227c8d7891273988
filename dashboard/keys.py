"""Every key, once: what it does, what the last line calls it, and what the help says of it."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from textual.binding import Binding

from dashboard.lines import Line, Piece
from dashboard.look import Look

_VIEWS: Final = Binding.Group("Views")
_ROWS: Final = Binding.Group("Rows")
_SCREEN: Final = Binding.Group("Screen")
_ACTIONS: Final = Binding.Group("Actions (with --allow-actions; each asks before it does anything)")
# How the help writes keys whose names are words.
_NAMES: Final = {
    "question_mark": "?", "slash": "/", "plus": "+", "minus": "-", "equals_sign": "=",
    "escape": "Esc", "enter": "Enter", "down": "Down", "up": "Up", "pagedown": "PgDn",
    "pageup": "PgUp", "home": "Home", "end": "End", "tab": "Tab", "shift+tab": "Shift-Tab",
}  # fmt: skip
_KEY_CELLS: Final = 16


def _key(
    keys: str, action: str, short: str, tells: str, group: Binding.Group, *, show: bool = False
) -> Binding:
    return Binding(keys, action, short, show=show, tooltip=tells, group=group)


def view_keys(titles: Iterable[tuple[str, str]]) -> list[Binding]:
    """Bind `1`, `2`, ... to views, given their names and what they show."""
    return [
        _key(str(n), f"view('{name}')", name.capitalize(), tells, _VIEWS)
        for n, (name, tells) in enumerate(titles, start=1)
    ]


_COPY: Final = _key(
    "y", "app.copy", "copy", "Copy the row as JSON to the terminal's clipboard", _ROWS, show=True
)
ROW_KEYS: Final = (
    _key("down,j", "down", "next", "Next row", _ROWS),
    _key("up,k", "up", "before", "Row before", _ROWS),
    _key("pagedown,ctrl+d", "page(1)", "page", "Page down", _ROWS),
    _key("pageup,ctrl+u", "page(-1)", "page", "Page up", _ROWS),
    _key("g,home", "top", "first", "First row", _ROWS),
    _key("G,end", "bottom", "last", "Last row", _ROWS),
    _key("enter", "open", "open", "All that is known about the row", _ROWS, show=True),
)
PAGE_KEYS: Final = (
    _key("down,j", "scroll_down", "next", "Line down", _ROWS),
    _key("up,k", "scroll_up", "before", "Line up", _ROWS),
    _key("pagedown,ctrl+d", "page_down", "page", "Page down", _ROWS),
    _key("pageup,ctrl+u", "page_up", "page", "Page up", _ROWS),
    _key("g,home", "scroll_home", "top", "To the top", _ROWS),
    _key("G,end", "scroll_end", "end", "To the end", _ROWS),
)
LIST_KEYS: Final = (
    _key("slash", "filter", "filter",
         "Show only rows that match a regular expression; `!` before it: those that do not",
         _ROWS, show=True),
    _key("escape", "back", "back", "Leave a page or a question; else take the filter away", _ROWS),
    _key("s", "sort", "sort", "Sort by the next column", _ROWS, show=True),
    _key("S", "reverse", "reverse", "Turn the order round", _ROWS),
    _key("tab", "other_table", "other table", "From batches to jobs, and back", _ROWS),
    _COPY,
)  # fmt: skip
DETAIL_KEYS: Final = (
    _key("escape,enter", "app.back", "back", "Leave a page", _ROWS, show=True),
    _COPY,
)
SCREEN_KEYS: Final = (
    _key("f", "freeze", "freeze", "Hold the picture still; what comes is not lost", _SCREEN,
         show=True),
    _key("plus,equals_sign", "slower", "slower", "Look less often", _SCREEN),
    _key("minus", "faster", "faster", "Look more often, once a second at most", _SCREEN),
    _key("t", "window", "window", "Rates and plots over 1 m, 5 m or 1 h", _SCREEN, show=True),
    _key("ctrl+p", "command_palette", "palette", "Find a command by its name; themes", _SCREEN),
    _key("question_mark", "view('help')", "help", "This page", _SCREEN, show=True),
    _key("q,ctrl+c", "quit", "quit", "Leave", _SCREEN, show=True),
)  # fmt: skip
ACTION_KEYS: Final = (
    _key("D", "act('drain')", "drain", "Let go of a node, or call it back", _ACTIONS),
    _key("P", "act('pause')", "pause", "Pause a queue, or let it go on", _ACTIONS),
    _key(
        "R", "act('requeue')", "requeue", "Queue a job again that was given up (view 5)", _ACTIONS
    ),
    _key("X", "act('cancel')", "cancel", "Cancel a job or a batch", _ACTIONS),
    _key("K", "act('drill')", "drill", "Kill a node as a drill", _ACTIONS),
)


def shown_key(binding: Binding) -> str:
    """Write the keys of a binding as a person would: `Down j`."""
    return " ".join(_written(name) for name in binding.key.split(","))


def hints(bindings: Iterable[Binding], width: int) -> Line:
    """Make the last line: what can be pressed now, as much as fits."""
    pieces: list[Piece] = []
    left = width
    for binding in bindings:
        key, words = _written(binding.key.split(",")[0]), f" {binding.description}  "
        left -= len(key) + len(words)
        if left < 0:
            break
        pieces += [Piece(key, "key"), Piece(words, "dim")]
    return Line(tuple(pieces))


def help_lines(bindings: Sequence[Binding], width: int, look: Look) -> list[Line]:
    """Make the help: every binding under its group, in the order that they are given in."""
    groups: dict[str, list[Binding]] = {}
    for binding in bindings:
        groups.setdefault(binding.group.description if binding.group else "", []).append(binding)
    lines: list[Line] = []
    for title, members in groups.items():
        lines += [Line(()), Line((Piece(look.drawn(title), "strong"),))]
        for binding in members:
            told = textwrap.wrap(look.drawn(binding.tooltip), max(20, width - _KEY_CELLS - 4))
            for n, part in enumerate(told):
                name = shown_key(binding) if n == 0 else ""
                lines.append(Line((Piece(f"  {name:<{_KEY_CELLS}}", "key"), Piece(part, "plain"))))
    return lines[1:]


def _written(name: str) -> str:
    if name.startswith("ctrl+"):
        return f"Ctrl-{name.removeprefix('ctrl+')}"
    return _NAMES.get(name, name)
