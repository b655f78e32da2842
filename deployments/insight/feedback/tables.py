"""The tables of feedback. Texts are only in ``drawn``, as the text policy keeps them."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, String, Table, Text

from deployments.insight.tables import metadata

versions = Table(
    "sentigraph_feedback_versions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("labels", LargeBinary, nullable=False),
    Column("first_s", Float(53), nullable=False),
)

# Append-only. ``number`` orders the outbox; the key makes a repeated request count once.
events = Table(
    "sentigraph_feedback_events",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("event_id", String(64), nullable=False, unique=True),
    Column("prediction_id", String(36), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("label", String(255), nullable=False),
    Column("source", String(16), nullable=False),
    Column("actor", String(32), nullable=False),
    Column("received_s", Float(53), nullable=False),
    Column("comment", Text, nullable=False),
    Column("published", Integer, nullable=False, default=0),
    Index("sentigraph_feedback_events_of", "prediction_id"),
    Index("sentigraph_feedback_events_out", "published", "number"),
)

# Derived: deleting it and deriving again gives the same rows.
labels = Table(
    "sentigraph_feedback_labels",
    metadata,
    Column("prediction_id", String(36), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("predicted", String(255), nullable=False),
    Column("label", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("trusted", Integer, nullable=False),
    Column("events", Integer, nullable=False),
    Column("resolved_s", Float(53), nullable=False),
    Column("answered_s", Float(53), nullable=False),
    Index("sentigraph_feedback_labels_at", "digest", "answered_s"),
)

drawn = Table(
    "sentigraph_feedback_drawn",
    metadata,
    Column("prediction_id", String(36), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("answered_s", Float(53), nullable=False),
    Column("text", Text, nullable=False),
    Column("label", String(255), nullable=False),
    Column("scores", LargeBinary, nullable=False),
    Column("drawn", String(16), nullable=False),
    Column("share", Float(53), nullable=False),
    Column("source", String(16), nullable=False),
    Column("judged", Integer, nullable=False, default=0),
    Column("leased_by", String(32), nullable=False, default=""),
    Column("lease_s", Float(53), nullable=False, default=0.0),
    Index("sentigraph_feedback_drawn_open", "judged", "drawn", "answered_s"),
    Index("sentigraph_feedback_drawn_of", "digest", "answered_s"),
)
