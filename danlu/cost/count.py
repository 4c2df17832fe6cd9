"""Count one forward pass, operator by operator, on the meta device: no weight is copied and nothing is computed.

A dispatch mode (tally.py) sees every operator, functional calls too; module hooks say whose work it is. A forward that needs
values (`if x.max() > 0`) cannot run on meta: it is then run on real tensors, and a note says so.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from ..errors import UsageError
from .memory import Buffer, peak
from .row import Row, Uncounted
from .tally import META, Tally, shadow
from .walk import Key, first_shape, inference, layers, watching

FORWARD_ERRORS = (RuntimeError, TypeError, ValueError, IndexError, AssertionError)


@dataclass(frozen=True)
class Count:
    """The result of one counted pass; `keys` matches `rows` to the timer's measurements."""

    rows: tuple[Row, ...]
    keys: tuple[Key, ...]
    uncounted: tuple[Uncounted, ...]
    params: int
    param_bytes: int
    activation_bytes: int
    peak_bytes: int
    peak_row: int
    output: tuple[int, ...] | None
    notes: tuple[str, ...]
    buffers: tuple[Buffer, ...]


def _weights(model: nn.Module, meta: bool) -> dict[str, Tensor]:
    """Every parameter and buffer by every name it goes by, as meta shadows or as they are; sharing is kept."""
    shadows: dict[int, Tensor] = {}
    held: dict[str, Tensor] = {}
    for name, tensor in itertools.chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    ):
        if is_lazy(tensor):
            raise UsageError(f"{name} is not initialised yet; run a lazy model once before profiling it")
        if id(tensor) not in shadows:
            shadows[id(tensor)] = shadow(tensor) if meta else tensor
        held[name] = shadows[id(tensor)]
    return held


@contextlib.contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Undo whatever a forward pass hangs on the modules (cached tensors would be left on meta)."""
    before = [(module, dict(module.__dict__)) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # its fused operators hide the products
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, state in before:
            module.__dict__.clear()
            module.__dict__.update(state)


@contextlib.contextmanager
def _encodings(model: nn.Module, tally: Tally) -> Iterator[None]:
    """Weight parametrisations are not the network's work: their operators are skipped, their result is a weight."""
    handles = []

    def hook(name: str, module: nn.Module) -> None:
        def before(*_: Any) -> None:
            tally.encoding += 1

        def after(module: nn.Module, args: Any, output: Any) -> None:
            tally.encoding -= 1
            if isinstance(output, Tensor):
                tally.encoded_weight(name, module, output)

        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))

    try:
        for name, module in model.named_modules():
            if isinstance(module, ParametrizationList):
                hook(name.replace("parametrizations.", ""), module)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(model: nn.Module, shape: Sequence[int], dtype: torch.dtype, meta: bool) -> tuple[Tally, Any]:
    weights = _weights(model, meta)
    tally = Tally(model, shape[0], weights, meta)
    device = META if meta else next(iter(weights.values()), torch.empty(0)).device
    with (
        _untouched(model),
        inference(model),
        watching(model, tally.enter, tally.leave),
        _encodings(model, tally),
        torch.no_grad(),
    ):
        x = torch.zeros(tuple(shape), dtype=dtype, device=device)
        tally.start(x)
        with tally:
            output = torch.func.functional_call(model, weights, (x,)) if meta else model(x)
    tally.finish(output)
    return tally, output


def input_dtype(model: nn.Module) -> torch.dtype:
    """The type of the model's own weights, float32 without any."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def count(model: nn.Module, shape: Sequence[int]) -> Count:
    """Count a forward pass of `model` on an input of `shape` [B, C, ...]. The model is left as it was.

    Raises UsageError when the model does not take that input.
    """
    dtype = input_dtype(model)
    notes = []
    try:
        tally, output = _run(model, shape, dtype, meta=True)
    except UsageError:
        raise
    except FORWARD_ERRORS as error:
        reason = _first_line(error)
        if any(p.is_meta for p in model.parameters()):
            raise UsageError(f"the model does not take an input of shape {list(shape)}: {reason}") from error
        try:
            tally, output = _run(model, shape, dtype, meta=False)
        except FORWARD_ERRORS as real:
            raise UsageError(f"the model does not take an input of shape {list(shape)}: {_first_line(real)}") from real
        notes.append(f"counted on real tensors of zeros, since the forward pass does not run without values ({reason})")
    return _finish(model, tally, output, notes)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _finish(model: nn.Module, tally: Tally, output: Any, notes: list[str]) -> Count:
    rows = []
    calls: Counter[str] = Counter()
    for draft in tally.drafts:
        name = draft.key[0]
        made = sum(buffer.bytes for buffer in draft.made if buffer.used)
        shape = draft.frame.input
        by, seen = draft.window, draft.seen
        rows.append(
            Row(
                name=name,
                kind=draft.kind,
                call=calls[name],
                leaf=draft.frame.leaf,
                operators=tuple(draft.operators),
                kernel=by.kernel if by else None,
                stride=by.stride if by else None,
                groups=by.groups if by and "convolution" in draft.operators else None,
                input=shape,
                output=draft.output,
                params=draft.params,
                macs=draft.macs,
                bytes_read=draft.bytes_read,
                bytes_written=made + draft.bytes_rewritten,
                activation_bytes=made,
                receptive=seen.size if seen else None,
                jump=seen.jump if seen else None,
                scales=bool(seen and seen.scales),
                sources=tuple(sorted(draft.sources)),
            )
        )
        calls[name] += 1
    if tally.encoded:
        notes.append(f"{len(tally.encoded)} parametrised weights are counted as the tensors they make, not as they are stored")
    top, moment = peak(tally.buffers)
    params, param_bytes = _sizes(model, tally)
    return Count(
        tuple(rows),
        tuple(draft.key for draft in tally.drafts),
        tuple(_uncounted(model, tally)),
        params,
        param_bytes,
        sum(buffer.bytes for buffer in tally.buffers if buffer.used and buffer.writer >= 0),
        round(top),
        tally.moments[max(moment - 1, 0)] if tally.moments else -1,
        first_shape(output),
        tuple(notes),
        tuple(buffer for buffer in tally.buffers if buffer.used),
    )


def _sizes(model: nn.Module, tally: Tally) -> tuple[int, int]:
    """Parameters (each distinct tensor once) and their bytes; an encoded weight counts as the tensor it makes."""
    plain = [p for p in model.parameters() if id(p) not in tally.inside]
    never = [m for m in model.modules() if isinstance(m, ParametrizationList) and id(m) not in tally.encoded]
    plain += [p for m in never for p in m.parameters()]
    made = list(tally.encoded.values())
    return (
        sum(p.numel() for p in plain) + sum(count for _, count, _ in made),
        sum(p.numel() * p.element_size() for p in plain) + sum(size for _, _, size in made),
    )


def _uncounted(model: nn.Module, tally: Tally) -> Iterator[Uncounted]:
    for name, calls in sorted(tally.unknown.items()):
        yield Uncounted("operator", name, calls)
    unread = {name for weights in tally.unread.values() for name, _ in weights}
    silent = [(name, module) for name, module, _ in layers(model) if name not in tally.called]
    lost: list[str] = []
    for name, module in silent:
        below = name + "." if name else ""
        if any(called.startswith(below) for called in tally.called):
            continue  # a list of layers is never called itself
        if any(name.startswith(other + ".") for other in lost):
            continue  # named with its parent
        own = [p for p, _ in module.named_parameters()]
        if own and not any(below + p in unread for p in own):
            continue  # its weights were read by somebody else's forward
        lost.append(name)
        yield Uncounted("module", name)
    for name in sorted(unread):
        if not any(name.startswith(other + ".") for other in lost):
            yield Uncounted("parameter", name)
