"""What feeds what inside a module: its layers and operations as steps of a small graph, each with the shape it gives.

A forward is followed by torch.fx, in eval mode, with the children as single steps; the shapes are those of one run without
numbers. Where a forward decides by values and cannot be followed, the children stand one behind the other, in the order in
which they ran.
"""

import contextlib
import copy
import inspect
import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import UsageError
from .words import describe

Shape = tuple[int, ...] | None
# What user code raises when it is given a proxy or a tensor without numbers. Third-party forwards raise anything.
ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError, NameError)
INLINE = 16  # a plain chain of at most so many layers is drawn without a frame around it

SIGNS = {"add": "+", "iadd": "+", "sub": "−", "isub": "−", "rsub": "−", "mul": "×", "imul": "×", "truediv": "÷", "div": "÷"}
ARITHMETIC = {**SIGNS, "add_": "+", "sub_": "−", "mul_": "×", "div_": "÷", "cat": "cat", "concat": "cat"}
ACTIVATIONS = (
    "relu", "relu_", "relu6", "sigmoid", "tanh", "softmax", "log_softmax", "silu", "gelu", "elu", "leaky_relu", "hardtanh",
    "hardswish", "hardsigmoid", "prelu", "softplus", "clamp", "logit",
)  # fmt: skip
POOLS = ("mean", "amax", "max_pool2d", "avg_pool2d", "lp_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate")
RESHAPES = ("view", "reshape", "flatten", "unflatten", "transpose", "permute", "movedim", "swapaxes", "t")
# What a diagram leaves out: it changes no number, or only adds zeros at the edges.
SILENT = (
    "contiguous", "clone", "detach", "to", "float", "expand", "expand_as", "view_as", "unsqueeze", "squeeze", "type_as", "pad",
    "getattr", "size", "repeat_interleave", "item",
)  # fmt: skip


@dataclass
class Step:
    """A layer, a block, an operation, an input or the output.

    `inputs` are the steps that feed it, by index, and `shapes` what comes from each; `out` is what it gives. `kind` chooses its
    look: conv, linear, norm, act, pool, drop, shape, op (arithmetic of several maps), other, block, input, output.
    """

    kind: str
    title: str = ""
    note: str = ""
    name: str = ""
    module: nn.Module | None = None
    inputs: list[int] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    out: Shape = None


@dataclass
class Flow:
    """The steps of a module in running order; `traced` is False where only the order of the children is known."""

    steps: list[Step]
    traced: bool = True


class Reader:
    """Reads modules of one model, after a run of a copy without numbers on an input of shape [1, *input].

    `model` is that copy: the modules that flows hold are its own.

    Raises: UsageError when the model does not take such an input.
    """

    def __init__(self, model: nn.Module, input: tuple[int, ...]) -> None:
        self.calls: dict[int, list[tuple[dict[str, Any], Any]]] = {}
        self.order: list[int] = []
        shape = (1, *input)
        try:
            self.model = without_numbers(model).eval()
            self._run(torch.empty(shape, dtype=_dtype(model), device="meta"))
        except ERRORS as error:
            if any(parameter.is_meta for parameter in model.parameters()):
                raise _refused(shape, error) from error
            self._run_with_numbers(model, shape)

    def _run_with_numbers(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        self.calls.clear()
        self.order.clear()
        self.model = copy.deepcopy(model).cpu().eval()
        try:
            self._run(torch.zeros(shape, dtype=_dtype(model)))
        except ERRORS as error:
            raise _refused(shape, error) from error

    def _run(self, x: Tensor) -> None:
        plain = [module for module in self.model.modules() if not isinstance(module, torch.jit.ScriptModule)]
        handles = [module.register_forward_hook(self._record, with_kwargs=True) for module in plain]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self.model(x)
        finally:
            for handle in handles:
                handle.remove()

    def _record(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        with contextlib.suppress(TypeError, ValueError):
            given = dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
            self.calls.setdefault(id(module), []).append((_bare(given), _bare(output)))
            self.order.append(id(module))

    def given(self, module: nn.Module) -> Shape:
        """The shape of the first tensor that the first call of a module got; None if it was never called."""
        calls = self.calls.get(id(module))
        return first_shape(calls[0][0]) if calls else None

    def output(self, module: nn.Module) -> Shape:
        """The shape of the first tensor that the first call of a module gave; None if it was never called."""
        calls = self.calls.get(id(module))
        return first_shape(calls[0][1]) if calls else None

    def read(self, part: nn.Module) -> Flow:
        """The flow inside `part`."""
        if is_layer(part):
            step = _step(part, "")
            step.inputs, step.shapes, step.out = [0], [self.given(part)], self.output(part)
            return Flow([Step("input", out=self.given(part)), step, Step("output", inputs=[1], shapes=[step.out])])
        graph = _trace(part)
        if graph is None:
            return self._in_order(part)
        return _Builder(self, part, graph).flow()

    def _in_order(self, part: nn.Module) -> Flow:
        place = {module: i for i, module in reversed(list(enumerate(self.order)))}
        ran = [(name, child) for name, child in _parts(part) if id(child) in place]
        steps = [Step("input", out=self.given(part))]
        for name, child in sorted(ran, key=lambda item: place[id(item[1])]):
            step = _step(child, name)
            step.inputs, step.shapes, step.out = [len(steps) - 1], [steps[-1].out], self.output(child)
            steps.append(step)
        steps.append(Step("output", inputs=[len(steps) - 1], shapes=[steps[-1].out]))
        return Flow(steps, traced=False)


class _Tracer(fx.Tracer):
    """Every module is one step, but short plain chains of layers, whose layers are."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not is_short_chain(m)


class _Values(fx.Interpreter):
    """Runs a graph on recorded shapes: modules give what they gave, the operations between them are computed."""

    def __init__(self, reader: Reader, part: nn.Module, graph: fx.Graph) -> None:
        super().__init__(part, garbage_collect_values=False, graph=graph)
        self.reader, self.part, self.used = reader, part, dict[int, int]()
        self.extra_traceback = False

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.part.get_submodule(str(target))
        call = self.used.get(id(module), 0)
        self.used[id(module)] = call + 1
        calls = self.reader.calls[id(module)]
        return calls[min(call, len(calls) - 1)][1]

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return _bare(self.fetch_attr(str(target)))


class _Builder:
    """Turns a graph into steps, leaving out what only moves numbers about."""

    def __init__(self, reader: Reader, part: nn.Module, graph: fx.Graph) -> None:
        self.part, self.graph = part, graph
        self.values = self._shapes(reader)
        self.steps: list[Step] = []
        self.feeds: dict[fx.Node, list[tuple[int, Shape]]] = {}  # what a node stands for: steps, and what comes from each

    def _shapes(self, reader: Reader) -> dict[fx.Node, Any]:
        run = _Values(reader, self.part, self.graph)
        given = reader.calls.get(id(self.part), [({}, None)])[0][0]
        places = [node for node in self.graph.nodes if node.op == "placeholder"]
        args = [given[str(node.target).lstrip("*")] for node in places if str(node.target).lstrip("*") in given]
        with contextlib.suppress(*ERRORS), torch.no_grad():
            run.run(*args)
        return dict(run.env)

    def flow(self) -> Flow:
        for node in self.graph.nodes:
            self.feeds[node] = self._feed(node)
        return Flow(_that_matter(self.steps))

    def _feed(self, node: fx.Node) -> list[tuple[int, Shape]]:
        sources = list(dict.fromkeys(feed for source in node.all_input_nodes for feed in self.feeds[source]))
        out = first_shape(self.values.get(node))
        if node.op == "get_attr":
            return []
        if node.op == "placeholder":
            return [self._add(Step("input", name=str(node.target), out=out), [])] if node.users else []
        if node.op == "output":
            return [self._add(Step("output"), sources)]
        if node.op == "call_module":
            module = self.part.get_submodule(str(node.target))
            if isinstance(module, nn.Identity):
                return sources
            step = _step(module, str(node.target))
            step.out = out
            return [self._add(step, sources)]
        known = self.values.get(node)
        if not sources or (known is not None and out is None):
            return []  # numbers, sizes, constants
        return self._operation(node, sources, out)

    def _operation(self, node: fx.Node, sources: list[tuple[int, Shape]], out: Shape) -> list[tuple[int, Shape]]:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        if name in SILENT or (name == "getitem" and not self._cuts(node)):
            return [(index, out or shape) for index, shape in sources]
        step = Step("other", name.strip("_"), out=out)
        if name in ARITHMETIC and len(sources) > 1:
            step.kind, step.title = "op", ARITHMETIC[name]
        elif name in SIGNS:
            step.kind, step.title = "shape", _with_constant(node, SIGNS[name])
        elif name in ACTIVATIONS:
            step.kind, step.title = "act", {"relu": "ReLU"}.get(name.strip("_"), name.strip("_"))
        elif name in POOLS:
            step.kind = "pool"
        elif name in RESHAPES or name == "getitem":
            step.kind, step.title = "shape", "slice" if name == "getitem" else "reshape"
            last = self.steps[sources[0][0]]
            if len(sources) == 1 and (last.kind, last.title) == ("shape", step.title) and len(node.all_input_nodes[0].users) == 1:
                last.out = out
                return [(sources[0][0], out)]
        elif len(sources) > 1 and name in ("matmul", "bmm", "einsum", "stack", "where", "maximum"):
            step.kind = "op"
        return [self._add(step, sources)]

    def _cuts(self, node: fx.Node) -> bool:
        """Whether an index takes a part of a tensor; not one that adds or drops dimensions, or picks out of several tensors."""
        if isinstance(self.values.get(node.all_input_nodes[0]), tuple | list):
            return False
        index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        return any(isinstance(item, slice) and item != slice(None) for item in index)

    def _add(self, step: Step, sources: list[tuple[int, Shape]]) -> tuple[int, Shape]:
        seen: dict[int, Shape] = {}
        for index, shape in sources:
            seen.setdefault(index, shape)
        step.inputs, step.shapes = list(seen), list(seen.values())
        self.steps.append(step)
        return len(self.steps) - 1, step.out


def _that_matter(steps: list[Step]) -> list[Step]:
    """The steps without operations that lead nowhere: a forward may compute what only its other methods use.

    A layer that leads nowhere stays: an exit, whose answer is read later.
    """
    needed: set[int] = set()
    for i in reversed(range(len(steps))):
        if i in needed or steps[i].kind == "output" or steps[i].module is not None:
            needed.update((i, *steps[i].inputs))
    now = {old: new for new, old in enumerate(sorted(needed))}
    for old in now:
        steps[old].inputs = [now[source] for source in steps[old].inputs]
    return [steps[old] for old in now]


def without_numbers(model: nn.Module) -> nn.Module:
    """A deep copy on the meta device that never copies a weight. Norms, which are slow there, pass their input through."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    bare = copy.deepcopy(model, memo)
    for module in bare.modules():
        if type(module) in (nn.BatchNorm2d, nn.BatchNorm1d, nn.GroupNorm):
            module.forward = _same
    return bare


def _same(input: Tensor) -> Tensor:
    return input


def _bare(value: Any) -> Any:
    """The same nest with tensors that have a shape and no numbers."""
    return tree_map(lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) and not leaf.is_meta else leaf, value)


def _dtype(model: nn.Module) -> torch.dtype:
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def _refused(shape: tuple[int, ...], error: Exception) -> UsageError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UsageError(f"the model does not take an input of shape {list(shape)}: {reason}")


def first_shape(value: Any) -> Shape:
    """The shape of the first tensor in a nest, without the batch."""
    return next((tuple(leaf.shape[1:]) for leaf in tree_leaves(value) if isinstance(leaf, Tensor)), None)


def _trace(part: nn.Module) -> fx.Graph | None:
    try:
        return _Tracer().trace(part)
    except (fx.proxy.TraceError, *ERRORS):
        return None


def _with_constant(node: fx.Node, sign: str) -> str:
    """Arithmetic with a constant, x standing for the map: "1 − x"."""
    words = ["x" if isinstance(arg, fx.Node) and arg.op != "get_attr" else _constant(arg) for arg in node.args[:2]]
    if node.target is operator.sub or len(words) == 2:
        return f" {sign} ".join(words)
    return sign


def _constant(value: Any) -> str:
    if isinstance(value, fx.Node):
        return str(value.target).rpartition(".")[2]
    return f"{value:.3g}" if isinstance(value, int | float) else "…"


def inner(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children that do the module's work: the encodings of its weights are none."""
    return [(name, child) for name, child in module.named_children() if name != "parametrizations"]


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Its children, and those of its lists in their place; one that hangs in two places once."""
    found: dict[int, tuple[str, nn.Module]] = {}
    for name, child in inner(module):
        lists = isinstance(child, nn.ModuleList | nn.ModuleDict)
        for key, thing in _parts(child) if lists else [("", child)]:
            found.setdefault(id(thing), (f"{name}.{key}" if key else name, thing))
    return list(found.values())


def is_layer(module: nn.Module) -> bool:
    """Whether a module is drawn as one layer: nothing inside, a layer of torch, or scripted, which cannot be looked into."""
    if isinstance(module, torch.jit.ScriptModule):
        return True
    own = getattr(type(module).forward, "__module__", "").startswith("torch.nn.modules")
    return not inner(module) or (own and not isinstance(module, nn.Sequential))


def is_plain_chain(module: nn.Module) -> bool:
    """Whether a module runs its children one behind the other, and does nothing else."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def is_short_chain(module: nn.Module) -> bool:
    """Whether a module is a plain chain of a few layers."""
    return is_plain_chain(module) and 0 < (_length(module) or 0) <= INLINE


def _length(module: nn.Module) -> int | None:
    """The number of layers in a nest of plain chains; None where there is a block in it."""
    if not is_plain_chain(module):
        return 1 if is_layer(module) else None
    lengths = [_length(child) for _, child in inner(module)]
    return None if None in lengths else sum(length or 0 for length in lengths)


def _step(module: nn.Module, name: str) -> Step:
    if not is_layer(module):
        kind = type(module).__name__
        return Step("block", "" if is_plain_chain(module) and kind == "Sequential" else kind, name=name, module=module)
    kind, title, note = describe(module)
    return Step(kind, title, note, name, module)
