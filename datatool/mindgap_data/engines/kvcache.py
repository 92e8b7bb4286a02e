"""Keys and values of the rows in the slots: preallocated, a row begins and ends whenever it likes."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin

from mindgap_data.errors import UserError

SLACK = 128  # columns kept free to the right, so that rows move left once in this many steps

# Of one row or prompt: (keys, values) a layer, each [heads, tokens, dimension].
KeyValues = Sequence[tuple[Any, Any]]


def refuse_other_caches(name: str, model: Any) -> None:
    """Raise UserError for a model that keeps something else than a key and a value of each token."""
    config = model.config.get_text_config(decoder=True)
    kinds = {type(layer).__name__ for layer in DynamicCache(config=config).layers}
    usual = kinds <= {"DynamicLayer", "DynamicSlidingWindowLayer"}
    cache = DynamicCache()
    if usual:
        # A model without attention says nothing in its configuration: it is one that leaves the cache empty.
        with torch.inference_mode():
            model(input_ids=torch.tensor([[0, 0]], device=model.device), past_key_values=cache, use_cache=True)
    keys = [getattr(layer, "keys", None) for layer in cache.layers]
    if not keys or any(one is None or one.ndim != 4 for one in keys):
        raise UserError(
            f"model {name!r}: its architecture ({config.model_type}) keeps more between tokens than keys and values "
            "(a Mamba state, for example), which --engine transformers cannot do; use --engine vllm"
        )


class SlotCache(Cache):
    """All rows write their next token into the same column, so a row is a span of columns that ends there.

    Seen from the model this is a left-padded batch: every attention that honours a padding mask works,
    sliding windows included. Row i holds the columns [starts[i], cursor).
    """

    def __init__(self, like: KeyValues, rows: int) -> None:
        """Room for ``rows`` rows of a model whose keys and values look ``like`` these (tokens do not matter)."""
        self.starts: list[int] = []
        self.cursor = 0
        self.room = 0
        self._longest = 0  # tokens a row has begun with
        self._own = [_Layer(self, keys, values, rows) for keys, values in like]
        super().__init__(layers=list(self._own))

    @property
    def first(self) -> int:
        """The leftmost column in use."""
        return min(self.starts, default=self.cursor)

    def lengths(self) -> list[int]:
        """Tokens each row holds: the position of its next one."""
        return [self.cursor - start for start in self.starts]

    def begin(self, row: int, tokens: int) -> None:
        """Row ``row`` (the next one, or one that has ended) now holds ``tokens`` tokens, yet to be written."""
        self._longest = max(self._longest, tokens)
        if row == len(self.starts):
            self.starts.append(self.cursor)
        self.starts[row] = self.cursor
        if tokens > self.cursor:
            self._relocate()
        self.starts[row] = self.cursor - tokens

    def write(self, row: int, prefix: KeyValues) -> None:
        """Fill what row ``row`` holds."""
        span = slice(self.starts[row], self.cursor)
        for layer, (keys, values) in zip(self._own, prefix, strict=True):
            layer.keys[row, :, span] = keys
            layer.values[row, :, span] = values

    def drop(self, row: int) -> None:
        """Forget row ``row``; the last row takes its place."""
        last = len(self.starts) - 1
        if row != last:
            span = slice(self.starts[last], self.cursor)
            for layer in self._own:
                layer.keys[row, :, span] = layer.keys[last, :, span]
                layer.values[row, :, span] = layer.values[last, :, span]
            self.starts[row] = self.starts[last]
        self.starts.pop()

    def before_step(self) -> None:
        """Make sure that the next column is there."""
        if self.cursor == self.room:
            self._relocate()

    def _relocate(self) -> None:
        """Move what is in use as far left as the longest beginning allows, in more room where it is short."""
        source = slice(self.first, self.cursor)
        width = source.stop - source.start
        cursor = max(width, self._longest)
        if cursor + SLACK > self.room:
            self.room = cursor + max(SLACK, cursor // 2)
        target = slice(cursor - width, cursor)
        for layer in self._own:
            layer.keys = _moved(layer.keys, source, target, self.room)
            layer.values = _moved(layer.values, source, target, self.room)
        self.starts = [start + target.start - source.start for start in self.starts]
        self.cursor = cursor


class _Layer(CacheLayerMixin):
    """One layer: keys and values [rows, heads, room, dimension]."""

    is_sliding = False

    def __init__(self, cache: SlotCache, keys: Any, values: Any, rows: int) -> None:
        super().__init__()
        self._cache = cache
        self.keys: Any = keys.new_zeros(rows, keys.shape[0], 0, keys.shape[-1])
        self.values: Any = values.new_zeros(rows, values.shape[0], 0, values.shape[-1])
        self.is_initialized = True

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Nothing is lazy here."""

    def update(self, key_states: Any, value_states: Any, *_args: Any, **_kwargs: Any) -> tuple[Any, Any]:
        """Take the next token of every row; give all columns in use, this one included."""
        rows, column, first = key_states.shape[0], self._cache.cursor, self._cache.first
        self.keys[:rows, :, column] = key_states[:, :, 0]
        self.values[:rows, :, column] = value_states[:, :, 0]
        return self.keys[:rows, :, first : column + 1], self.values[:rows, :, first : column + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns the mask spans, and the first one."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns in use before this step."""
        return self._cache.cursor - self._cache.first

    def get_max_length(self) -> int:
        """No maximum: room is made as needed."""
        return -1


def _moved(tensor: Any, source: slice, target: slice, room: int) -> Any:
    span = tensor[:, :, source].clone()
    if tensor.shape[2] != room:
        # Zeros, not what memory holds: masked columns are multiplied by zero, which keeps a NaN one.
        tensor = tensor.new_zeros(*tensor.shape[:2], room, tensor.shape[3])
    tensor[:, :, target] = span
    return tensor
