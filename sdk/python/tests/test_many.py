"""Any number of texts, and jobs; the same for both clients."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sentigraph_client import errors

Make = Callable[..., Any]
Failed = Callable[..., httpx2.Response]


def answering(prediction: dict[str, Any], most: int, refusal: httpx2.Response) -> Any:
    def answer(request: httpx2.Request) -> httpx2.Response:
        texts = json.loads(request.content)["texts"]
        if len(texts) > most:
            return refusal
        results = [
            {"index": i, "prediction": None, "error": {"error_code": "E1003", "error_message": ""}}
            if not text
            else {"index": i, "prediction": {**prediction, "label": text}, "error": None}
            for i, text in enumerate(texts)
        ]
        failed = sum(not text for text in texts)
        body = {**prediction, "results": results, "total": len(texts), "failed": failed}
        return httpx2.Response(200, json=body)

    return answer


@pytest.mark.parametrize(("status", "code"), [(422, "E1005"), (413, "E1001")])
def test_any_number_of_texts_keeps_its_order(
    make: Make, failed: Failed, prediction: dict[str, Any], status: int, code: str
) -> None:
    texts = [str(i) for i in range(1_050)]
    texts[7] = ""
    asked = make(answering(prediction, 300, failed(status, code)))
    items = asked.do(lambda client: client.predict_many(iter(texts), max_texts=500))
    assert [item.index for item in items] == list(range(1_050))
    labels = ["" if item.prediction is None else item.prediction.label for item in items]
    assert labels == texts
    assert items[7].error.error_code == "E1003"
    # Two of 500 are refused and halved.
    assert len(asked.requests) == 2 + 4 + 1
    assert asked.requests[0].headers["x-priority"] == "bulk"


def test_large_texts_are_cut_by_bytes(make: Make, failed: Failed, prediction: Any) -> None:
    asked = make(answering(prediction, 300, failed(413)))
    texts = ["x" * 1_500_000] * 5
    assert len(asked.do(lambda client: client.predict_many(texts))) == 5
    assert len(asked.requests) == 3


def test_a_single_text_that_is_too_large_is_an_error(make: Make, failed: Failed) -> None:
    asked = make(failed(413))
    with pytest.raises(errors.TooLarge):
        asked.do(lambda client: client.predict_many(["a", "b"]))
    assert asked.do(lambda client: client.predict_many([])) == []


JOB: dict[str, Any] = {
    "job_id": "j",
    "status": "pending",
    "total_texts": 3,
    "estimated_completion_seconds": None,
    "created_at": "2026-11-30T12:00:00Z",
    "priority": "medium",
    "progress_percentage": 0,
    "processed_texts": 0,
    "failed_texts": 0,
    "retried_texts": 0,
    "started_at": None,
    "completed_at": None,
    "error": None,
}


def job(status: str) -> httpx2.Response:
    return httpx2.Response(200, json={**JOB, "status": status})


def test_waiting_polls_ever_less_often(make: Make, failed: Failed) -> None:
    open_ones = [job("receiving"), job("pending"), job("processing")]
    asked = make(*open_ones, failed(503), job("completed"))
    seen: list[str] = []
    ended = asked.do(
        lambda client: client.jobs.wait("j", on_status=lambda status: seen.append(status.status))
    )
    assert ended.status == "completed"
    assert seen == ["receiving", "pending", "processing", "completed"]
    assert asked.pauses == pytest.approx([0.2, 0.3, 0.45, 0.25])


def test_waiting_ends_when_it_is_asked_to(make: Make) -> None:
    asked = make(job("processing"))
    with pytest.raises(errors.JobTimeout):
        asked.do(lambda client: client.jobs.wait("j", timeout_s=0.1))
    assert asked.do(lambda client: client.jobs.status("j")).status == "processing"


def test_results_are_read_page_by_page(make: Make) -> None:
    def page(request: httpx2.Request) -> httpx2.Response:
        number = int(request.url.params["page"])
        item = {"index": number - 1, "prediction": None, "error": None, "model_version": 1}
        summary = {
            "total_texts": 3,
            "successful_predictions": 3,
            "failed_predictions": 0,
            "success_rate": 1,
        }
        body = {
            "job_id": "j",
            "status": "completed",
            "results": [item],
            "total_results": 3,
            "page": number,
            "page_size": 1,
            "has_more": number < 3,
            "summary": summary,
        }
        return httpx2.Response(200, json=body)

    asked = make(page)
    items = asked.do(lambda client: client.jobs.iter_results("j", page_size=1))
    assert [item.index for item in items] == [0, 1, 2]


def test_a_file_is_opened_for_each_try(make: Make, failed: Failed, tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text\nfine\n", encoding="utf-8")
    asked = make(httpx2.ReadError("reset"), httpx2.Response(202, json=JOB))
    asked.do(lambda client: client.jobs.upload(file, text_column="text", max_batch_size=8))
    assert len(asked.requests) == 2
    sent = asked.requests[1]
    assert sent.headers["content-type"].startswith("multipart/form-data")


def test_a_download_is_there_only_when_it_is_whole(
    make: Make, failed: Failed, tmp_path: Path
) -> None:
    into = tmp_path / "results.csv"
    cut = httpx2.Response(200, content=b"half", headers={"content-length": "8"})
    whole = httpx2.Response(200, content=b"complete")
    asked = make(cut, whole)
    found = asked.do(lambda client: client.jobs.download("j", into, format="csv"))
    assert (found, into.read_bytes()) == (into, b"complete")
    assert len(asked.requests) == 2
    refused = make(failed(409, "E7004"))
    with pytest.raises(errors.Conflict):
        refused.do(lambda client: client.jobs.download("j", tmp_path / "none"))
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
