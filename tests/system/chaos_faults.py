"""What is done to which process, and what clients may see of it."""

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.processes import command_line
from operations.front.processes import Process
from operations.front.watchdog import Record
from operations.local_stack.processes import MARK, belonging
from operations.local_stack.stack import Stack

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
# Longer than any watch is patient, and short of Ray Serve's own replacement of a hung replica.
STOPPED_S = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may see at most. Nothing may ever be wrong, nor 404.

    Attributes:
        failed_s: Failed requests, in seconds of the load.
        silence_s: Longest time without a prediction.
        recovered_s: When the last request may fail or take over 2 s.
    """

    failed_s: float
    silence_s: float
    recovered_s: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """One fault.

    Attributes:
        target: Its name in the results.
        sent: The signal; SIGSTOP is followed by SIGCONT after ``STOPPED_S``.
        find: The stack's processes that get it.
        limits: Broken ones fail the run.
        why: What the limits rest on.
    """

    target: str
    sent: signal.Signals
    find: Callable[[Stack], Iterable[int]]
    limits: Limits
    why: str

    @property
    def name(self) -> str:
        """Target and signal."""
        return f"{self.target} {self.sent.name}"


def haproxy(stack: Stack) -> list[int]:
    """The HAProxy that listens."""
    folder = Path(stack.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent
    found = (Record(path.parent).read() for path in folder.glob("*/front.json"))
    return [serving.process.pid for serving in found if serving is not None]


def titled(*words: str) -> Callable[[Stack], list[int]]:
    """The stack's processes whose command line has one of ``words``."""

    def find(stack: Stack) -> list[int]:
        pids = sorted(belonging(stack.environ[MARK], set()))
        return [pid for pid in pids if any(word in command_line(pid) for word in words)]

    return find


def replica(deployment: str) -> Callable[[Stack], list[int]]:
    """The first replica of a deployment."""
    return lambda stack: titled(f"ray::ServeReplica:sentigraph:{deployment}")(stack)[:1]


def signalled(pids: Iterable[int], sent: signal.Signals) -> list[Process]:
    """Sends the signal; the processes that got it."""
    found = [Process.of(pid) for pid in pids]
    for one in found:
        one.send(sent)
    return found


# A new replica takes a core for seconds when it starts.
_NOTHING = Limits(failed_s=0.5, silence_s=5, recovered_s=5)
_FRONT = Limits(failed_s=2, silence_s=2, recovered_s=2)
_MLFLOW = titled("mlflow server", "mlflow.server", "mlflow/server")
_SHARED = Limits(failed_s=1, silence_s=3, recovered_s=20)
_HANGS = Limits(failed_s=1, silence_s=5, recovered_s=25)


def experiments(topology: str) -> list[Experiment]:
    """All faults of a topology; MLflow's last, for nothing starts it again."""
    off_path: list[tuple[str, Callable[[Stack], Iterable[int]]]] = [
        ("HAProxyManager", titled("ray::HAProxyManager")),
        ("ProxyActor", titled("ray::ProxyActor")),
        ("ServeController", titled("ray::ServeController")),
        ("Registry", replica("Registry")),
        ("Cache", replica("Cache")),
    ]
    both = (KILL, STOP)
    found = [
        Experiment("HAProxy", sent, haproxy, _FRONT, "its watchdog looks four times a second")
        for sent in both
    ]
    found += [
        Experiment(target, sent, find, _NOTHING, "no prediction needs it")
        for target, find in off_path
        for sent in both
    ]
    if topology == "split":
        for name in ("Tokenizer", "Model"):
            found += [
                Experiment(name, KILL, replica(name), _SHARED, "its texts are sent again"),
                Experiment(name, STOP, replica(name), _HANGS, "late texts are sent a second time"),
            ]
    found += [
        Experiment("Ingress", KILL, replica("Ingress"), _SHARED, "HAProxy sends them again"),
        Experiment("Ingress", STOP, replica("Ingress"), _HANGS, "it gets no more after a few"),
    ]
    found += [
        Experiment("MLflow", sent, _MLFLOW, _NOTHING, "no prediction needs it")
        for sent in (STOP, KILL)
    ]
    return found


IMPOSSIBLE = {
    "raylet": "the only node ends with it, and all that runs on it",
    "GCS": "it keeps its state in memory; with an external Redis it may come back, not on one node",
}
