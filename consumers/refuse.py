"""Deliveries that are no jobs."""

from fleet.broker.queue import Delivery
from fleet.claim import Claim
from fleet.errors import JobRejected
from fleet.job import Job
from fleet.refusal import Refusals
from fleet.wire import decode_envelope, decode_job


def receive(delivery: Delivery) -> Job:
    """Decode a delivery. Raises JobRejected."""
    if delivery.malformed:
        raise JobRejected(
            "the header block is malformed: send it as NATS/1.0 lines of `Name: value`",
            code="invalid_headers",
        )
    envelope = decode_envelope(
        delivery.subject, delivery.headers, stream=delivery.stream, sequence=delivery.sequence
    )
    return decode_job(envelope, delivery.payload, headers_bytes=delivery.headers_bytes)


class Refuser:
    """Settles deliveries that cannot be worked on."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals

    async def refuse(self, delivery: Delivery, cause: JobRejected) -> None:
        """Bury it, tell its sender, and take it off the queue."""
        await self._refusals.refuse(delivery, cause)
        await delivery.term(cause.code)

    async def bury(
        self, delivery: Delivery, job: Job, cause: JobRejected, claim: Claim | None
    ) -> None:
        """Keep a copy of a job of which nothing worked, with its history; settling it is ours."""
        history = [past.told for past in claim.history] if claim else []
        await self._refusals.bury(delivery, cause, tenant=job.tenant, job=job.id, history=history)

    async def conflict(self, delivery: Delivery, job: Job) -> None:
        """Bury a job whose id belongs to a job with other content, which is not touched."""
        cause = await self._refusals.conflict(delivery, tenant=job.tenant, job=job.id)
        await delivery.term(cause.code)
