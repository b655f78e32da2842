"""The tables of the Insight deployment: counts, references and events; no texts."""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# What replicas have sent. The key makes a delta that arrives again count once; a row stays for a
# while after its block was closed.
deltas = Table(
    "sentigraph_insight_deltas",
    metadata,
    Column("source", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("arrived_s", Float(53), nullable=False),
    Column("in_block", Integer, nullable=False, default=0),
    Column("counts", LargeBinary, nullable=False),
    Index("sentigraph_insight_deltas_open", "digest", "in_block"),
)

watched = Table(
    "sentigraph_insight_watched",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("labels", LargeBinary, nullable=False),
    Column("reference", LargeBinary, nullable=False),
    Column("reference_kind", String(16), nullable=False),
    Column("reference_id", String(32), nullable=False),
    Column("reference_s", Float(53), nullable=False),
    Column("log_sums", LargeBinary, nullable=False),
    Column("levels", LargeBinary, nullable=False),
    Column("blocks", BigInteger, nullable=False),
    Column("block_s", Float(53), nullable=False),
)

blocks = Table(
    "sentigraph_insight_blocks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("ended_s", Float(53), nullable=False),
    Column("counts", LargeBinary, nullable=False),
    Index("sentigraph_insight_blocks_ended", "digest", "ended_s"),
)

events = Table(
    "sentigraph_insight_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_s", Float(53), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("signal", String(32), nullable=False),
    Column("level", String(16), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Index("sentigraph_insight_events_at", "digest", "at_s"),
)
