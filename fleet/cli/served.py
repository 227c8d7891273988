"""Whether a model is served, asked before a job is queued that nobody would ever take."""

from fleet.broker.connection import Connection
from fleet.broker.provision import served_models
from fleet.errors import BrokerRefused, BrokerUnreachable, NotFound
from fleet.subjects import shown


async def require_served(connection: Connection, model: str) -> None:
    """Raise NotFound if the fleet has no queue for `model`; a job for it would wait for ever."""
    try:
        models = await served_models(connection)
    except (BrokerRefused, BrokerUnreachable):
        # Whoever may publish need not be one who may ask. If the broker is really gone, publishing
        # says so.
        return
    if model not in models:
        there = ", ".join(models) or "none; start one with `fleet up` or `fleet init`"
        raise NotFound(f"model {shown(model)} is not served here; served models: {there}")
