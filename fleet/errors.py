"""Every error of ours, named by its remedy.

FleetError
├── JobError              the job's own fault: a value in the end (an error result, a dead letter)
│   ├── JobRejected       never retry: the same bytes will fail again
│   └── JobFailed         retry later, elsewhere or here
├── ProcessError          this process is not fit to work: end it and let another one start
│   ├── EngineDead        the engine or its child process is gone or hangs
│   └── ConnectionLost    the connection to NATS is closed for good
├── LeaseLost             another consumer owns the job now: drop it and say nothing more
├── BrokerRefused         the broker said no: full, forbidden, or without JetStream
├── BrokerUnreachable     nobody answered: check the address, the server and the credentials
├── StoreUnavailable      the blob store did not answer, or asked for patience: try later
├── StoreRefused          the blob store said no: credentials, bucket, room
├── BlobError             this blob, whoever asks: mend what names it, or what wrote it
│   ├── BlobMissing       there is none of that name, or no longer
│   ├── BlobCorrupt       its bytes are not those that were named
│   └── BlobTooLarge      it is over the limit of its reader
├── BlobChanged           a guarded write was refused: the blob is another's by now
├── CorruptRecord         stored data is not ours: write over it, or remove it
├── NotFound              no such batch, job or model
└── UsageError            what the caller asked for cannot be right
"""


class FleetError(Exception):
    """The root of all errors of ours. The text names the thing, the cause and the remedy."""


class JobError(FleetError):
    """The job's own fault.

    code: a short machine-readable cause such as `invalid_json` or `context_exceeded`.
    """

    def __init__(self, message: str, *, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.code = code


class JobRejected(JobError):
    """It can never succeed as it is."""


class JobFailed(JobError):
    """It may succeed later."""

    def __init__(self, message: str, *, code: str = "failed") -> None:
        super().__init__(message, code=code)


class ProcessError(FleetError):
    """This process cannot go on; a supervisor starts another one."""


class EngineDead(ProcessError):
    """The engine is gone or gives no sign of life."""


class ConnectionLost(ProcessError):
    """The connection to NATS closed for good."""


class LeaseLost(FleetError):
    """A guarded write was refused: another consumer has this job."""


class BrokerRefused(FleetError):
    """The broker answered, and the answer was no."""


class BrokerUnreachable(FleetError):
    """The broker did not answer in time."""


class StoreUnavailable(FleetError):
    """The blob store did not answer in time, or cannot serve us now."""


class StoreRefused(FleetError):
    """The blob store answered, and the answer was no."""


class BlobError(FleetError):
    """Reading this blob fails for as long as it is what it is."""


class BlobMissing(BlobError):
    """There is no such blob, or there is no longer."""


class BlobCorrupt(BlobError):
    """The bytes are not those that were asked for."""


class BlobTooLarge(BlobError):
    """The blob is larger than its reader takes."""


class BlobChanged(FleetError):
    """A guarded write was refused: other bytes lie there."""


class CorruptRecord(FleetError):
    """What is stored does not decode: another version, or a foreign client, wrote it.

    revision: what a write over it has to name. written_at: seconds since the epoch.
    """

    def __init__(self, message: str, *, revision: int, written_at: float) -> None:
        super().__init__(message)
        self.revision = revision
        self.written_at = written_at


class NotFound(FleetError):
    """What was asked for does not exist."""


class UsageError(FleetError):
    """The request itself is wrong; nothing was sent."""
