"""One schema for Parquet files whose columns have the same names and other types.

Each file of a folder is written alone, so a column that is empty in one is a column of nulls there,
and of numbers in the next. Types are unified where no value changes, before anything is scored.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import ScoreError, refusing
from pipelines.scoring.storage import FileInfo, Location

# Integers beyond are not all doubles.
_EXACT = 1 << 53


def unified_schema(place: Location, files: Sequence[FileInfo]) -> pa.Schema:
    """Returns the schema that all files can be read as; metadata are the first file's.

    Raises:
        ScoreError: A file cannot be read, or types of a column have none in common that keeps every
            value.
    """
    schemas, metadata = [], []
    for file in files:
        with (
            refusing(ScoreError, f"{file.path} cannot be read as parquet"),
            place.fs.open_input_file(file.path) as stream,
        ):
            opened = pq.ParquetFile(stream)
            schemas.append(opened.schema_arrow)
            metadata.append(opened.metadata)
    first = schemas[0]
    fields = []
    for column, field in enumerate(first):
        types = list(dict.fromkeys(schema.field(column).type for schema in schemas))
        common = types[0] if len(types) == 1 else _common(types)
        if common is None or (
            pa.types.is_float64(common)
            and not all(map(_fits_double, schemas, metadata, [column] * len(files)))
        ):
            raise ScoreError(
                f"column {field.name!r} is {', '.join(map(str, types))} in the files of "
                f"{place.uri}, and no type keeps the values of all; write it as one type"
            )
        nullable = any(schema.field(column).nullable for schema in schemas)
        fields.append(pa.field(field.name, common, nullable=nullable or common != field.type))
    kept = {key: value for key, value in (first.metadata or {}).items()}
    if any(new.type != old.type for new, old in zip(fields, first, strict=True)):
        # It names the first file's types, which readers would go by.
        kept.pop(b"pandas", None)
    return pa.schema(fields, kept or None)


def _common(types: Sequence[pa.DataType]) -> pa.DataType | None:
    """A type that holds every value of all of them as it is; None where there is none."""
    plain = [t.value_type if pa.types.is_dictionary(t) else t for t in types]
    plain = list(dict.fromkeys(t for t in plain if not pa.types.is_null(t)))
    if len(plain) == 1:
        return plain[0]
    if all(map(_is_text, plain)):
        return pa.large_string()
    if all(map(_is_bytes, plain)):
        return pa.large_binary()
    whole = [t for t in plain if pa.types.is_integer(t)]
    real = [t for t in plain if pa.types.is_floating(t)]
    if len(whole) + len(real) != len(plain):
        return None
    if not real:
        return _integer(whole)
    return pa.float64() if whole else max(real, key=lambda t: t.bit_width)


def _integer(types: Sequence[pa.DataType]) -> pa.DataType | None:
    unsigned = [t for t in types if pa.types.is_unsigned_integer(t)]
    if len(unsigned) in (0, len(types)):
        return max(types, key=lambda t: t.bit_width)
    return pa.int64() if all(t.bit_width < 64 for t in unsigned) else None


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _fits_double(schema: pa.Schema, metadata: pq.FileMetaData, column: int) -> bool:
    """Whether a file's values of a column are doubles as they are, by their stored extremes."""
    kind = schema.field(column).type
    if not pa.types.is_integer(kind) or kind.bit_width <= 32:
        return True
    name = schema.field(column).name
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for at in range(rows.num_columns):
            chunk = rows.column(at)
            if chunk.path_in_schema != name:
                continue
            known = chunk.statistics
            if known is None:
                return False
            if known.has_min_max:
                if max(abs(known.min), abs(known.max)) > _EXACT:
                    return False
            elif not known.has_null_count or known.null_count < chunk.num_values:
                return False
    return True
