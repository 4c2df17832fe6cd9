"""Replace activations: every module that is one becomes another kind, by name with options.

    "relu"  "leaky_relu(slope=0.1)"  "swish(beta=1.5)"  "composed(unary1='sin', unary2='x', binary='add')"

The kinds are those of `danlu.nn.activations` (`danlu list activations`).

Source: Ramachandran et al. 2017, Searching for activation functions, https://arxiv.org/abs/1710.05941.
Card: swap_activation.md
"""

from collections.abc import Collection

from torch import fx, nn

from ..nn.activations import Activation
from ..nn.activations import build as build_activation
from ._registry import edits
from ._trace import evaluating, trace
from .price import price_of
from .surgery import Keep, Outcome, replace

GATES = (nn.Sigmoid, nn.Hardsigmoid)
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.RReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.Hardswish, nn.GELU,
    nn.Mish, nn.Tanh, nn.Hardtanh, nn.Softplus, nn.Softsign, Activation, *GATES,
)  # fmt: skip
FUNCTIONS = frozenset((
    "relu", "relu_", "relu6", "rrelu", "leaky_relu", "prelu", "elu", "elu_", "selu", "celu", "silu", "hardswish", "gelu",
    "mish", "tanh", "tanh_", "sigmoid", "sigmoid_", "hardsigmoid", "hardtanh", "softplus", "softsign",
))  # fmt: skip


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1710.05941", reads={"to": "danlu.nn.activations:find"})
def swap_activation(model: nn.Module, *, to: str, skip: Collection[str] = ()) -> Outcome:
    """Replace every activation module by `to`: a name of `danlu.nn.activations`, with options where the usual ones will not do.

    Kept, with the reason: a sigmoid that gates (its output is multiplied), the activation that is the output of the net,
    and activations called as functions inside a forward (F.relu), which no edit of modules can reach. `skip` holds names
    of activations, or of modules, to leave alone.

    Raises: UsageError for another `to`, or an option that cannot be.
    """
    wanted = build_activation(to)
    with evaluating(model):
        graph = trace(model)
    gates, outputs = _special(graph, model)

    def decide(name: str, layer: nn.Module) -> nn.Module | Keep:
        if type(layer) is type(wanted) and _said(layer) == _said(wanted) and not list(wanted.parameters()):
            return Keep(f"it is {to} already")
        original = model.get_submodule(name)
        if original in outputs:
            return Keep("it gives the output of the net")
        if isinstance(layer, GATES) and graph is None:
            return Keep("the forward cannot be traced, so it may be a gate")
        if original in gates:
            return Keep("it is a gate: its output is multiplied")
        new = build_activation(to)
        weight = next(model.parameters(), None)
        return new.to(weight) if weight is not None else new

    outcome = replace(model, ACTIVATIONS, decide, skip, price=lambda old, new: price_of(new) - price_of(old))
    if graph is None:
        outcome.kept.append(("", "the forward cannot be traced: activations called as functions in it, if any, stay"))
    else:
        outcome.kept.extend(_functions(graph))
    return outcome


def _said(layer: nn.Module) -> str:
    """The arguments of an activation; whether it works in place is none of its function."""
    return layer.extra_repr().replace(", inplace=True", "").replace("inplace=True", "")


def _special(graph: fx.Graph | None, model: nn.Module) -> tuple[set[nn.Module], set[nn.Module]]:
    """The modules whose output is multiplied with something, and those whose output leaves the net."""
    gates: set[nn.Module] = set()
    outputs: set[nn.Module] = set()
    for node in graph.nodes if graph is not None else ():
        if node.op != "call_module":
            continue
        users = {user.op if user.op == "output" else str(getattr(user.target, "__name__", user.target)) for user in node.users}
        if users & {"mul", "imul", "mul_", "multiply"}:
            gates.add(model.get_submodule(str(node.target)))
        if "output" in users:
            outputs.add(model.get_submodule(str(node.target)))
    return gates, outputs


def _functions(graph: fx.Graph) -> list[tuple[str, str]]:
    """The activations that a forward calls as functions: (module whose forward it is, reason)."""
    found = []
    for node in graph.nodes:
        name = str(getattr(node.target, "__name__", node.target))
        if node.op in ("call_function", "call_method") and name in FUNCTIONS:
            stack = node.meta.get("nn_module_stack") or {}
            owner = [path for path, _ in stack.values()][-1] if stack else ""
            found.append((owner, f"{name} is called as a function in its forward; write it as a module to swap it"))
    return list(dict.fromkeys(found))
