"""The tables of batch jobs. SQLAlchemy Core, no ORM."""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

jobs = Table(
    "sentigraph_jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("idempotency_key", String(255)),
    Column("digest", String(64), nullable=False),
    Column("priority", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("chunk_texts", Integer, nullable=False),
    Column("total_texts", BigInteger, nullable=False, default=0),
    Column("done_texts", BigInteger, nullable=False, default=0),
    Column("failed_texts", BigInteger, nullable=False, default=0),
    Column("retried_texts", BigInteger, nullable=False, default=0),
    Column("created_s", Float(53), nullable=False),
    Column("deadline_s", Float(53), nullable=False),
    Column("started_s", Float(53)),
    Column("turn_s", Float(53), nullable=False),
    Column("ended_s", Float(53)),
    Column("error", Text, nullable=False, default=""),
    Column("webhook_url", Text, nullable=False, default=""),
    Column("webhook_attempts", Integer, nullable=False, default=0),
    # When the message is due; null when there is none to send any more.
    Column("webhook_due_s", Float(53)),
    UniqueConstraint("owner", "idempotency_key"),
    Index("sentigraph_jobs_state", "state"),
)

chunks = Table(
    "sentigraph_job_chunks",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("size", Integer, nullable=False),
    # pending, leased, done
    Column("state", String(8), nullable=False),
    Column("fence", Integer, nullable=False, default=0),
    Column("until_s", Float(53), nullable=False, default=0.0),
    Column("texts", LargeBinary, nullable=False),
    Column("results", LargeBinary),
    Index("sentigraph_job_chunks_state", "job_id", "state", "position"),
)

# Of jobs that came as files.
inputs = Table(
    "sentigraph_job_inputs",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("carried", LargeBinary, nullable=False),
)

rows = Table(
    "sentigraph_job_rows",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("rows", LargeBinary, nullable=False),
)
