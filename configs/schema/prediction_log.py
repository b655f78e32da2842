"""Settings of the log of predictions. Part of ``schema.py``."""

from typing import Literal

from pydantic import Field, SecretStr

from configs.schema.section import Section


class PredictionLogConfig(Section):
    """Every prediction as a row of Parquet files (`docs/guides/prediction-log.md`)."""

    enabled: bool = Field(
        False,
        description="Keep a row for every prediction over HTTP, over Kafka and of a batch job.",
    )
    uri: str = Field(
        ".sentigraph/predictions",
        min_length=1,
        description="Folder, or a URI that pyarrow knows: `s3://bucket/prefix`, `gs://…`, `abfs://…`. Credentials are the provider's usual ones; a relative path starts from the home folder.",
    )
    buffer_dir: str = Field(
        ".sentigraph/predictions-buffer",
        min_length=1,
        description="Node-local folder of the write-ahead files, on a disk that outlives the process; a relative path starts from the home folder.",
    )
    text: Literal["none", "hash", "redacted", "plain"] = Field(
        "hash",
        description="What is kept of a text: nothing, a digest, the text with e-mail and web addresses, @names and long numbers masked, or all of it.",
    )
    hash_key: SecretStr = Field(
        SecretStr(""),
        description="Key of the digests; without one, whoever guesses a text can tell whether it is in the log.",
    )
    rows_per_file: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Rows after which a file is written.",
    )
    flush_s: float = Field(
        30,
        ge=0.1,
        le=3_600,
        description="Age of the oldest row after which a file is written although it is small.",
    )
    max_queued_rows: int = Field(
        50_000,
        ge=1,
        le=10_000_000,
        description="Rows of one replica on their way to its write-ahead file; beyond it rows are dropped and counted, predictions never wait.",
    )
    max_buffer_bytes: int = Field(
        1 << 30,
        ge=65_536,
        le=1 << 44,
        description="Write-ahead files in `buffer_dir` while `uri` does not take them; beyond it rows are dropped and counted.",
    )
    max_stored_bytes: int = Field(
        68_719_476_736,
        ge=65_536,
        le=1 << 50,
        description="Files below `uri` where that is a folder; beyond it rows wait in `buffer_dir` until older files are gone, and are dropped and counted when that is full too.",
    )
    compression: Literal["none", "snappy", "gzip", "lz4", "zstd"] = Field(
        "snappy", description="Of the Parquet columns."
    )
    partition_by: Literal["date", "hour"] = Field(
        "date",
        description="Folders: `date=…/model=…`, or `date=…/hour=…/model=…`.",
    )
