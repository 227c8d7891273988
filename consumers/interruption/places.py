"""Where the metadata services are, by the variables that their own tools obey. Pure."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from fleet.errors import UsageError
from fleet.settings import Cloud
from fleet.subjects import shown

# All three clouds answer here. For GCP its name would do as well, but a name that nobody resolves
# blocks a thread for many seconds, and there is no such name outside of GCP.
LINK_LOCAL: Final = "http://169.254.169.254"
AWS_IPV6: Final = "http://[fd00:ec2::254]"


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Base URLs without a slash at the end; None is a service that is not to be asked."""

    aws: str | None = LINK_LOCAL
    gcp: str | None = LINK_LOCAL
    azure: str | None = LINK_LOCAL


def places(cloud: Cloud, env: Mapping[str, str]) -> Places:
    """Say whom to ask. Raises UsageError for an address that is none."""
    return Places(
        aws=_aws(env) if cloud in {"auto", "aws"} else None,
        gcp=_gcp(env) if cloud in {"auto", "gcp"} else None,
        azure=_azure(env) if cloud in {"auto", "azure"} else None,
    )


def _aws(env: Mapping[str, str]) -> str | None:
    if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    if given := env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return _url("AWS_EC2_METADATA_SERVICE_ENDPOINT", given)
    mode = env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower()
    if mode not in {"", "ipv4", "ipv6"}:
        raise UsageError(
            f"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE={shown(mode)} is neither IPv4 nor IPv6"
        )
    return AWS_IPV6 if mode == "ipv6" else LINK_LOCAL


def _gcp(env: Mapping[str, str]) -> str:
    given = env.get("GCE_METADATA_HOST")
    return _url("GCE_METADATA_HOST", f"http://{given}") if given else LINK_LOCAL


def _azure(env: Mapping[str, str]) -> str:
    # Azure's own tools know no variable for it.
    given = env.get("FLEET_AZURE_METADATA")
    return _url("FLEET_AZURE_METADATA", given) if given else LINK_LOCAL


def _url(name: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        good = good and parts.path in {"", "/"}
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"{name}={shown(text)} is no address: give http://HOST[:PORT]")
    return text.rstrip("/")
