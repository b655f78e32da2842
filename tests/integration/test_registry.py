"""The registry through the running graph: HTTP at the ingress, MLflow in the Registry replica."""

import hashlib
import io
import zipfile
from pathlib import Path
from uuid import uuid4

import httpx

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "sentiment"


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as pack:
        for file in BUNDLE.iterdir():
            if file.suffix in {".json", ".onnx"}:
                pack.write(file, file.name)
    return out.getvalue()


def test_a_model_of_many_megabytes_goes_up_and_comes_down(client: httpx.Client) -> None:
    model = f"m-{uuid4().hex[:8]}"
    assert client.post("/models", json={"name": model}).status_code == 201
    body = {"version": "1.0.0", "metadata": {"author": "ana"}}
    assert client.post(f"/models/{model}/versions", json=body).status_code == 201
    content = zipped()
    assert len(content) > 5_000_000
    path = f"/models/{model}/versions/1.0.0/artifact"
    stored = client.post(path, files={"file": content}, data={"format": "bundle"})
    assert stored.status_code == 200, stored.text

    whole = client.get(path)
    assert hashlib.sha256(whole.content).hexdigest() == whole.headers["etag"].strip('"')
    onnx = client.get(f"{path}/model.onnx")
    assert onnx.content == (BUNDLE / "model.onnx").read_bytes()
    part = client.get(f"{path}/model.onnx", headers={"Range": "bytes=1000000-1000099"})
    assert (part.status_code, part.content) == (206, onnx.content[1_000_000:1_000_100])
    assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304

    missing = client.get("/models/none", headers={"X-Correlation-ID": "mine"})
    assert missing.status_code == 404
    assert missing.headers["x-correlation-id"] == missing.json()["correlation_id"] == "mine"
    too_large = client.post("/models", content=b" " * 5_000_000)
    assert too_large.status_code == 413
    assert client.delete(f"/models/{model}").status_code == 204


def test_the_first_version_has_its_audit(client: httpx.Client) -> None:
    entries = client.get("/models/sentiment/audit").json()["entries"]
    assert [e["action"] for e in entries][-3:] == ["promote", "to_staging", "create_version"]
    assert client.get("/models/sentiment").json()["aliases"]["champion"] == 1
    assert client.get("/models/sentiment/versions/1").json()["evaluations"][0]["metrics"]
