"""What a job is: its states, its priorities, and what is leased of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

Priority = Literal["high", "medium", "low"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
"""Most urgent first."""

State = Literal["receiving", "pending", "processing", "completed", "failed", "cancelled", "expired"]
OPEN: tuple[State, ...] = ("pending", "processing")
"""States in which work is left; ``receiving``, before them, is a file that is still read."""

Texts = Sequence[str | None]
"""Of one chunk, in order; None stands for what is no text."""

Results = Sequence[dict[str, object]]
"""Of one chunk, in order; each has ``index``, ``prediction`` or ``error``, ``model_version``."""

Kind = Literal["csv", "jsonl", "parquet"]
"""Of an uploaded file."""

ENDED: tuple[State, ...] = ("completed", "failed", "cancelled", "expired")


def utc(seconds: float | None) -> datetime | None:
    """Epoch seconds as an aware time; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True)
class Carried:
    """What the rows of an uploaded file have in common.

    Attributes:
        kind: Of the file.
        prefix: Before the names of what is added to a row.
        columns: Names in order; none of JSON lines.
        schema: Of Parquet, Arrow's message of it in base64; else empty.
        separator: Between columns of CSV.
    """

    kind: Kind
    prefix: str
    columns: Sequence[str] = ()
    schema: str = ""
    separator: str = ","


@dataclass(frozen=True, slots=True)
class Part:
    """The texts of one chunk, and their rows as the file had them.

    Attributes:
        texts: In order; None stands for what is no text.
        rows: JSON of lines or of lists of fields; of Parquet, a stream of Arrow; empty where the
            job has texts alone.
    """

    texts: Texts
    rows: bytes = b""


@dataclass(frozen=True, slots=True)
class ScoredPart:
    """A chunk that is done: see ``Part``, and the result of each text."""

    texts: Texts
    results: Results
    rows: bytes


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is asked for.

    Attributes:
        id: 32 hexadecimal digits.
        owner: The caller's id where access is checked, else empty.
        priority: Which jobs go first.
        chunk_texts: Texts of one chunk.
        deadline_s: Epoch seconds; not ended by then, it expires.
        created_s: Epoch seconds.
        idempotency_key: Of the caller's choice; the same again finds this job.
        digest: Of all that was asked for, so that one key never names two things.
        webhook_url: Receives a message when the job has ended; empty for none.
    """

    id: str
    owner: str
    priority: Priority
    chunk_texts: int
    deadline_s: float
    created_s: float
    idempotency_key: str | None = None
    digest: str = ""
    webhook_url: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands.

    Attributes:
        id: See ``NewJob``, as ``priority``, ``chunk_texts``, ``created_s``, ``deadline_s``,
            ``digest`` and ``webhook_url``.
        state: Where it is.
        total_texts: All of it.
        done_texts: Texts with a stored result, failed ones included.
        failed_texts: Texts whose result is an error.
        retried_texts: Texts of chunks that were leased again after their process died: no more
            than these were classified twice.
        started_s: When its first chunk was leased, or None.
        ended_s: When it ended, or None.
        error: Why it failed or expired; empty otherwise.
        webhook_attempts: Times that its message was sent.
    """

    id: str
    priority: Priority
    state: State
    chunk_texts: int
    total_texts: int
    done_texts: int
    failed_texts: int
    retried_texts: int
    created_s: float
    deadline_s: float
    started_s: float | None
    ended_s: float | None
    error: str
    digest: str
    webhook_url: str
    webhook_attempts: int


@dataclass(frozen=True, slots=True)
class ChunkLease:
    """A chunk that this process alone may answer until ``until_s``.

    Attributes:
        job_id: Whose chunk.
        position: Chunk number in the job.
        first: Position of its first text in the job.
        fence: Rises with every lease of the chunk; a result with an older one is refused.
        attempts: Times that it was leased, this time included.
        texts: In order; None stands for what is no text.
        deadline_s: The job's, epoch seconds.
        waited_s: Time from the job's creation to its first lease, with that lease; else None.
    """

    job_id: str
    position: int
    first: int
    fence: int
    attempts: int
    texts: Sequence[str | None]
    deadline_s: float
    priority: Priority
    waited_s: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job with a chunk to lease.

    Attributes:
        job_id: Which.
        priority: As it was asked for.
        since_s: When it last had a turn; before its first, when it was created.
        texts: Of its next chunk, about.
        owner: See ``NewJob``.
    """

    job_id: str
    priority: Priority
    since_s: float
    texts: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class JobBacklog:
    """Texts left of an open job, and whose it is."""

    job_id: str
    priority: Priority
    texts: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a caller asks of a job, besides its texts.

    Attributes:
        owner: The caller's id where access is checked, else empty.
        priority: Which jobs go first.
        max_batch_size: Texts of one chunk, or None.
        timeout_seconds: Time for the job, or None.
        webhook_url: Receives a message when the job has ended; empty for none.
        idempotency_key: The same again finds the same job, or None.
    """

    owner: str
    priority: Priority
    max_batch_size: int | None
    timeout_seconds: int | None
    webhook_url: str
    idempotency_key: str | None

    @property
    def asked(self) -> list[object]:
        """What tells jobs of the same texts apart."""
        return [self.priority, self.max_batch_size, self.timeout_seconds, self.webhook_url]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job and when it will be done: seconds from now, None when that is not known."""

    job: Job
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some results of a job, and how many there are by now without a gap."""

    job: Job
    results: list[dict[str, object]]
    ready: int
