"""Many texts in one forward pass a token: a batch that texts join and leave between two steps.

All rows end at the same column of one preallocated key-value cache, and each begins where its first token lies, so
that joining, leaving and stepping copy nothing of the other rows, and the mask is a comparison with each row's
beginning. Columns left of the longest row are never read. Any decoder of transformers whose layers keep keys and
values works; `check` finds out whether a model is one.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from llmops_assets.llama import plain

SPARE: Final = 64  # columns, at least, that a buffer has beyond what it was made for
PREFIXES: Final = 8  # beginnings of prompts that are kept
READ_AT_ONCE: Final = 512  # tokens of prompts on a CPU, so that what a layer makes of them stays in its cache
WORTHWHILE: Final = 16  # tokens; a shorter beginning is read again in less time than it takes to look it up


@dataclass(eq=False)
class _Window:
    """What the next pass writes (`rows`, columns `write` to `end`) and reads (columns `first` to `end`)."""

    rows: slice = field(default_factory=lambda: slice(0))
    first: int = 0
    write: int = 0
    end: int = 0
    capacity: tuple[int, int] = (0, 0)  # rows and columns of buffers that are not there yet


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, of shape (rows, heads, columns, head size) each."""

    is_sliding = False  # it keeps everything; a window of attention is up to the mask

    def __init__(self, window: _Window) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._window = window

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        rows, columns = self._window.capacity
        # Zeros, since what a mask hides is multiplied by 0 all the same, and memory may hold a NaN.
        self.keys = key_states.new_zeros(rows, key_states.size(1), columns, key_states.size(3))
        self.values = value_states.new_zeros(rows, value_states.size(1), columns, value_states.size(3))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None  # noqa: S101, PT018  (they were just made)
        at = self._window
        self.keys[at.rows, :, at.write : at.end] = key_states
        self.values[at.rows, :, at.write : at.end] = value_states
        return self.keys[at.rows, :, at.first : at.end], self.values[at.rows, :, at.first : at.end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002  (the window knows)
        return self._window.end - self._window.first, 0

    def get_seq_length(self) -> int:
        return self._window.write - self._window.first

    def get_max_length(self) -> int:
        return -1

    def move(self, rows: int, content: tuple[int, int], to: int, capacity: tuple[int, int]) -> None:
        """Bring the columns `content` of the first rows so that they end at column `to`, in buffers this large."""
        self.keys = _moved(self.keys, rows, content, to, capacity)
        self.values = _moved(self.values, rows, content, to, capacity)

    def drop(self) -> None:
        """No buffers until the next update."""
        self.keys = self.values = None
        self.is_initialized = False


class DecodingBatch:
    """The texts that are being continued, one a row. Not thread-safe.

    `logits`, of shape (rows, vocabulary) in float32, say what may follow each row. Greedy continuations are those of
    `generate` on each text alone, up to ties that rounding decides.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._plain = model, plain(model)
        self._window = _Window()
        self._cache: Any = Cache(layer_class_to_replicate=partial(_Layer, self._window))  # type: ignore[arg-type]
        self._prefixes: OrderedDict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = OrderedDict()
        self.prefix_hits = 0
        self.clear()

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def bytes_per_token(self) -> int:
        """What one column of one row costs, known after the first `join`."""
        layers = [tensor for layer in self._cache.layers for tensor in (layer.keys, layer.values) if tensor is not None]
        return sum(tensor.size(1) * tensor.size(3) * tensor.element_size() for tensor in layers)

    def clear(self) -> None:
        """No rows, and their memory given back."""
        self._starts: list[int] = []
        self._end = 0
        self._window.capacity = (0, 0)
        for layer in self._cache.layers:
            layer.drop()
        self.logits: Tensor = torch.empty(0, 0)

    @torch.inference_mode()
    def join(self, prompts: Sequence[Sequence[int]], shared: Sequence[int] = ()) -> None:
        """Read the prompts, none of them empty, and add them as rows in this order; equal ones are read once.

        `shared[i]` tokens at the beginning of prompt i may be kept for later prompts that begin so and say so too.
        """
        once = {tuple(prompt): keep for prompt, keep in zip(prompts, shared or [0] * len(prompts), strict=True)}
        before, single = len(self), list(once)
        longest = max(map(len, single))
        self._make_room(before + len(prompts), max(longest, self._end - self._first), 1)
        self._starts += [self._end - len(ids) for ids in single]
        logits = self._read(before, single, list(once.values()))
        if len(single) < len(prompts):
            logits = self._repeat(before, [single.index(tuple(prompt)) for prompt in prompts], logits)
        self.logits = torch.cat([self.logits, logits]) if before else logits

    @torch.inference_mode()
    def advance(self, tokens: Sequence[int]) -> None:
        """Append one token to each row."""
        self._make_room(len(self), self._end - self._first, 1)
        self._end += 1
        self.logits = self._pass(0, [[token] for token in tokens], 1)

    @torch.inference_mode()
    def leave(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        last = len(self) - 1
        if last == 0:
            self.clear()
            return
        if row != last:
            start = self._starts[last]
            for layer in self._cache.layers:
                for tensor in (layer.keys, layer.values):
                    tensor[row, :, start : self._end] = tensor[last, :, start : self._end]
            self._starts[row] = start
            self.logits[row] = self.logits[last]
        self._starts.pop()
        self.logits = self.logits[:last]

    @property
    def _first(self) -> int:
        return min(self._starts, default=self._end)

    def _read(self, row: int, prompts: Sequence[tuple[int, ...]], shared: Sequence[int]) -> Tensor:
        """The prompts into the rows from `row` on, some at a time; the logits after each."""
        found = []
        while prompts:
            count = self._at_once(prompts, shared)
            now = list(zip(range(row, row + count), prompts, shared, strict=False))
            known = [self._bring(at, ids, min(keep, len(ids) - 1)) for at, ids, keep in now]
            width = max(len(ids) - have for (_, ids, _), have in zip(now, known, strict=True))
            found.append(self._pass(row, [_last(ids, width) for _, ids, _ in now], width))
            for at, ids, keep in now:
                self._keep(at, ids[:keep])
            row, prompts, shared = row + count, prompts[count:], shared[count:]
        return torch.cat(found)

    def _at_once(self, prompts: Sequence[tuple[int, ...]], shared: Sequence[int]) -> int:
        """How many of the prompts to read in one pass, the first at least.

        A beginning that is not kept yet and that the next prompt has too is read with its first prompt alone.
        """
        most = READ_AT_ONCE if self._model.device.type == "cpu" else sum(map(len, prompts))
        width = 0
        for row, (ids, keep) in enumerate(zip(prompts, shared, strict=True)):
            kept = keep >= WORTHWHILE and ids[:keep] in self._prefixes
            width = max(width, len(ids) - keep * kept)
            if row and width * (row + 1) > most:
                return row
            again = keep >= WORTHWHILE and shared[row + 1 : row + 2] == shared[row : row + 1]
            if again and not kept and prompts[row + 1][:keep] == ids[:keep]:
                return row + 1
        return len(prompts)

    def _pass(self, rows: int, ids: Sequence[Sequence[int]], width: int) -> Tensor:
        """The model over the last `width` tokens of as many rows from `rows` on; the logits after each."""
        device = self._model.device
        starts = self._starts[rows : rows + len(ids)]
        first = min(starts)
        at = self._window
        at.rows, at.first, at.write, at.end = slice(rows, rows + len(ids)), first, self._end - width, self._end
        read = torch.tensor(ids, device=device)
        begin = torch.tensor(starts, device=device)
        positions = (torch.arange(at.write, at.end, device=device) - begin[:, None]).clamp_(min=0)
        same = max(starts) == first  # rows of one length need no mask, and attention is faster without
        if self._plain is not None:
            return self._plain(read, None if same else begin - first, positions, self._cache, at.end - first)
        mask = None if same else torch.arange(first, at.end, device=device) >= begin[:, None]
        output = self._model(
            input_ids=read,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _make_room(self, rows: int, span: int, more: int) -> None:
        """Buffers for so many rows that may begin `span` columns before the end, and for `more` columns after it."""
        capacity = self._window.capacity
        if rows <= capacity[0] and span <= self._end and self._end + more <= capacity[1]:
            return
        wanted = -(-(span + max(SPARE, span // 4)) // SPARE) * SPARE
        if rows > capacity[0] or span + more > capacity[1]:
            capacity = (max(1 << (rows - 1).bit_length(), capacity[0]), max(wanted, capacity[1]))
        content = (self._first, self._end)
        for layer in self._cache.layers:
            if layer.keys is not None:
                layer.move(len(self), content, span, capacity)
        self._starts = [start + span - self._end for start in self._starts]
        self._end, self._window.capacity = span, capacity

    def _repeat(self, before: int, order: Sequence[int], logits: Tensor) -> Tensor:
        """Rows read once become as many as asked for, in the order asked for."""
        index = torch.tensor(order, device=logits.device)
        starts = [self._starts[before + each] for each in order]
        columns = slice(min(starts), self._end)
        for layer in self._cache.layers:
            for tensor in (layer.keys, layer.values):
                tensor[before : before + len(order), :, columns] = tensor[before + index, :, columns]
        self._starts[before:] = starts
        return logits[index]

    def _bring(self, row: int, ids: tuple[int, ...], shared: int) -> int:
        """Copy the kept keys and values of a prompt's beginning into its row; how many tokens that were."""
        kept = self._prefixes.get(ids[:shared]) if shared >= WORTHWHILE else None
        if kept is None:
            return 0
        start = self._end - len(ids)
        for layer, (keys, values) in zip(self._cache.layers, kept, strict=True):
            if layer.keys is None:
                layer.lazy_initialization(keys[None], values[None])
            layer.keys[row, :, start : start + shared] = keys
            layer.values[row, :, start : start + shared] = values
        self._prefixes.move_to_end(ids[:shared])
        self.prefix_hits += 1
        return shared

    def _keep(self, row: int, beginning: tuple[int, ...]) -> None:
        if len(beginning) < WORTHWHILE or beginning in self._prefixes:
            return
        columns = slice(self._starts[row], self._starts[row] + len(beginning))
        self._prefixes[beginning] = [
            (layer.keys[row, :, columns].clone(), layer.values[row, :, columns].clone()) for layer in self._cache.layers
        ]
        if len(self._prefixes) > PREFIXES:
            self._prefixes.popitem(last=False)


@torch.inference_mode()
def check(model: Any) -> None:
    """Try the batch on the model: rows of unlike lengths that join and leave, beside each text alone.

    Raises ValueError when what follows a text depends on its neighbours. It runs the model once at each shape too, so
    that the first request does not pay for what is set up lazily.
    """
    vocabulary = int(model.get_input_embeddings().weight.size(0))
    draw = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, vocabulary, (length,), generator=draw).tolist() for length in (3, 9, 5)]
    batch = DecodingBatch(model)
    batch.join(texts[:2])
    batch.advance([1, 2])
    batch.join(texts[2:])
    batch.leave(0)
    batch.advance([3, 4])
    for row, text in enumerate([[*texts[2], 3], [*texts[1], 2, 4]]):
        alone = model(input_ids=torch.tensor([text], device=model.device), use_cache=False).logits[0, -1].float()
        # Half precision rounds at about one part in a hundred; a wrong mask or position is off by much more.
        exact = model.dtype == torch.float32
        if (batch.logits[row] - alone).abs().max() > (1e-3 if exact else 5e-2) * alone.abs().max().clamp(min=1e-6):
            raise ValueError("its answers depend on what else runs beside them, so it cannot be served in batches")


def _last(ids: Sequence[int], width: int) -> list[int]:
    return [0] * (width - len(ids)) + list(ids[-width:])


def _moved(
    tensor: Tensor | None, rows: int, content: tuple[int, int], to: int, capacity: tuple[int, int]
) -> Tensor | None:
    assert tensor is not None  # noqa: S101  (buffers move only once they are there)
    kept = tensor[:rows, :, slice(*content)]
    if tensor.size(0) >= capacity[0] and tensor.size(2) >= capacity[1]:
        kept, target = kept.clone(), tensor  # source and target overlap
    else:
        target = tensor.new_zeros(capacity[0], tensor.size(1), capacity[1], tensor.size(3))
    target[:rows, :, to - kept.size(2) : to] = kept
    return target
