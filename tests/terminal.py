"""A command in a real terminal: keys go in as a person types them, and the screen is read."""

import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.tools import requires_tool

BOUND_S = 60.0
POLL_S = 0.05
# An Escape is told from an Alt by the silence behind it, and no person types ahead of a focus that
# moves.
SLOW = frozenset({"Escape", "Tab", "BTab"})
SLOW_S = 0.4


class Terminal:
    """One terminal with one command in it."""

    def __init__(self, tmux: Sequence[str], code: Path) -> None:
        self._tmux = tmux
        self._code = code

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names for them: `j`, `Enter`, `Escape`, `C-p`."""
        for key in keys:
            self._run("send-keys", "-t", "0", *(("-l",) if len(key) == 1 else ()), "--", key)
            if key in SLOW:
                time.sleep(SLOW_S)

    def write(self, text: str) -> None:
        """Type a text as it is."""
        self._run("send-keys", "-t", "0", "-l", "--", text)

    def filter(self, text: str) -> None:
        """Type a filter as a person does: Enter once it stands there, and then look up."""
        self.type("/")
        self.shows("regular expression")
        time.sleep(SLOW_S)
        self.write(text)
        self.until(lambda screen: text in map(str.strip, screen.splitlines()), "the filter's field")
        self.type("Enter")
        self.until(lambda screen: text not in map(str.strip, screen.splitlines()), "its end")

    def resize(self, width: int, height: int) -> None:
        """Make the terminal another size."""
        self._run("resize-window", "-t", "0", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """Read what a person sees."""
        return self._run("capture-pane", "-p", "-t", "0")

    def until(self, holds: Callable[[str], object], what: str, *, bound_s: float = BOUND_S) -> str:
        """Read the screen until something holds of it; return it then."""
        give_up = time.monotonic() + bound_s
        while not holds(screen := self.screen()):
            assert time.monotonic() < give_up, (
                f"waited {bound_s:.0f} s in vain for {what}; the screen:\n{screen}"
            )
            time.sleep(POLL_S)
        return screen

    def shows(self, *texts: str, bound_s: float = BOUND_S) -> str:
        """Wait until all of `texts` are on the screen; return it."""
        return self.until(
            lambda screen: all(text in screen for text in texts), repr(texts), bound_s=bound_s
        )

    def lacks(self, text: str) -> str:
        """Wait until `text` is not on the screen; return it."""
        return self.until(lambda screen: text not in screen, f"the end of {text!r}")

    def ended(self) -> int:
        """Wait for the command's end; return its exit code as a shell tells it."""
        give_up = time.monotonic() + BOUND_S
        while not (self._code.exists() and (code := self._code.read_text().strip())):
            assert time.monotonic() < give_up, f"it never ended:\n{self.screen()}"
            time.sleep(POLL_S)
        return int(code)

    def title(self) -> str:
        """Read the title that the command gave its terminal."""
        return self._run("display", "-p", "-t", "0", "#{pane_title}")

    def clipboard(self) -> str:
        """Read what the command put into the terminal's clipboard."""
        return self._run("show-buffer")

    def _run(self, *args: str) -> str:
        ran = subprocess.run([*self._tmux, *args], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@contextmanager
def terminal(
    folder: Path,
    command: Sequence[str],
    *,
    size: tuple[int, int] = (100, 30),
    env: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Run a command in a terminal of its own server; nothing of it is left afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    config, code = folder / "tmux.conf", folder / "code"
    code.unlink(missing_ok=True)
    # The pane stays for us to read when the command is over.
    config.write_text(
        "set -g remain-on-exit on\nset -g status off\nset -s set-clipboard on\n"
        "set -s escape-time 0\n"
    )
    # A socket's path may not be long.
    tmux = [requires_tool("tmux"), "-L", f"overbook-{secrets.token_hex(4)}", "-f", str(config)]
    # tmux 3.3 sometimes forgets how a command ended.
    line = f"{shlex.join(command)}; echo $? >{shlex.quote(str(code))}"
    start = ["new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), line]
    subprocess.run(
        [*tmux, *start], check=True, env={**os.environ, "TERM": "xterm-256color", **(env or {})}
    )
    try:
        yield Terminal(tmux, code)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
