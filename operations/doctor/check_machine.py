"""Facts of the machine → findings. Pure: cores, GPUs, ports, space, limits, versions."""

from collections import defaultdict
from collections.abc import Iterator

from configs.cpu_cores import share_cores
from configs.schema.app import AppConfig
from configs.schema.replicas import ReplicaConfig
from operations.doctor.findings import Finding, fail, graded, ok, warn
from operations.doctor.machine import Card, Machine, Ports

_MIB, _GIB = 1 << 20, 1 << 30
# An engine holds its weights, their working copy and the activations of a full batch.
_ENGINE_PER_BUNDLE = 3
_CUDA_BYTES = 512 * _MIB
_LITTLE_SPACE, _NO_SPACE = 2 * _GIB, 256 * _MIB
_OPEN_FILES, _FEW_OPEN_FILES = 16_384, 2_048
_PYTHON = (3, 11)
# Both ends of its protocol must be the same build.
_EXACT = ("ray",)
# `python -m venv` brings them in versions of its own, and no code of ours imports them.
_OF_THE_ENVIRONMENT = frozenset({"pip", "setuptools", "wheel"})


def check_cores(config: AppConfig, machine: Machine) -> Iterator[Finding]:
    """Engine threads of all model replicas, and what Ray is asked to reserve."""
    sizes = config.replicas
    replicas, shared = share_cores(machine.cores, sizes.model.num_replicas)
    threads = config.model.intra_op_threads or shared
    wanted = replicas * threads
    said = f"{replicas} model replicas with {threads} threads on {machine.cores:g} cores"
    if sizes.model.num_gpus:
        yield ok("cores", f"{said}; models compute on GPUs")
    else:
        advice = (
            "lower replicas.model.num_replicas or model.intra_op_threads (0 shares the cores), "
            "unless the replicas are on several machines"
        )
        cores = machine.cores
        yield graded("cores", said, advice, fails=wanted > 2 * cores, warns=wanted > cores)
    reserved = sum(
        max(1, replicas if name == "model" else size.num_replicas) * size.num_cpus
        for name, size in _on(config)
    )
    # Ray counts whole cores.
    said = f"the graph reserves {reserved:g} CPUs, and this machine offers {int(machine.cores)}"
    advice = "some replicas could never start on this machine alone: lower replicas.*.num_cpus"
    too_many = reserved > max(1, int(machine.cores))
    yield graded("reserved CPUs", said, advice, fails=False, warns=too_many)


def check_gpus(config: AppConfig, machine: Machine, bundle_bytes: int) -> Iterator[Finding]:
    """Whether the cards hold the fractions that the model replicas ask for."""
    model = config.replicas.model
    if not model.num_gpus:
        yield ok("GPU", "none is asked for")
        return
    cards = machine.cards
    share = f"{model.num_replicas} model replicas at {model.num_gpus:g} GPU"
    if cards is None:
        said = f"{share}, and nothing here lists GPUs"
        yield warn("GPU", said, "run this on a GPU node; it needs nvidia-smi, or torch with CUDA")
        return
    per_card = int(1 / model.num_gpus + 1e-9) if model.num_gpus <= 1 else 0
    room = len(cards) * per_card if per_card else int(len(cards) / model.num_gpus)
    said = f"{share}, and {len(cards)} cards have room for {room}"
    advice = "lower replicas.model.num_replicas or num_gpus, or add cards"
    yield graded("GPU", said, advice, fails=room < model.num_replicas)
    yield from _memory(model, cards, per_card, bundle_bytes)


def _memory(
    model: ReplicaConfig, cards: tuple[Card, ...], per_card: int, bundle_bytes: int
) -> Iterator[Finding]:
    need = _ENGINE_PER_BUNDLE * bundle_bytes + _CUDA_BYTES
    for card in cards:
        has = card.total_bytes * min(1.0, model.num_gpus)
        said = (
            f"{card.name}: each of {max(1, per_card)} replicas may use {has / _GIB:.1f} GiB, and "
            f"one engine takes about {need / _GIB:.1f}"
        )
        if has < need:
            yield fail("GPU memory", said, "raise replicas.model.num_gpus, so that fewer share it")
        elif card.free_bytes < need:
            free = f"{said}; {card.free_bytes / _GIB:.1f} GiB are free now"
            yield warn(
                "GPU memory", free, "something else uses the card, or the graph runs already"
            )
        else:
            yield ok("GPU memory", said)


def check_ports(ports: Ports) -> Iterator[Finding]:
    """Ports that two listeners want, and ports that another program has."""
    users: dict[int, list[str]] = defaultdict(list)
    for who, port in ports.wanted.items():
        users[port].append(who)
    well = True
    for port, several in users.items():
        if len(several) > 1:
            well = False
            said = f"{' and '.join(several)} both want {port}"
            yield fail("ports", said, "give one another port")
        if port in ports.taken and not ports.ours:
            well = False
            advice = "end that program, or give sentigraph another port"
            yield fail("ports", f"{port} ({several[0]}) is taken by another program", advice)
    if well:
        names = ", ".join(f"{who} {port}" for who, port in ports.wanted.items())
        yield ok("ports", f"{names}{'; the server has them' if ports.taken else ''}")


def check_space(machine: Machine) -> Iterator[Finding]:
    """Free space where bundles, databases and logs are kept."""
    for folder, free in machine.free_bytes.items():
        said = f"{folder}: {free / _GIB:.1f} GiB free"
        advice = "free some, or set the folder to another disk"
        if folder in machine.read_only:
            said = f"{said}, and nothing can be written there"
            yield fail("disk", said, "let this user write there, or set another folder")
            continue
        yield graded("disk", said, advice, fails=free < _NO_SPACE, warns=free < _LITTLE_SPACE)


def check_open_files(machine: Machine) -> Iterator[Finding]:
    """HAProxy and every connection take a descriptor."""
    files = machine.open_files
    advice = f"ulimit -n {_OPEN_FILES} (LimitNOFILE= in a unit) before Ray starts"
    said = f"this shell allows {files} open files"
    few = files < _FEW_OPEN_FILES
    yield graded("open files", said, advice, fails=few, warns=files < _OPEN_FILES)


def check_versions(machine: Machine) -> Iterator[Finding]:
    """Python, and packages against constraints.txt."""
    python = tuple(int(part) for part in machine.python.split(".")[:2])
    if python < _PYTHON:
        yield fail("Python", f"this is {machine.python}", "sentigraph needs 3.11 or newer")
    else:
        yield ok("Python", machine.python)
    if not machine.pinned:
        yield warn(
            "packages", "there is no constraints.txt to compare with", "run it in the checkout"
        )
        return
    differing = {
        name: f"{name} is {has}, pinned {machine.pinned[name]}"
        for name, has in machine.packages.items()
        # A local build of the same release: torch's for the CPU is 2.13.0+cpu.
        if name not in _OF_THE_ENVIRONMENT and has.partition("+")[0] != machine.pinned[name]
    }
    advice = "pip install --constraint constraints.txt -e ."
    for name in _EXACT:
        if name in differing:
            yield fail("packages", differing.pop(name), f"{advice}; nodes must have the same Ray")
    if differing:
        shown = sorted(differing.values())
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        yield warn("packages", f"{'; '.join(shown[:5])}{more}", advice)
    else:
        yield ok("packages", f"{len(machine.packages)} as pinned")


def _on(config: AppConfig) -> Iterator[tuple[str, ReplicaConfig]]:
    """The deployments that the graph will have, with their sizes."""
    off = {
        "cache": config.level_two == "none",
        "stream": not config.stream.enabled,
        "jobs": not config.jobs.enabled,
        "tokenizer": config.topology == "fused",
        "ingress": config.topology == "fused",
    }
    for name in type(config.replicas).model_fields:
        if not off.get(name, False):
            yield name, getattr(config.replicas, name)
