"""Blobs in S3 or what speaks like it, by boto3 in threads."""

import asyncio
import functools
import hashlib
import random
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from fleet.blob import Place, Stat
from fleet.boto import BotoClient
from fleet.errors import (
    BlobChanged,
    BlobCorrupt,
    BlobMissing,
    BlobTooLarge,
    StoreRefused,
    StoreUnavailable,
)
from fleet.settings import Settings

TRIES: Final = 4
BACKOFF_S: Final = 0.2
# Between two pieces of an answer; and for a whole answer, however it trickles.
SILENCE_S: Final = 20.0
READ_S: Final = 120.0
_PIECE_BYTES: Final = 1024 * 1024

_GONE: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_PATIENCE: Final = frozenset(
    {
        "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling",
        "RequestTimeTooSkewed", "ConditionalRequestConflict", "TooManyRequests",
    }
)  # fmt: skip
_SERVER_FAULT, _TOO_MANY, _CONFLICT, _GUARDED = 500, 429, 409, 412

T = TypeVar("T")


class S3Config(msgspec.Struct, frozen=True, kw_only=True):
    """Where the blobs lie; credentials come by boto3's own chain, and only by it."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "S3Config | None":
        """Take what the settings say; None without a bucket."""
        if settings.s3_bucket is None:
            return None
        return cls(
            bucket=settings.s3_bucket,
            prefix=settings.s3_prefix,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
        )


class S3:
    """A blob store in one bucket, under one prefix."""

    def __init__(
        self, config: S3Config, *, silence_s: float = SILENCE_S, backoff_s: float = BACKOFF_S
    ) -> None:
        self._config = config
        self._backoff_s = backoff_s
        self._client = BotoClient(
            "s3",
            region=config.region,
            endpoint=config.endpoint,
            read_s=silence_s,
            check="FLEET_S3_*",
            more={
                "s3": {"addressing_style": "path" if config.endpoint else "auto"},
                # We check sha256 ourselves, and not every S3 knows the newer checksums.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        )

    async def put(self, key: str, data: bytes, *, etag: str | None = None) -> str:
        """Store an object, only where there is none, or only over `etag`. Raises BlobChanged."""
        guard = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            answer = await self._call(
                key, lambda s3: s3.put_object(**self._where(key), Body=data, **guard)
            )
        except _Guarded as error:
            # Perhaps our own write, whose answer was lost before a retry.
            if (own := await self._same(key, data)) is not None:
                return own
            raise BlobChanged(
                f"{self.uri(key)} was not written, other bytes lie there: choose another name, or "
                "read it and write over what it is now"
            ) from error
        return str(answer["ETag"])

    async def get(self, key: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        """Read an object whole. Raises BlobMissing, BlobTooLarge, BlobCorrupt."""
        data, _ = await self._call(key, lambda s3: self._read(s3, key, limit_bytes))
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise BlobCorrupt(
                f"{self.uri(key)} has another sha256 than was named: name its own, or store what "
                "was meant"
            )
        return data

    async def head(self, key: str) -> Stat | None:
        """Say what there is; None for nothing."""
        try:
            answer = await self._call(key, lambda s3: s3.head_object(**self._where(key)))
        except BlobMissing:
            return None
        return Stat(
            etag=str(answer["ETag"]),
            size_bytes=int(answer["ContentLength"]),
            written_at=answer["LastModified"].timestamp(),
        )

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        await self._call(key, lambda s3: s3.delete_object(**self._where(key)))

    def uri(self, key: str) -> str:
        """Name an object: `s3://bucket/overbook/acme/prompts.jsonl`."""
        return f"s3://{self._config.bucket}/{self._key(key)}"

    def holds(self, place: Place) -> bool:
        """Say whether a place is in this store, and nowhere beside its prefix."""
        ours = ("s3", self._config.bucket, self._config.prefix)
        return (place.scheme, place.bucket, place.prefix) == ours

    def _key(self, key: str) -> str:
        return f"{self._config.prefix}/{key}" if self._config.prefix else key

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self._config.bucket, "Key": self._key(key)}

    async def _same(self, key: str, data: bytes) -> str | None:
        """Return the etag if these very bytes lie there."""
        try:
            found, etag = await self._call(key, lambda s3: self._read(s3, key, len(data)))
        except (BlobMissing, BlobTooLarge):
            return None
        is_same = hashlib.sha256(found).digest() == hashlib.sha256(data).digest()
        return etag if is_same else None

    def _read(self, s3: Any, key: str, limit_bytes: int) -> tuple[bytes, str]:
        """Read an object in this thread; nothing over the limit is held."""
        answer = s3.get_object(**self._where(key))
        body, data, began = answer["Body"], bytearray(), time.monotonic()
        try:
            if answer["ContentLength"] > limit_bytes:
                raise BlobTooLarge(
                    f"{self.uri(key)} has {answer['ContentLength']} bytes, over the limit of "
                    f"{limit_bytes}: split it"
                )
            while piece := body.read(_PIECE_BYTES):
                data += piece
                if time.monotonic() - began > READ_S:
                    raise StoreUnavailable(
                        f"reading {self.uri(key)} took over {READ_S:g} s: try again later"
                    )
        finally:
            body.close()
        return bytes(data), str(answer["ETag"])

    async def _call(self, key: str, action: Callable[[Any], T]) -> T:
        """Run one request in a thread, again with backoff where that may help.

        A thread that was given up on ends by its own time-outs.
        """
        for attempt in range(TRIES):
            try:
                return await asyncio.to_thread(
                    self._translate, key, functools.partial(action, await self._client.get())
                )
            except StoreUnavailable:
                if attempt == TRIES - 1:
                    raise
            await asyncio.sleep(self._backoff_s * 2**attempt * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable: the last try returns or raises")

    def _translate(self, key: str, action: Callable[[], T]) -> T:
        """Run a request, and turn botocore's errors into ours."""
        from botocore import exceptions
        from urllib3.exceptions import HTTPError

        try:
            return action()
        except exceptions.ClientError as error:
            self._raise_for(key, error)
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.NoRegionError,
            exceptions.ParamValidationError,
        ) as error:
            raise StoreRefused(
                f"{self.uri(key)}: {error}: give credentials and a region as boto3 looks for them"
            ) from error
        except (exceptions.BotoCoreError, HTTPError, OSError) as error:
            raise StoreUnavailable(
                f"{self.uri(key)}: no whole answer from {self._config.endpoint or 'AWS'} ({error}):"
                " check the network and the store, then try again"
            ) from error

    def _raise_for(self, key: str, error: Any) -> NoReturn:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        uri = self.uri(key)
        is_write = error.operation_name == "PutObject"
        if status == _GUARDED or (is_write and code in _GONE):
            # AWS says that what is to be replaced is not there; others, that it is another.
            raise _Guarded(uri) from error
        if code in _GONE:
            raise BlobMissing(
                f"there is no {uri}: it was never stored, or has expired; store it again"
            ) from error
        if code in _PATIENCE or status in {_TOO_MANY, _CONFLICT} or status >= _SERVER_FAULT:
            raise StoreUnavailable(
                f"{uri}: the store asks for patience ({code or status}): try again later"
            ) from error
        raise StoreRefused(
            f"{uri}: the store refused it ({code or status}): check that the bucket exists and "
            "that the credentials may read and write under the prefix"
        ) from error


class _Guarded(Exception):
    """A conditional write found something else."""
