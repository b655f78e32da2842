"""How the texts and rows of a job come into the database: a few chunks in each transaction."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from sqlalchemy import Engine, and_, func, insert, select

from deployments.jobs.records import Part
from deployments.jobs.tables import chunks, jobs, rows

# Chunks written in one transaction while a job is received, fewer where they are large.
_CHUNKS_AT_ONCE, _BYTES_AT_ONCE = 16, 8 << 20
# A sum over all chunks: not for each transaction.
_ASK_EVERY_BYTES = 16 << 20
WITH_ROWS = chunks.outerjoin(
    rows, and_(rows.c.job_id == chunks.c.job_id, rows.c.position == chunks.c.position)
)
_CHUNK_BYTES = (
    func.length(chunks.c.texts)
    + func.coalesce(func.length(chunks.c.results), 0)
    + func.coalesce(func.length(rows.c.rows), 0)
)
_STORED_BYTES = select(func.coalesce(func.sum(_CHUNK_BYTES), 0)).select_from(WITH_ROWS)
_OWN_BYTES = select(func.coalesce(func.sum(_CHUNK_BYTES), 0)).select_from(
    WITH_ROWS.join(jobs, chunks.c.job_id == jobs.c.id)
)


def store_parts(
    engine: Engine,
    job_id: str,
    parts: Iterable[Part],
    refuse: Callable[[int, int, int | None], None],
    owner: str,
) -> int:
    """See ``JobStore.receive``."""
    total = job_bytes = asked_at = stored_bytes = position = 0
    own_bytes: int | None = None
    for found in _several(parts):
        received = [_chunk_row(job_id, position + i, part) for i, part in enumerate(found)]
        carried = [
            {"job_id": job_id, "position": position + i, "rows": part.rows}
            for i, part in enumerate(found)
            if part.rows
        ]
        position += len(found)
        total += sum(row["size"] for row in received)
        job_bytes += sum(len(row["texts"]) for row in received)
        job_bytes += sum(len(part.rows) for part in found)
        with engine.begin() as connection:
            connection.execute(insert(chunks), received)
            if carried:
                connection.execute(insert(rows), carried)
            if not stored_bytes or job_bytes >= asked_at + _ASK_EVERY_BYTES:
                asked_at = job_bytes
                stored_bytes = int(connection.execute(_STORED_BYTES).scalar_one())
                if owner:
                    own = _OWN_BYTES.where(jobs.c.owner == owner)
                    own_bytes = int(connection.execute(own).scalar_one())
            more = job_bytes - asked_at
            refuse(job_bytes, stored_bytes + more, None if own_bytes is None else own_bytes + more)
    return total


def _several(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts for one transaction each."""
    found: list[Part] = []
    size = 0
    for part in parts:
        found.append(part)
        size += len(part.rows)
        if len(found) == _CHUNKS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield found
            found, size = [], 0
    if found:
        yield found


def _chunk_row(job_id: str, position: int, part: Part) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "position": position,
        "size": len(part.texts),
        "state": "pending",
        "texts": orjson.dumps(part.texts),
    }
