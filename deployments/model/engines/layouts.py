"""How a padded batch of token ids is laid out on the device, and run there.

A layout turns the arrays that ``Engine.run`` gets into one int32 vector, so that one copy
carries a whole batch to the device, and turns that vector into logits. ``Packed`` puts the
rows end to end and computes no padding; ``Padded`` keeps the rectangle, for models and
devices that ``Packed`` does not fit. ``torch.py`` chooses, ``cuda_graphs.py`` replays.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from deployments.model.engines import IntBatch

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None

PACKED_ATTENTION = "sentigraph_packed"
# Model type to the name of the stack of layers, and whether positions start behind the pad id.
# These families read their answer off a row's first token, which is what Packed hands them.
_PACKABLE = {
    "bert": ("encoder", False),
    "distilbert": ("transformer", False),
    "electra": ("encoder", False),
    "roberta": ("encoder", True),
    "camembert": ("encoder", True),
    "xlm-roberta": ("encoder", True),
}
# Flash attention works in tiles of 128 rows: finer bounds on the longest row gain nothing.
_LONGEST_STEP = 128

IntVector = npt.NDArray[np.int32]


class Shape(NamedTuple):
    """What a forward pass depends on besides the numbers in it.

    Attributes:
        rows: Rows, filled up with empty ones in a bucket.
        cells: Token positions: the sum of all lengths (packed), or rows times longest (padded).
        longest: Upper bound on a row's tokens.
    """

    rows: int
    cells: int
    longest: int


class Layout(Protocol):
    """One way to lay out and run a batch. Not safe for use from several threads.

    Attributes:
        capturable: Whether ``forward`` may become a CUDA graph: the host never looks at numbers.
    """

    capturable: bool

    def shape(self, attention_mask: IntBatch, *, bucket: bool) -> Shape:
        """The batch's shape; with ``bucket``, rounded up to one of a few."""
        ...

    def vector(self, input_ids: IntBatch, attention_mask: IntBatch, shape: Shape) -> IntVector:
        """The batch as one vector; its size depends on ``shape`` alone."""
        ...

    def forward(self, vector: Tensor, shape: Shape) -> Tensor:
        """Logits ``[shape.rows, labels] float32``; what follows the batch's own rows is void."""
        ...


def step_up(count: int, *, smallest: int = 16) -> int:
    """The least of the sizes 16, 32, 48 … 128, 144 … 256, 288 … that holds ``count``.

    Eight sizes to each doubling, so that at most an eighth is filled up.
    """
    step = max(smallest, 1 << max(0, (count - 1).bit_length() - 4))
    return math.ceil(count / step) * step


class Packed:
    """Rows end to end, as in flash attention's varlen interface: no padding is computed."""

    capturable = True

    def __init__(self, model: PreTrainedModel) -> None:
        stack_name, behind_pad = _PACKABLE[model.config.model_type]
        stack: nn.Module = getattr(model.base_model, stack_name)
        stack.register_forward_hook(_first_tokens, with_kwargs=True)
        self._model = model
        self._behind = model.config.pad_token_id if behind_pad else None

    @staticmethod
    def fits(model_type: str, device: str, dtype: torch.dtype) -> bool:
        """Whether this model can run packed on this device."""
        if model_type not in _PACKABLE:
            return False
        if device == "cpu":
            return True
        # Flash attention: half precision, from Ampere on.
        half = dtype in {torch.float16, torch.bfloat16}
        return half and varlen_attn is not None and torch.cuda.get_device_capability() >= (8, 0)

    def shape(self, attention_mask: IntBatch, *, bucket: bool) -> Shape:
        """See ``Layout.shape``."""
        rows, longest = attention_mask.shape
        cells = int(attention_mask.sum())
        if not bucket:
            return Shape(rows, cells, longest)
        return Shape(
            1 << (rows - 1).bit_length(),
            step_up(cells),
            math.ceil(longest / _LONGEST_STEP) * _LONGEST_STEP,
        )

    def vector(self, input_ids: IntBatch, attention_mask: IntBatch, shape: Shape) -> IntVector:
        """Token ids, positions, row offsets (one more than rows) and row starts."""
        real = attention_mask != 0
        lengths = real.sum(axis=1)
        rows, cells = len(lengths), int(lengths.sum())
        vector = np.zeros(2 * shape.cells + 2 * shape.rows + 1, dtype=np.int32)
        vector[:cells] = input_ids[real]
        positions = np.broadcast_to(np.arange(input_ids.shape[1]), real.shape)
        if self._behind is not None:
            # The padding token as a word of a text has no position of its own.
            counted = input_ids != self._behind
            positions = np.cumsum(counted, axis=1) * counted + self._behind
        vector[shape.cells : shape.cells + cells] = positions[real]
        offsets = vector[2 * shape.cells : 2 * shape.cells + shape.rows + 1]
        np.cumsum(lengths, out=offsets[1 : rows + 1])
        # Rows that fill up a bucket are empty, and read the first token like row 0.
        offsets[rows + 1 :] = cells
        vector[-shape.rows :][:rows] = offsets[:rows]
        return vector

    def forward(self, vector: Tensor, shape: Shape) -> Tensor:
        """See ``Layout.forward``."""
        ids, positions, offsets, starts = vector.split(
            [shape.cells, shape.cells, shape.rows + 1, shape.rows]
        )
        output = self._model(
            input_ids=ids[None],
            position_ids=positions[None].long(),
            row_offsets=offsets,
            row_starts=starts,
            longest=shape.longest,
        )
        logits: Tensor = output.logits.float()
        return logits


class Padded:
    """The rectangle as it came, with a mask."""

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id
        # In two dimensions the library looks whether anything is masked at all; in four it takes
        # the mask as it is, where the model's attention goes through its common interface.
        # Such a mask hides the padding alone, and so would drop a decoder's and a window's own.
        self.capturable = model.config._attn_implementation == "sdpa" and not _masks_more(model)

    def shape(self, attention_mask: IntBatch, *, bucket: bool) -> Shape:
        """See ``Layout.shape``."""
        rows, longest = attention_mask.shape
        if bucket:
            rows, longest = 1 << (rows - 1).bit_length(), step_up(longest)
        return Shape(rows, rows * longest, longest)

    def vector(self, input_ids: IntBatch, attention_mask: IntBatch, shape: Shape) -> IntVector:
        """Token ids and mask, row by row."""
        rows, longest = input_ids.shape
        both = np.zeros((2, shape.rows, shape.longest), dtype=np.int32)
        both[0] = self._pad_id
        both[0, :rows, :longest] = input_ids
        both[1, :rows, :longest] = attention_mask
        # A row without any token would divide by zero in its softmax.
        both[1, rows:, 0] = 1
        return both.ravel()

    def forward(self, vector: Tensor, shape: Shape) -> Tensor:
        """See ``Layout.forward``."""
        ids, mask = vector.view(2, shape.rows, shape.longest)
        attention_mask = mask[:, None, None, :].bool() if self.capturable else mask
        output = self._model(input_ids=ids, attention_mask=attention_mask)
        logits: Tensor = output.logits.float()
        return logits


def _masks_more(model: PreTrainedModel) -> bool:
    """Whether a token may not see all tokens of its text."""
    config = model.config
    window = getattr(config, "sliding_window", None) or getattr(config, "local_attention", None)
    return bool(window) or any(getattr(part, "is_causal", False) for part in model.modules())


def _first_tokens(
    stack: nn.Module, args: object, kwargs: dict[str, Tensor], output: BaseModelOutput
) -> BaseModelOutput:
    # [1, cells, width] to [rows, 1, width]: the head reads [:, 0] of it.
    first = output.last_hidden_state[0].index_select(0, kwargs["row_starts"])
    output.last_hidden_state = first[:, None]
    return output


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    row_offsets: Tensor,
    longest: int,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention inside each row.

    Takes three of ``[1, heads, cells, width]`` and returns ``[1, cells, heads, width]``.
    """
    if query.is_cuda:
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        out = varlen_attn(q, k, v, row_offsets, row_offsets, longest, longest)
        return out[None], None
    out = torch.zeros_like(query)
    for start, end in pairwise(row_offsets.tolist()):
        if end > start:
            out[:, :, start:end] = nn.functional.scaled_dot_product_attention(
                query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]
            )
    return out.transpose(1, 2), None


AttentionInterface.register(PACKED_ATTENTION, _packed_attention)
