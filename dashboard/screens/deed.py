"""From a key to an act: consider, ask, perform, and say what came of it."""

from typing import Any, Final

from textual.app import App

from dashboard.acting import FITS, Action, Operator, Target
from dashboard.look import Look
from dashboard.safe import safe
from dashboard.screens.confirm import Confirm
from fleet.errors import FleetError

READ_ONLY: Final = "read-only: start `fleet top --allow-actions` to act"
MOST_CHARACTERS: Final = 600
SHOWN_S: Final = 10.0


async def act(
    app: App[Any], operator: Operator | None, look: Look, action: Action, target: Target | None
) -> None:
    """Go through one act, in a worker of the app; every way it may end is told on the screen.

    operator: None where nobody may act. target: what is under the cursor.
    """

    def tell(text: str, *, bad: bool = False) -> None:
        app.notify(
            look.drawn(safe(text, most=MOST_CHARACTERS)),
            severity="error" if bad else "information",
            timeout=SHOWN_S,
            markup=False,
        )

    if operator is None:
        tell(READ_ONLY, bad=True)
        return
    if not isinstance(target, FITS[action]):
        tell(f"nothing under the cursor can be told to {action}", bad=True)
        return
    try:
        question = await operator.consider(action, target)
        if not await app.push_screen_wait(Confirm(question, look)):
            tell("nothing was done")
            return
        tell(await operator.perform(question, tell))
    except FleetError as error:
        tell(str(error), bad=True)
