"""The dispatch mode that sees every operator of a forward pass and books it on the module that is running."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .memory import Buffer
from .operators import MACS, Window, is_free, is_view, short_name, window
from .receptive import Field, advance
from .shapes import shape_of
from .walk import Frame, Key

META = torch.device("meta")


@dataclass
class Draft:
    """A row in the making."""

    index: int
    key: Key
    kind: str
    frame: Frame
    operators: Counter[str] = field(default_factory=Counter)
    window: Window | None = None
    window_macs: int = -1
    output: tuple[int, ...] | None = None
    params: int = 0
    macs: int = 0
    bytes_read: int = 0
    bytes_rewritten: int = 0
    made: list[Buffer] = field(default_factory=list)
    seen: Field | None = None
    sources: set[int] = field(default_factory=set)


class Tally(TorchDispatchMode):
    """Attributes every operator to the running module. Holds every tensor it sees, so that identities stay unique."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not wrapped against torch.compile: the wrapper alone would import the whole compiler (2 s)."""
        return False

    def __init__(self, model: nn.Module, batch: int, weights: dict[str, Tensor], meta: bool) -> None:
        super().__init__()
        self.batch = batch
        self.meta = meta
        self.stack: list[Frame] = []
        self.drafts: list[Draft] = []
        self.by_key: dict[Key, Draft] = {}
        self.called: set[str] = set()
        self.moment = 0
        self.buffers: list[Buffer] = []
        self.moments: list[int] = []  # moment -> index of the draft at work
        self._buffer: dict[int, Buffer] = {}  # by storage
        self._tags: dict[int, Field] = {}  # by tensor
        self._stored: dict[int, Field] = {}  # by storage: views of a buffer that was written into
        self._kept: list[Any] = []
        self._on_meta: dict[int, Tensor] = {}
        self.unknown: Counter[str] = Counter()
        self.encoding = 0  # depth inside weight parametrisations
        self.unread: dict[int, list[tuple[str, int]]] = {}  # storage of a weight -> [(name, elements)]
        self.encoded: dict[int, tuple[str, int, int]] = {}  # parametrisation -> (name, elements, bytes) of what it makes
        self.inside = {id(p) for m in model.modules() if isinstance(m, ParametrizationList) for p in m.parameters()}
        seen: set[int] = set()
        for name, original in model.named_parameters():
            if id(original) not in self.inside and id(original) not in seen:
                seen.add(id(original))
                self.unread.setdefault(_storage(weights[name]), []).append((name, original.numel()))
        self._kept.extend(weights.values())

    # Called by the module hooks.
    def enter(self, frame: Frame) -> None:
        """A module starts; a leaf has a row even when it computes nothing."""
        self.called.add(frame.name)
        self.stack.append(frame)
        if frame.leaf:
            self._draft(frame)

    def leave(self, frame: Frame) -> None:
        """A module ends."""
        self.stack.pop()
        last = self.by_key.get((frame.name, frame.call, 0 if frame.leaf else frame.gap))
        if last is not None:
            last.output = frame.output

    def encoded_weight(self, name: str, module: nn.Module, output: Tensor) -> None:
        """A parametrisation produced a weight: from here on it is one, with its own number of elements."""
        if id(module) not in self.encoded:
            self.encoded[id(module)] = (name, output.numel(), output.numel() * output.element_size())
            self.unread.setdefault(_storage(output), []).append((name, output.numel()))
        self._kept.append(output)

    def start(self, x: Tensor) -> None:
        """Register the network's input."""
        self._kept.append(x)
        buffer = Buffer(_bytes(x), 0, -1)
        self.buffers.append(buffer)
        self._buffer[_storage(x)] = buffer
        self._tags[id(x)] = Field.of_input(x.shape)

    def finish(self, outputs: Any) -> None:
        """What the network returns is alive until the end."""
        for out in tree_leaves(outputs):
            if isinstance(out, Tensor) and _storage(out) in self._buffer:
                self._buffer[_storage(out)].last = self.moment

    def _draft(self, frame: Frame) -> Draft:
        key = (frame.name, frame.call, 0) if frame.leaf else frame.key
        if key not in self.by_key:
            self.by_key[key] = Draft(len(self.drafts), key, type(frame.module).__name__, frame)
            self.drafts.append(self.by_key[key])
        return self.by_key[key]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = short_name(func)
        if name not in MACS and not is_free(func, name) and func._can_decompose():
            with self:  # a composite operator, seen whole only under inference_mode
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = None
        if self.meta:
            args, kwargs = self._to_meta(args, kwargs)
            result = shape_of(func, args, kwargs)
        if result is None:
            result = func(*args, **kwargs)
        if not self.encoding:
            self._record(func, name, args, kwargs, result)
        return result

    def _to_meta(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Let constants that the model holds outside its parameters and buffers meet meta tensors."""
        found = _tensors(args, kwargs)
        if not any(t.is_meta for t in found):
            return args, kwargs
        if any(not t.is_meta for t in found):
            args, kwargs = tree_map_only(Tensor, self._as_meta, (args, kwargs))
        if kwargs.get("device") is not None:
            kwargs = kwargs | {"device": META}
        return args, kwargs

    def _as_meta(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        if id(tensor) not in self._on_meta:
            self._kept.append(tensor)
            self._on_meta[id(tensor)] = shadow(tensor)
        return self._on_meta[id(tensor)]

    def _record(self, func: Any, name: str, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        inputs = _tensors(args, kwargs)
        outputs = [out for out in tree_leaves(result) if isinstance(out, Tensor)]
        self._kept.extend(outputs)
        read = {_storage(t): t for t in inputs}
        fields = [self._tags.get(id(t)) or self._stored.get(_storage(t)) for t in inputs]
        same = bool(outputs) and all(_storage(out) in read for out in outputs)
        view = is_view(func) or (same and not func._schema.is_mutable)
        if outputs:
            ahead = advance(name, args, kwargs, outputs[0], fields, self.batch)
            if ahead is not None:
                for out in outputs:
                    self._tags[id(out)] = ahead
                    if not view:
                        self._stored[_storage(out)] = ahead
        if not self.stack:
            return
        frame = self.stack[-1]
        weights = [w for key in read if key in self.unread for w in self.unread.pop(key)]
        if view and not frame.leaf and not weights:
            return
        draft = self._draft(frame)
        draft.params += sum(count for _, count in weights)
        if outputs and ahead is not None:
            draft.seen = ahead
        sources = {self._buffer[key].writer for key in read if key in self._buffer}
        draft.sources |= sources - {draft.index}
        if not frame.leaf and outputs:
            draft.output = tuple(outputs[0].shape)
        if view:
            return
        self._account(func, name, args, kwargs, draft, inputs, outputs, read)

    def _account(self, func: Any, name: str, args: Any, kwargs: Any, draft: Draft, inputs: Any, outputs: Any, read: Any) -> None:
        """MACs, bytes and lifetimes of an operator that is not a view."""
        self.moment += 1
        self.moments.append(draft.index)
        if inputs:
            draft.operators[name] += 1
        macs = 0
        if name in MACS:
            macs = MACS[name](args, outputs[0])
        elif not is_free(func, name):
            self.unknown[name] += 1
        draft.macs += macs
        by = window(name, args, kwargs)
        if by is not None and macs > draft.window_macs:
            draft.window, draft.window_macs = by, macs
        draft.bytes_read += sum(_bytes(t) for t in {id(t): t for t in inputs}.values())
        for key in read:
            if key in self._buffer:
                self._buffer[key].last = self.moment
        for out in outputs:
            key = _storage(out)
            if key in read:
                draft.bytes_rewritten += _bytes(out)
                if key in self._buffer:
                    self._buffer[key].writer = draft.index
            else:
                buffer = Buffer(_bytes(out), self.moment, draft.index)
                self._buffer[key] = buffer
                self.buffers.append(buffer)
                draft.made.append(buffer)


def _storage(tensor: Tensor) -> int:
    """Identity of the memory behind a tensor; of the tensor itself where its layout has no single storage."""
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def _bytes(tensor: Tensor) -> int:
    """Bytes a tensor occupies; an expanded view occupies no more than its storage."""
    size = tensor.numel() * tensor.element_size()
    return min(size, tensor.untyped_storage().nbytes()) if tensor.layout == torch.strided else size


def _tensors(args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in itertools.chain(args, kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(item for item in value if isinstance(item, Tensor))
    return found


def shadow(tensor: Tensor) -> Tensor:
    """The same shape, strides and type on meta, without the values."""
    shadow = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=META)
    return nn.Parameter(shadow, requires_grad=False) if isinstance(tensor, nn.Parameter) else shadow
