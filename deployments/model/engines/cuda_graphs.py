"""Replays a forward pass as one CUDA graph per shape.

A short batch needs some 150 kernels of a few microseconds each, and Python takes longer to
start them than the GPU to run them. A captured graph starts them all with one call. Memory
and capture time grow with the number of graphs, so their number is bounded; what comes
after runs without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.model.engines.layouts import IntVector, Shape

_WARM_UP_RUNS = 3


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    staging: Tensor
    vector: Tensor
    logits: Tensor


class CudaGraphs:
    """Captured forward passes by shape. For one thread at a time.

    Args:
        forward: Runs one device vector; no host work that depends on its numbers.
        max_graphs: Graphs to keep; afterwards new shapes run without one.
        max_cells: Largest shape to capture: above it the GPU's work hides the launches.
    """

    def __init__(
        self,
        forward: Callable[[Tensor, Shape], Tensor],
        *,
        max_graphs: int = 128,
        max_cells: int = 16_384,
    ) -> None:
        self._forward = forward
        self._max_graphs = max_graphs
        self._max_cells = max_cells
        self._captured: dict[Shape, _Captured] = {}
        # Graphs are replayed one after another and read at once, so they may share their memory.
        self._pool = torch.cuda.graph_pool_handle()

    def takes(self, shape: Shape) -> bool:
        """Whether ``run`` may be called with this shape."""
        if shape in self._captured:
            return True
        return len(self._captured) < self._max_graphs and shape.cells <= self._max_cells

    def run(self, vector: IntVector, shape: Shape) -> Tensor:
        """Logits on the device, valid until the next ``run``; the first of a shape captures it."""
        captured = self._captured.get(shape)
        if captured is None:
            captured = self._captured[shape] = self._capture(vector, shape)
        captured.staging.numpy()[:] = vector
        captured.vector.copy_(captured.staging, non_blocking=True)
        captured.graph.replay()
        return captured.logits

    def _capture(self, vector: IntVector, shape: Shape) -> _Captured:
        staging = torch.from_numpy(vector).pin_memory()
        on_device = staging.cuda()
        # Libraries allocate their workspaces in the first runs; a graph must not contain that.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_RUNS):
                self._forward(on_device, shape)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": what another thread does on the device meanwhile is its own affair.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            logits = self._forward(on_device, shape)
        return _Captured(graph, staging, on_device, logits)
