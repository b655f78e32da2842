"""Who is compared, and with which settings: the whole list that a sceptic wants to see first.

Every peer is started with the same total of engine threads as the machine has cores. A peer
runs at the usual setting (batches of 32, 5 ms of waiting) and at the best setting of its grid;
ours runs at its defaults only. ``benchmarks/peers/`` holds the servers themselves.
"""

from dataclasses import dataclass, replace

from benchmarks.comparison.wire import BENTOML, MLFLOW, OPEN_INFERENCE, OURS, PLAIN, Wire

USUAL_BATCH, USUAL_WAIT_MS = 32, 5.0
BATCHES = (8, 32)
WAITS_MS = (0.0, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """How one server is started.

    Attributes:
        max_batch: Texts in one batch; 1 turns batching off.
        wait_ms: Longest wait for a batch to fill; None where the server decides.
        workers: Processes or instances that each hold a model; cores are shared among them.
        concurrency: The framework's own limit on requests inside a worker; 0 is its default.
    """

    max_batch: int
    wait_ms: float | None
    workers: int
    concurrency: int = 0

    def __str__(self) -> str:
        batch = f"batch {self.max_batch}" if self.max_batch > 1 else "no batching"
        wait = f", {self.wait_ms:g} ms" if self.max_batch > 1 and self.wait_ms is not None else ""
        limit = f", {self.concurrency} at once" if self.concurrency else ""
        return f"{batch}{wait}, {self.workers} workers{limit}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A system of the comparison.

    Attributes:
        name: On the command line and in the raw file.
        title: In tables.
        note: One line on how the documented way was taken.
        wire: How it is spoken to.
        folder: Below ``benchmarks/peers/``; empty for ours.
        script: The server file.
        package: The pin whose version is shown.
        batches: Whether batch size and wait mean something to it.
        waits: Whether the wait can be set, if it batches.
        limits: Values of ``Setting.concurrency`` that its grid tries.
        topology: Ours only.
    """

    name: str
    title: str
    note: str
    wire: Wire
    folder: str = ""
    script: str = "server.py"
    package: str = ""
    batches: bool = True
    waits: bool = True
    limits: tuple[int, ...] = (0,)
    topology: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether this is sentigraph."""
        return bool(self.topology)

    def usual(self, cores: int) -> Setting:
        """The setting that most guides show, with one worker for each core."""
        if not self.batches:
            return Setting(1, 0.0, cores)
        return Setting(USUAL_BATCH, USUAL_WAIT_MS if self.waits else None, cores)

    def grid(self, cores: int, *, short: bool) -> list[Setting]:
        """Settings that compete for this peer's best, the usual one first, none twice.

        Args:
            cores: Of the machine.
            short: The three of ``make bench`` instead of all of ``make bench-full``.
        """
        if short:
            pairs = [(1, 0.0), (8, 1.0)] if self.batches else [(1, 0.0)]
            tried = [Setting(*pair, cores, max(self.limits)) for pair in pairs]
        else:
            pairs = [(1, 0.0)]
            if self.batches:
                pairs += [(size, wait) for size in BATCHES for wait in WAITS_MS]
            tried = [
                Setting(size, wait, workers, limit)
                for workers in (cores, 1)
                for limit in self.limits
                for size, wait in pairs
            ]
        if not self.waits:
            tried = [replace(setting, wait_ms=None) for setting in tried]
        return list(dict.fromkeys([self.usual(cores), *tried]))


PEERS: tuple[Peer, ...] = (
    Peer(
        "ours-split",
        "sentigraph, split",
        "`make serve` as it is: defaults, Ray, MLflow and dashboard running",
        OURS,
        topology="split",
    ),
    Peer(
        "ours-fused",
        "sentigraph, fused",
        "the same with MLOPS_TOPOLOGY=fused",
        OURS,
        topology="fused",
    ),
    Peer(
        "fastapi-plain",
        "FastAPI",
        "`def` route in the thread pool, one uvicorn worker per core",
        PLAIN,
        folder="fastapi",
        script="plain.py",
        package="fastapi",
        batches=False,
        limits=(0, 1),
    ),
    Peer(
        "fastapi-batched",
        "FastAPI + batcher",
        "asyncio queue and one engine thread in each of one uvicorn worker per core",
        PLAIN,
        folder="fastapi",
        script="batched.py",
        package="fastapi",
    ),
    Peer(
        "litserve",
        "LitServe",
        "one LitAPI, workers_per_device = cores, fast_queue",
        PLAIN,
        folder="litserve",
        package="litserve",
    ),
    Peer(
        "bentoml",
        "BentoML",
        "batchable API, workers = cores; its wait is learned, not set; request is a list of one",
        BENTOML,
        folder="bentoml",
        package="bentoml",
        waits=False,
    ),
    Peer(
        "mlserver",
        "MLServer",
        "MLModel with adaptive batching, parallel_workers = cores",
        OPEN_INFERENCE,
        folder="mlserver",
        package="mlserver",
    ),
    Peer(
        "mosec",
        "mosec",
        "one stage of worker processes, one per core",
        PLAIN,
        folder="mosec",
        package="mosec",
    ),
    Peer(
        "pytriton",
        "Triton core (PyTriton)",
        "Triton's HTTP front and dynamic batcher, one Python instance per core; "
        "not its ONNX Runtime backend",
        OPEN_INFERENCE,
        folder="pytriton",
        package="nvidia-pytriton",
    ),
    Peer(
        "mlflow",
        "mlflow models serve",
        "pyfunc model, --workers = cores; it does not batch",
        MLFLOW,
        folder="mlflow",
        package="mlflow",
        batches=False,
    ),
    Peer(
        "ray-serve",
        "Ray Serve, naive",
        "@serve.batch, one replica per core, all else default (max_ongoing_requests 5)",
        PLAIN,
        folder="ray_serve",
        package="ray",
        limits=(0, 100),
    ),
)


def by_name(name: str) -> Peer:
    """The peer of this name.

    Raises:
        KeyError: There is none.
    """
    return {peer.name: peer for peer in PEERS}[name]
