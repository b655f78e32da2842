"""``make restore-drill``: the state folder of a running server is wrecked, and restored.

A private stack serves a second version and has finished a job. Under load it is backed up, then its
databases are overwritten and its artifacts deleted: serving must go on. After a stop, a restore and
a start the same version must answer, every audit chain must be whole, and the job's results be
there. Writes ``results/restore_drill.json``; exit status 1 when something does not hold.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.machine import ROOT
from benchmarks.harness.models import ACTOR, NAME, register_variant, served_version
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.stack import private_stack, registry_of, serve_config
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from operations.local_stack.stack import Stack

_TEXTS = ("The staff were friendly and quick.", "Never again, a complete waste of money.")
_JOB_TEXTS, _WRECKED_S, _ENDS_S = 300, 20.0, 120.0


def sentigraph(*arguments: str) -> tuple[float, str]:
    """Runs a verb; how long it took and what it printed."""
    began_s = time.monotonic()
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return round(time.monotonic() - began_s, 1), done.stdout


def finished_job(url: str) -> str:
    """A job whose results are there."""
    texts = [f"A wonderful text {i}" for i in range(_JOB_TEXTS)]
    answer = httpx.post(f"{url}/api/v1/batch/predict", json={"texts": texts}, timeout=30)
    job: str = answer.raise_for_status().json()["job_id"]
    ends_s = time.monotonic() + _ENDS_S
    while time.monotonic() < ends_s:
        status = httpx.get(f"{url}/api/v1/batch/status/{job}", timeout=30).json()["status"]
        if status == "completed":
            return job
        time.sleep(0.3)
    raise AssertionError(f"the job is {status}")


def wreck(state: Path) -> None:
    """Overwrites every database and deletes every artifact."""
    for file in [*state.glob("*.db"), *state.glob("*.db-wal")]:
        file.write_bytes(b"wrecked" * 1_000)
    shutil.rmtree(state / "artifacts")


def before(stack: Stack, state: Path, kept: Path, folder: Path) -> dict[str, Any]:
    """A backup and a wreck under load."""
    registry = registry_of(stack)
    second = register_variant(registry, folder, temperature=1.1)
    registry.lifecycle.transition(NAME, second, "staging", actor=ACTOR)
    registry.lifecycle.transition(NAME, second, "production", actor=ACTOR)
    job = finished_job(stack.url)
    entries = len(registry.ledger.events(NAME))
    registry.store.mlflow.close()
    with BackgroundLoad(stack.url, numbered_bodies(_TEXTS), rate_per_s=15.0) as load:
        time.sleep(3)
        took_s, said = sentigraph("backup", str(kept), "--state-dir", str(state))
        say(said)
        unwrecked = load.statuses.total()
        wreck(state)
        time.sleep(_WRECKED_S)
    return {
        "version": second,
        "job": job,
        "audit_entries": entries,
        "backup_s": took_s,
        "backup_mb": round(kept.stat().st_size / 1e6, 1),
        "requests_while_backed_up": unwrecked,
        "requests": load.statuses.total(),
        "failed": load.failed,
    }


def after(stack: Stack, job: str) -> dict[str, Any]:
    """What is there again."""
    registry = registry_of(stack)
    answer = httpx.post(f"{stack.url}/api/v1/predict", json={"text": "Is it back?"}, timeout=30)
    version, digest = served_version(answer.raise_for_status().content)
    page = httpx.get(f"{stack.url}/api/v1/batch/results/{job}?page_size=1000", timeout=30).json()
    return {
        "version": version,
        "digest_is_the_registrys": registry.store.resolve(NAME, version).digest == digest,
        "audit_entries": len(registry.ledger.events(NAME)),
        "job_results": len({one["index"] for one in page["results"]}),
    }


def main() -> int:
    """Runs the drill."""
    facts = run_facts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state, kept = folder / "state", folder / "kept.tar"
        config = serve_config(folder, {"jobs": {"enabled": True}})
        with private_stack(state, config) as stack:
            was = before(stack, state, kept, folder)
            say(was)
        restore_s, said = sentigraph("restore", str(kept), "--state-dir", str(state))
        say(said)
        with private_stack(state, config) as stack:
            found = after(stack, was["job"])
    held = {
        "nothing failed": was["failed"] == 0,
        "the same version answers": found["version"] == was["version"],
        "with the registry's digest": found["digest_is_the_registrys"],
        "the audit chain is whole": found["audit_entries"] >= was["audit_entries"],
        "the job's results are there": found["job_results"] == _JOB_TEXTS,
    }
    result(
        RESULTS / "restore_drill.json",
        {**facts, "before": was, "restore_s": restore_s, "after": found, "held": held},
    )
    return int(not all(held.values()))


if __name__ == "__main__":
    sys.exit(main())
