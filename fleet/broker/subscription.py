"""Interest in a subject."""

import asyncio
import logging

from nats import errors
from nats.aio.subscription import Subscription as LibrarySubscription

from fleet.broker.client import HardenedClient

log = logging.getLogger(__name__)


class Subscription:
    """Interest in a subject, as long as it is not given up."""

    def __init__(self, client: HardenedClient, subscription: LibrarySubscription) -> None:
        self._client = client
        self._subscription = subscription

    async def unsubscribe(self) -> None:
        """End at once; what is on its way is dropped."""
        await self._client.ignore(self._subscription)

    async def drain(self, *, wait_s: float = 2.0) -> None:
        """End, but first receive what the server has sent already: one round trip."""
        try:
            async with asyncio.timeout(wait_s):
                await self._client.finish(self._subscription)
        except (TimeoutError, OSError, errors.Error) as error:
            log.warning("a subscription was not drained", extra={"error": str(error)})
