"""The door to boto3: a client of one service, made when it is first needed."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from fleet.errors import UsageError

CONNECT_S: Final = 5.0


class BotoClient:
    """Credentials come by boto3's own chain, and only by it.

    endpoint: URL of what is not AWS, None for AWS. read_s: between two pieces of an answer. more:
    further options of botocore's Config. check: what to look at where no client can be made. made:
    one made already, for tests that answer in AWS's place.
    """

    def __init__(
        self,
        service: str,
        *,
        region: str | None,
        endpoint: str | None,
        read_s: float,
        check: str,
        more: Mapping[str, object] | None = None,
        made: Any = None,
    ) -> None:
        self._service = service
        self._region = region
        self._endpoint = endpoint
        self._read_s = read_s
        self._check = check
        self._more = more or {}
        self._made = made
        self._making = asyncio.Lock()

    async def get(self) -> Any:
        """Return the client. Raises UsageError where boto3 is missing or cannot be set up."""
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made

    def _make(self) -> Any:
        """Make the client; loading boto3 takes a quarter of a second."""
        name = self._service.upper()
        try:
            import boto3
            from botocore.client import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise UsageError(f"{name} needs boto3: pip install 'overbook[aws]'") from error
        config = Config(
            # Whoever calls tries again: it knows what bears being done twice, and for how long.
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=CONNECT_S,
            read_timeout=self._read_s,
            **self._more,
        )
        try:
            return boto3.session.Session().client(
                self._service,
                region_name=self._region,
                endpoint_url=self._endpoint,
                config=config,
            )
        except (BotoCoreError, ValueError) as error:
            raise UsageError(f"{name} cannot be used ({error}): check {self._check}") from error
