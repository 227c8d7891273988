"""The file that says where an EC2 pool's machines come from."""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from fleet.errors import UsageError
from fleet.pool.ec2_api import Place
from fleet.pool.ec2_forms import Ec2Config
from fleet.subjects import plain


class _File(Ec2Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Ec2Config with its place. endpoint: URL of what is not AWS."""

    region: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{4,32}$")]
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+$")] | None = None


def read_settings(path: Path) -> tuple[Ec2Config, Place]:
    """Read the file. Raises UsageError."""
    try:
        told = msgspec.convert(tomllib.loads(path.read_text()), _File)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"pool file {plain(str(path))}: {plain(str(error))}") from error
    config = Ec2Config(
        pool=told.pool,
        template=told.template,
        subnets=told.subnets,
        instance_types=told.instance_types,
        template_version=told.template_version,
    )
    return config, Place(region=told.region, endpoint=told.endpoint)
