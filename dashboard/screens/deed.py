"""From a key to an act: consider, ask, perform, and say what came of it."""

from functools import partial
from typing import Any, Final

from textual.app import App

from dashboard.acting import FITS, Action, Operator, Question, Target
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
    """Ask about one act, in a worker of the app, and let another worker do it.

    operator: None where nobody may act. target: what is under the cursor. Every way in which it may
    end is told on the screen.
    """
    tell = partial(_tell, app, look)
    if operator is None:
        tell(READ_ONLY, bad=True)
        return
    if not isinstance(target, FITS[action]):
        tell(f"nothing under the cursor can be told to {action}", bad=True)
        return
    try:
        question = await operator.consider(action, target)
    except FleetError as error:
        tell(str(error), bad=True)
        return
    if await app.push_screen_wait(Confirm(question, look)):
        # By itself: a question that comes after this one does not end it.
        app.run_worker(_perform(operator, question, tell), name=question.deed, group="deeds")
    else:
        tell("nothing was done")


async def _perform(operator: Operator, question: Question, tell: "partial[None]") -> None:
    try:
        tell(await operator.perform(question, tell))
    except FleetError as error:
        tell(str(error), bad=True)


def _tell(app: App[Any], look: Look, text: str, *, bad: bool = False) -> None:
    app.notify(
        look.drawn(safe(text, most=MOST_CHARACTERS)),
        severity="error" if bad else "information",
        timeout=SHOWN_S,
        markup=False,
    )
