"""Write-ahead files → Parquet, on any file system that pyarrow knows. Needs no pandas.

A file is named after the write-ahead file that it is made of: made twice, it is the same
file, so a crash between writing and removing repeats no row.
"""

import errno
import io
import time
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq
from pyarrow import fs

from configs.schema.prediction_log import PredictionLogConfig

_TEXT = pa.string()
_LOOK_S = 300.0
_LINES = pa.schema(
    [
        ("timestamp_us", pa.int64()),
        ("prediction_id", _TEXT),
        ("source", _TEXT),
        ("text", _TEXT),
        ("text_policy", _TEXT),
        ("text_length", pa.int32()),
        ("n_tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("label", _TEXT),
        ("score", pa.float64()),
        ("labels", pa.list_(_TEXT)),
        ("scores", pa.list_(pa.float64())),
        ("inference_time_ms", pa.float64()),
        ("model_name", _TEXT),
        ("model_version", pa.int64()),
        ("model_digest", _TEXT),
        ("backend", _TEXT),
        ("cached", pa.bool_()),
        ("app_version", _TEXT),
        ("environment", _TEXT),
    ]
)
_TIME = pa.timestamp("us", "UTC")
# The contract with readers; the folders add ``date``, ``model`` and, if asked for, ``hour``.
SCHEMA = pa.schema([("timestamp", _TIME), *list(_LINES)[1:]])


class ParquetStore:
    """A folder or bucket of Parquet files. For one thread."""

    def __init__(self, config: PredictionLogConfig) -> None:
        """Opens nothing yet.

        Args:
            config: Address, compression and partitions.
        """
        self._uri = config.uri
        self._compression = None if config.compression == "none" else config.compression
        self._by_hour = config.partition_by == "hour"
        self._place: tuple[fs.FileSystem, str] | None = None
        self._most_bytes = config.max_stored_bytes
        # Of a folder, looked at again now and then: others write there, and people delete.
        self._stored_bytes = 0
        self._look_s = 0.0

    def write(self, name: str, lines: bytes) -> list[str]:
        """Writes rows; returns the paths of the files.

        Raises:
            OSError: The store does not answer, refuses, or has all bytes that it may; try later.
        """
        if not lines:
            return []
        self._check_room()
        read = pyarrow.json.ReadOptions(use_threads=False, block_size=max(len(lines), 1 << 20))
        parse = pyarrow.json.ParseOptions(
            explicit_schema=_LINES, unexpected_field_behavior="ignore"
        )
        table = pyarrow.json.read_json(io.BytesIO(lines), read_options=read, parse_options=parse)
        times = table.column("timestamp_us").cast(_TIME)
        table = table.set_column(0, "timestamp", times).select(SCHEMA.names).cast(SCHEMA)
        folders = self._folders(times, table.column("model_name"))
        return [
            self._write_file(f"{folder}/{name}.parquet", table.filter(pc.equal(folders, folder)))
            for folder in pc.unique(folders).to_pylist()
        ]

    def _check_room(self) -> None:
        if self._place is None:
            self._place = _place(self._uri)
        system, root = self._place
        if not isinstance(system, fs.LocalFileSystem):
            return
        if time.monotonic() >= self._look_s or self._stored_bytes >= self._most_bytes:
            selector = fs.FileSelector(root, allow_not_found=True, recursive=True)
            self._stored_bytes = sum(found.size or 0 for found in system.get_file_info(selector))
            self._look_s = time.monotonic() + _LOOK_S
        if self._stored_bytes >= self._most_bytes:
            raise OSError(errno.ENOSPC, "prediction_log.max_stored_bytes is reached")

    def _folders(self, times: pa.ChunkedArray, models: pa.ChunkedArray) -> pa.ChunkedArray:
        layout = "date=%Y-%m-%d/hour=%H" if self._by_hour else "date=%Y-%m-%d"
        # Arrow's %S would add fractions; dates and hours have none.
        return pc.binary_join_element_wise(pc.strftime(times, layout), models, "/model=")

    def _write_file(self, name: str, table: pa.Table) -> str:
        assert self._place is not None
        system, root = self._place
        path = f"{root}/{name}"
        system.create_dir(str(PurePosixPath(path).parent), recursive=True)
        if not isinstance(system, fs.LocalFileSystem):
            # An object store shows only complete files.
            pq.write_table(table, path, filesystem=system, compression=self._compression)
            return path
        # Readers of a folder skip names that begin with an underscore.
        folder, _, last = path.rpartition("/")
        unfinished = f"{folder}/_{last}"
        pq.write_table(table, unfinished, filesystem=system, compression=self._compression)
        self._stored_bytes += system.get_file_info(unfinished).size or 0
        system.move(unfinished, path)
        return path


def _place(uri: str) -> tuple[fs.FileSystem, str]:
    if uri.startswith("/"):
        return fs.LocalFileSystem(), uri.rstrip("/")
    system, root = fs.FileSystem.from_uri(uri)
    return system, root.rstrip("/")
