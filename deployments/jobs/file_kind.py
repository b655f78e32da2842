"""What a file of texts is, by the end of its name; jobs and the verbs read the same ones."""

from deployments.jobs.records import Kind

SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
KINDS = f"{', '.join(SUFFIXES)} (CSV and JSON lines also {' or '.join(COMPRESSIONS)})"
"""For messages: the endings that can be read."""


def kind_of(name: str) -> Kind | None:
    """CSV of any separator, JSON lines or Parquet; None when it is none that can be read."""
    suffix, compressed = suffix_of(name), compression_of(name) is not None
    kind = SUFFIXES.get(suffix)
    return None if kind == "parquet" and compressed else kind


def suffix_of(name: str) -> str:
    """The ending in small letters, without that of the compression; empty where there is none."""
    plain = name.lower()
    if compression_of(name):
        plain = plain.rpartition(".")[0]
    return next((suffix for suffix in SUFFIXES if plain.endswith(suffix)), "")


def compression_of(name: str) -> str | None:
    """How a file is compressed; None when it is not."""
    return next((c for end, c in COMPRESSIONS.items() if name.lower().endswith(end)), None)
