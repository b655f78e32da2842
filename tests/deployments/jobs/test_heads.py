"""Jobs answer for every kind of head as HTTP does, in pages of results and in files."""

import csv
import io
import json
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from head_models import KINDS, TEXTS, bundle_of, expected, stages_of
from jobs_front import jobs_config, until_ended, with_jobs

from deployments.jobs.replica import JobsReplica


@pytest.mark.parametrize("name", KINDS)
def test_results_and_files(tmp_path: Path, name: str) -> None:
    bundle = bundle_of(name, tmp_path)
    several = bundle.head.task == "multi_label"

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        job = (await client.post("/predict", json={"texts": list(TEXTS)})).json()["job_id"]
        await until_ended(client, job)
        page = (await client.get(f"/results/{job}")).json()["results"]
        files = {
            kind: (await client.get(f"/results/{job}/file", params={"format": kind})).content
            for kind in ("csv", "jsonl", "parquet")
        }
        lists = [json.loads(line)["labels"] for line in files["jsonl"].splitlines()]
        cells = [row["labels"] for row in csv.DictReader(io.StringIO(files["csv"].decode()))]
        column = pq.read_table(io.BytesIO(files["parquet"])).column("labels").to_pylist()
        assert [json.loads(cell) if cell else None for cell in cells] == lists == column
        for text, item, labels in zip(TEXTS, page, lists, strict=True):
            found, scores = item["prediction"], expected(bundle, text)
            assert found["scores"] == pytest.approx(scores, abs=2e-6)
            assert found.get("labels") == labels
            if several:
                limits = dict(zip(bundle.labels, bundle.head.thresholds, strict=True))
                assert labels == [each for each in scores if scores[each] >= limits[each]]
            else:
                assert labels is None

    with_jobs(jobs_config(tmp_path), body, stages_of(bundle, tmp_path))
