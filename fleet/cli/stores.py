"""Which blob store a command means."""

import os
from pathlib import Path
from typing import Final, Literal, TypeAlias

from fleet.blobs.s3 import S3, S3Config
from fleet.blobs.store import BlobStore
from fleet.broker.connection import Connection
from fleet.broker.objects import Objects
from fleet.errors import UsageError
from fleet.manifest import Via
from fleet.settings import Settings

Choice: TypeAlias = Via | Literal["auto"]
CHOICES: Final = ("inline", "objects", "s3", "auto")
# Up to this size, `auto` puts the requests themselves into the queue.
AUTO_BYTES: Final = 32 * 1024 * 1024


def chosen(choice: Choice, file: Path) -> Via:
    """Resolve `auto`: a large file is uploaded, to S3 where that is configured."""
    if choice != "auto":
        return choice
    if file.stat().st_size <= AUTO_BYTES:
        return "inline"
    return "objects" if s3_config() is None else "s3"


def opened(kind: Literal["objects", "s3"], connection: Connection) -> BlobStore:
    """Give the store. Raises UsageError where no S3 is configured."""
    if kind == "objects":
        return Objects(connection)
    config = s3_config()
    if config is None:
        raise UsageError("S3 is not configured: set FLEET_S3_BUCKET, as the consumers have it")
    return S3(config)


def s3_config() -> S3Config | None:
    """Read FLEET_S3_* of the environment. Raises UsageError."""
    return S3Config.of(Settings.from_env(os.environ))
