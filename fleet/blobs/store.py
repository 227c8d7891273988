"""What every blob store promises. One contract suite holds all of them to it."""

from typing import Protocol

from fleet.blob import Place, Stat


class BlobStore(Protocol):
    """Whole blobs by key, `<tenant>/<name>`; bytes are checked on the way out.

    Every method raises StoreUnavailable or BrokerUnreachable when nobody answered: trying later may
    help; StoreRefused or BrokerRefused when the answer was no: an operator has to help.
    """

    async def put(self, key: str, data: bytes, *, etag: str | None = None) -> str:
        """Store a blob and return its etag.

        etag: None only where there is no blob, else only over that version, which makes a blob of
        the same bytes young again. Where these very bytes lie already a refusal counts as done, so
        it may be repeated when an answer was lost. Raises BlobChanged if others lie there.
        """
        ...

    async def get(self, key: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        """Read a blob whole. Raises BlobMissing, BlobTooLarge, BlobCorrupt."""
        ...

    async def head(self, key: str) -> Stat | None:
        """Say what there is; None for nothing."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a blob; nothing happens where there is none."""
        ...

    def uri(self, key: str) -> str:
        """Name a blob as a job's `input` does."""
        ...

    def holds(self, place: Place) -> bool:
        """Say whether a place is in this store, within the part that is ours."""
        ...
