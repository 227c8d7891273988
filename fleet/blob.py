"""What lies outside the queue: how blobs are named, and which of them a tenant may name.

A tenant's jobs may name the tenant's own blobs and nothing else: no address on the net, no file,
no other bucket. So a uri is taken apart here before anybody opens anything.
"""

import re
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from fleet.errors import JobRejected
from fleet.job import BadItem, Source, WireError
from fleet.subjects import PAYLOADS, plain, shown, token

# No `/`, no `%`, no dot in front: a name can leave its tenant's folder in no store.
NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
Scheme: TypeAlias = Literal["objects", "s3"]
_FORMS: Final = "objects://payloads/<tenant>/<name> or s3://<bucket>/<prefix>/<tenant>/<name>"


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of a blob.

    etag: names this version. written_at: seconds since the epoch, by the store.
    """

    etag: str
    size_bytes: int
    written_at: float


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A uri, taken apart. prefix: what stands between bucket and tenant, "" for nothing."""

    scheme: Scheme
    bucket: str
    prefix: str
    tenant: str
    name: str

    @property
    def uri(self) -> str:
        """The whole of it again."""
        folders = f"{self.prefix}/" if self.prefix else ""
        return f"{self.scheme}://{self.bucket}/{folders}{self.key}"

    @property
    def key(self) -> str:
        """The name within the fleet's part of the bucket."""
        return f"{self.tenant}/{self.name}"


def blob_key(tenant: str, name: str) -> str:
    """Name a tenant's blob. Raises JobRejected for what cannot be part of a name."""
    if not NAME.fullmatch(name):
        raise JobRejected(
            f"blob name {shown(name)} is not allowed: use 1 to 200 of A-Z, a-z, 0-9, '_', '-' and "
            "'.', not beginning with a dot",
            code="invalid_input",
        )
    return f"{token(tenant, what='tenant')}/{name}"


def input_name(sha256: str) -> str:
    """Name a file of requests by its content, so that the same file is stored once."""
    return f"{sha256}.jsonl"


def parse_place(uri: str) -> Place:
    """Take a uri apart. Raises JobRejected for anything but the two forms that exist."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise _no_place(uri, "it is no uri") from error
    match parts.scheme:
        case "objects" | "s3" as scheme:
            pass
        case other:
            raise _no_place(uri, f"nothing is fetched by {shown(other) if other else 'no scheme'}")
    # What is left out of the pieces must not be left unseen.
    if uri != f"{scheme}://{parts.netloc}{parts.path}":
        raise _no_place(uri, "it has more than a bucket and a key")
    *folders, tenant, name = ["", *parts.path.removeprefix("/").split("/")]
    prefix = "/".join(folders[1:])
    if not NAME.fullmatch(name) or not all(map(NAME.fullmatch, (*folders[1:], tenant))):
        raise _no_place(uri, "its key has parts that are not allowed")
    if scheme == "objects" and (parts.netloc != PAYLOADS or prefix):
        raise _no_place(uri, f"the object store is {PAYLOADS!r} and holds <tenant>/<name>")
    return Place(scheme=scheme, bucket=parts.netloc, prefix=prefix, tenant=tenant, name=name)


def source_of(raw: object, *, tenant: str) -> Source:
    """Read a job's `input`. Raises JobRejected, also for what is another tenant's."""
    try:
        source = msgspec.convert(raw, Source)
    except msgspec.ValidationError as error:
        raise JobRejected(
            f"`input`: {plain(str(error))}; it takes uri, sha256, first and count",
            code="invalid_input",
        ) from error
    place = parse_place(source.uri)
    if place.tenant != tenant:
        raise JobRejected(
            f"input {shown(source.uri)} is not tenant {tenant}'s: put the file where its jobs may "
            f"name it, {_FORMS}",
            code="foreign_input",
        )
    return source


def unread(source: Source, error: WireError | None = None) -> tuple[BadItem, ...]:
    """Stand in for the items of an input that was not read, or that cannot be for this reason."""
    why = error or WireError("input_unread", "the input of this job was not read")
    return tuple(BadItem(index=n, custom_id=None, error=why) for n in range(source.count))


def _no_place(uri: str, cause: str) -> JobRejected:
    return JobRejected(
        f"input {shown(uri)} is refused: {cause}; use {_FORMS}", code="invalid_input"
    )
