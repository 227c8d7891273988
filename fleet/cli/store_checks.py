"""What `fleet doctor` finds out about the blob stores."""

import os
from typing import Final

import msgspec

from fleet.blob import blob_key
from fleet.blobs.s3 import S3, S3Config
from fleet.broker.connection import ApiError, Connection
from fleet.cli.checks import Check
from fleet.errors import BlobMissing, StoreRefused, StoreUnavailable, UsageError
from fleet.job import MIB
from fleet.settings import Settings
from fleet.subjects import PAYLOADS
from fleet.topology import object_stream

# Beyond it the next large batch may be refused.
FULL: Final = 0.9
# Never there: the answer that there is none shows that asking is allowed.
_NOTHING: Final = blob_key("fleet-doctor", "nothing")


class Usage(msgspec.Struct, frozen=True):
    """How full the object store is. limit_bytes: 0 for no limit."""

    used_bytes: int
    limit_bytes: int


async def examine_stores(connection: Connection) -> list[Check]:
    """Check the object store, and S3 if FLEET_S3_BUCKET names it. Changes nothing."""
    verdicts = [check_objects(await _usage(connection))]
    try:
        config = S3Config.of(Settings.from_env(os.environ))
    except UsageError as error:
        return [*verdicts, Check(name="s3", state="failed", detail=str(error), remedy="correct it")]
    if config is not None:
        verdicts.append(await check_s3(S3(config)))
    return verdicts


def check_objects(usage: Usage | None) -> Check:
    """Judge the room in the object store; usage: None where it is missing."""
    if usage is None:
        return Check(
            name=PAYLOADS, state="unknown", detail="no object store", remedy="run `fleet init`"
        )
    used = f"{usage.used_bytes / MIB:.1f} MiB"
    if usage.limit_bytes <= 0:
        return Check(name=PAYLOADS, state="ok", detail=f"{used}, without a limit")
    detail = f"{used} of {usage.limit_bytes / MIB:.0f} MiB"
    if usage.used_bytes > FULL * usage.limit_bytes:
        remedy = f"raise `max_bytes` of {object_stream(PAYLOADS)}, or submit `--via s3`"
        return Check(name=PAYLOADS, state="failed", detail=detail, remedy=remedy)
    return Check(name=PAYLOADS, state="ok", detail=detail)


async def check_s3(store: S3) -> Check:
    """Say whether S3 answers, and lets us read."""
    where = store.uri(_NOTHING).removesuffix(_NOTHING)
    try:
        await store.get(_NOTHING, limit_bytes=0)
    except BlobMissing:
        return Check(name="s3", state="ok", detail=f"{where} answers")
    except (StoreRefused, StoreUnavailable, UsageError) as error:
        remedy = "the consumers wait for it: correct FLEET_S3_* or the credentials"
        return Check(name="s3", state="failed", detail=str(error), remedy=remedy)
    return Check(name="s3", state="ok", detail=f"{where} answers")


async def _usage(connection: Connection) -> Usage | None:
    try:
        info = await connection.api(f"STREAM.INFO.{object_stream(PAYLOADS)}")
    except ApiError:
        return None
    return Usage(int(info["state"]["bytes"]), int(info["config"].get("max_bytes", 0)))
