"""One deployment of the simulated graph: its queue, its replicas, and the machines under them.

Texts leave the queue in batches, which cost a fixed part and a part for each text. Replicas start
in seconds where a machine has room and in minutes where one must come first; machines that are
idle for a while go. What a policy wants is applied with Ray Serve's own delays.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass

from deployments.autoscaling import BUSY, WAIT


@dataclass(frozen=True, slots=True)
class Size:
    """What a deployment's batches cost, and its replicas and machines."""

    batch_s: float  # fixed part of one batch
    text_s: float  # and for each of its texts
    min_replicas: int
    max_replicas: int
    per_machine: int
    replica_start_s: float
    machine_start_s: float
    batch_texts: int = 64
    machine_idle_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Delays:
    """How often replicas are decided on, over what time, and what Serve waits before it acts."""

    look_back_s: float = 30.0
    control_s: float = 5.0
    upscale_s: float = 30.0
    downscale_s: float = 600.0


@dataclass
class View:
    """What a policy sees: the part of Ray Serve's context that ours reads."""

    current_num_replicas: int
    total_num_requests: float
    aggregated_metrics: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that arrived at one time, as (time, count), and when the replica is done with them."""

    ended_s: float
    parts: tuple[tuple[float, int], ...]

    def __lt__(self, other: "Batch") -> bool:
        """The one that ends first comes first."""
        return self.ended_s < other.ended_s


class Stage:
    """Queue, replicas and machines; time is what the caller says it is."""

    def __init__(self, size: Size, delays: Delays, *, reports: bool) -> None:
        """Starts with the least replicas.

        Args:
            size: What it costs and how much there may be.
            delays: Of the decisions.
            reports: Whether replicas report how busy they are and what their queue would take.
        """
        self.size, self._delays, self._reports = size, delays, reports
        self.queued = self.running = 0
        self.alive = self._idle = self._target = size.min_replicas
        self.machines = math.ceil(size.min_replicas / size.per_machine)
        self.scalings = 0
        self.wait_s = 0.0
        self._queue: deque[tuple[float, int]] = deque()
        self._done: list[Batch] = []
        self._starting: list[float] = []
        self._busy_s = 0.0
        self._seen: deque[tuple[float, float, float]] = deque()
        self._wish: tuple[int, float] | None = None
        self._idle_since_s: float | None = None

    @property
    def pace(self) -> float:
        """Texts a second that the replicas here answer in full batches."""
        size = self.size
        return max(1, self.alive) / (size.text_s + size.batch_s / size.batch_texts)

    def take(self, arrived_s: float, texts: int) -> None:
        """Puts texts into the queue."""
        self._queue.append((arrived_s, texts))
        self.queued += texts

    def ended(self, now: float) -> Batch | None:
        """The next batch that has ended by now; its replica is free again."""
        if not self._done or self._done[0].ended_s > now:
            return None
        batch = heapq.heappop(self._done)
        self.running -= sum(count for _, count in batch.parts)
        if self.alive > self._target:
            self.alive -= 1  # what was to go had a batch to finish
        else:
            self._idle += 1
        return batch

    def started(self, now: float) -> None:
        """Replicas whose start has ended by now."""
        while self._starting and self._starting[0] <= now:
            heapq.heappop(self._starting)
            self.alive += 1
            self._idle += 1

    def dispatch(self, now: float) -> None:
        """Gives batches to idle replicas."""
        size = self.size
        while self._idle > 0 and self.queued:
            parts, texts = [], 0
            while self._queue and texts < size.batch_texts:
                at, count = self._queue[0]
                part = min(count, size.batch_texts - texts)
                texts += part
                self._queue[0] = (at, count - part)
                if count == part:
                    self._queue.popleft()
                parts.append((at, part))
            service_s = size.batch_s + size.text_s * texts
            self.queued -= texts
            self.running += texts
            self._busy_s += service_s
            self._idle -= 1
            heapq.heappush(self._done, Batch(now + service_s, tuple(parts)))

    def view(self, requests: int) -> View:
        """What Serve would show a policy now: means over the look-back period."""
        delays = self._delays
        busy = min(1.0, self._busy_s / delays.control_s / max(1, self.alive))
        self._busy_s = 0.0
        self.wait_s = self.queued / max(1, self.alive) * self.size.text_s
        self._seen.append((busy, self.wait_s, float(requests)))
        if len(self._seen) > delays.look_back_s / delays.control_s:
            self._seen.popleft()
        seen = zip(*self._seen, strict=True)
        busy, self.wait_s, mean = (sum(part) / len(self._seen) for part in seen)
        reported = {BUSY: {"mean": busy}, WAIT: {"mean": self.wait_s}} if self._reports else {}
        return View(self.alive, mean, reported)

    def decide(self, wish: float, now: float) -> None:
        """Serve's bounds and delays: the same direction must be wanted for a while."""
        size, delays = self.size, self._delays
        wanted = min(size.max_replicas, max(size.min_replicas, math.ceil(wish - 1e-9)))
        direction = (wanted > self._target) - (wanted < self._target)
        if direction == 0:
            self._wish = None
        elif self._wish is None or self._wish[0] != direction:
            self._wish = (direction, now)
        delay_s = delays.upscale_s if direction > 0 else delays.downscale_s
        if self._wish is not None and now - self._wish[1] >= delay_s:
            self._wish = None
            self.scalings += 1
            self._scale(wanted, now)
        self._machines_follow(now)

    def _scale(self, wanted: int, now: float) -> None:
        for _ in range(wanted - self._target):
            heapq.heappush(self._starting, now + self._start_s())
            self._target += 1
        while self._target > wanted:
            self._target -= 1
            if self._starting:
                self._starting.pop()
                heapq.heapify(self._starting)
            elif self._idle:
                self._idle -= 1
                self.alive -= 1

    def _start_s(self) -> float:
        """A replica on a machine with room, or behind one that must come first."""
        if self._target < self.machines * self.size.per_machine:
            return self.size.replica_start_s
        self.machines += 1
        return self.size.machine_start_s + self.size.replica_start_s

    def _machines_follow(self, now: float) -> None:
        needed = math.ceil(max(self._target, self.alive) / self.size.per_machine)
        if self.machines <= needed:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now
        elif now - self._idle_since_s >= self.size.machine_idle_s:
            self.machines = needed
