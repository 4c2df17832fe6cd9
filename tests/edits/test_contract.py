"""What every edit promises, tested over every registered edit and every net of conftest.py: a new edit needs no new test."""

import copy
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.edits import Change, Outcome, edit, edits, parse
from danlu.edits.price import predict
from danlu.encodings import bake, finish
from danlu.errors import UsageError
from danlu.registry import Entry

# The options of an edit that has no default for something: what a recipe would say.
CALLS: dict[str, list[str]] = {
    "fit_input": ["fit_input(size=28)", "fit_input(size=40)"],
    "skip": ["skip", "skip(shortcut='project')", "skip(mode='concat')"],
    "swap_activation": ["swap_activation(to='swish')", "swap_activation(to='prelu')"],
    "swap_norm": [f"swap_norm(to='{to}')" for to in ("batch", "group", "layer", "instance", "none", "batch_renorm", "lrn")],
    "swap_pool": [
        "swap_pool(to='conv')",
        "swap_pool(to='mean', strided=True)",
        "swap_pool(to='stochastic')",
        "swap_pool(to='weighted_max', strided=True)",
    ],
    "prune_channels": ["prune_channels", "prune_channels(importance='taylor', scope='layer', ratio=0.3, round_to=4)"],
    "add_exits": ["add_exits", "add_exits(at=['input'], head='conv', channels=4, kernel=5, stride=2, grid=2)"],
    "binarize": ["binarize", "binarize(activations=True, scale='none', ends=True)", "binarize(stochastic=True)"],
    "dense": ["dense", "dense(growth=4)"],
    "prune": ["prune", "prune(sparsity=0.5, scope='layer', schedule='gradual', group=0.001)", "prune(structure='2:4')"],
    "share": ["share(bits=3)", "share(bits='auto')", "share(bits=2, per='channel', biases=2)", "share(bits=3, rate=0.05)"],
    "quantize_weights": [
        "quantize_weights",
        "quantize_weights(bits=2, per='layer')",
        "quantize_weights(method='dsconv', block=8)",
    ],
    "merge_branches": ["merge_branches", "merge_branches(ratio=1.0, init='copy')"],
    "merge_streamline": ["merge_streamline", "merge_streamline(init='standard', kernel='cover', relu='merge')"],
    "low_rank": ["low_rank(energy=0.6, round_to=1)", "low_rank(ratio=0.4, round_to=2, method='channel')"],
    "stochastic_depth": ["stochastic_depth", "stochastic_depth(survival=0.8, decay='uniform', per='batch')"],
    "deepen": ["deepen(stage=1)", "deepen(stage=1, by=2)"],
    "shorten": ["shorten(stage=1)"],
    "widen": ["widen(factor=2.0)", "widen(factor=0.5)"],
    "slim": ["slim", "slim(l1=0.01)"],
    "crelu": ["crelu", "crelu(scale=True)"],
    "cbam": ["cbam", "cbam(kernel=3, reduction=4)"],
    "non_local": ["non_local", "non_local(kind='concat', stages=[1])", "non_local(kind='gaussian', subsample=False)"],
    "se": ["se", "se(reduction=4)"],
    "sk": ["sk", "sk(branches=3, least=8)", "sk(split=True)"],
    "factorize_kernel": ["factorize_kernel(between='bn_relu')", "factorize_kernel(method='stack')"],
    "flatten_conv": ["flatten_conv", "flatten_conv(stages=2)"],
    "separate": ["separate", "separate(norm=False, activation=False)"],
    "big_little": ["big_little(alpha=2, beta=1)"],
    "deform": ["deform", "deform(last=2, modulated=True)"],
    "octave": ["octave", "octave(alpha=0.25, pointwise=True)"],
}
ENTRIES = list(edits)
STEPS = [step for entry in ENTRIES for step in CALLS.get(entry.name, [entry.name])]
HEADINGS = ["What", "When it loses", "Cost", "Options", "Measured", "Source"]
FOLDER = Path(inspect.getfile(edit)).parent


def batches() -> Any:
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        yield torch.randn(4, 3, 28, 28, generator=generator), torch.randint(10, (4,), generator=generator)


def run(step: str, net: nn.Module, x: Tensor) -> Outcome:
    """One step, from the same state of torch's generator."""
    torch.manual_seed(0)
    if size_of(step) != 28 and getattr(net, "danlu_net", "") == "functional":
        with pytest.raises(UsageError, match="does not run on 40x40"):
            edit(net, step)
        pytest.skip("this net has a size built into its forward, and the edit says so")
    return edit(net, step, example=x, batches=batches)


def size_of(step: str) -> int:
    return 40 if "size=40" in step else 28


def describe(net: nn.Module) -> tuple[str, dict[str, Tensor], list[tuple[bool, ...]]]:
    state = {name: tensor.clone() for name, tensor in net.state_dict(keep_vars=False).items()}
    flags = [(m.training, *(p.requires_grad for p in m.parameters(recurse=False))) for m in net.modules()]
    return repr(net), state, flags


@pytest.mark.parametrize("step", STEPS)
def test_leaves_its_input_alone(step: str, net: nn.Module, x: Tensor) -> None:
    next(net.parameters()).requires_grad_(False)
    list(net.children())[-1].eval()
    text, state, flags = describe(net)
    identities = [id(p) for p in net.parameters()]
    result = run(step, net, x).model
    now_text, now_state, now_flags = describe(net)
    assert (now_text, now_flags) == (text, flags)
    assert [id(p) for p in net.parameters()] == identities
    assert all(p.grad is None for p in net.parameters())
    assert now_state.keys() == state.keys()
    assert all(torch.equal(now_state[name], state[name]) for name in state)
    shared = {id(t) for t in (*net.parameters(), *net.buffers())} & {id(t) for t in (*result.parameters(), *result.buffers())}
    assert not shared, "the result must not share tensors with the input"


@pytest.mark.parametrize("step", STEPS)
def test_result_runs_and_trains(step: str, net: nn.Module) -> None:
    size = size_of(step)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    before = [m.training for m in net.modules()]
    model = run(step, net, x[:, :, :28, :28]).model
    assert all(before)
    assert all(m.training for m in model.modules())
    assert [name for name, p in model.named_parameters() if not p.requires_grad or p.grad is not None] == []
    y = model(x)
    answer = y[:, -1] if y.dim() == 3 else y  # a net with early exits gives those of all while it trains
    assert answer.shape == (2, 10)
    assert y.isfinite().all()
    y.logsumexp(-1).sum().backward()
    # Every weight is in use, but those of a norm in a branch not taken and of convolutions before an instance norm.
    assert sum(p.grad is not None for p in model.parameters()) >= 0.8 * len(list(model.parameters()))


@pytest.mark.parametrize("step", STEPS)
def test_outcome_is_complete(step: str, net: nn.Module, x: Tensor) -> None:
    outcome = run(step, net, x)
    name = step.split("(")[0]
    assert isinstance(outcome, Outcome)
    assert all(isinstance(change, Change) and change.before != change.after for change in outcome.changed)
    assert all(reason and not reason.endswith(".") for _, reason in outcome.kept)
    places = [change.name for change in outcome.changed] + [place for place, _ in outcome.kept]
    assert all(place == name or place.startswith(name + ": ") for place in places)
    old = {n for n, _ in net.named_modules(remove_duplicate=False)}
    assert {place.removeprefix(name).removeprefix(": ") for place in places} <= old, "named as in the input"
    settled = copy.deepcopy(outcome.model)
    finish(settled)
    assert outcome.params == (sum(p.numel() for p in net.parameters()), sum(p.numel() for p in bake(settled).parameters()))
    if not outcome.changed:
        assert str(net) == str(outcome.model)


@pytest.mark.parametrize("step", STEPS)
def test_is_deterministic(step: str, net: nn.Module, x: Tensor) -> None:
    first, second = run(step, net, x), run(step, net, x)
    assert (first.changed, first.kept) == (second.changed, second.kept)
    a, b = first.model.state_dict(), second.model.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("step", STEPS)
def test_shared_modules_stay_shared(step: str, make_net: Any, x: Tensor) -> None:
    model = run(step, make_net("shared"), x).model
    block, again = (next(m for n, m in model.named_modules(remove_duplicate=False) if n.endswith(e)) for e in ("block", "again"))
    assert block is again
    assert block[0] is again[0]


@pytest.mark.parametrize("step", STEPS)
def test_records_the_recipe(step: str, make_net: Any, x: Tensor) -> None:
    net = make_net("plain")
    net.danlu_recipe, net.danlu_num_classes, net.danlu_in_channels = "mine:net", 10, 3
    model = run(step, net, x).model
    assert model.danlu_recipe.startswith(f"mine:net | {step.split('(')[0]}")
    assert (model.danlu_num_classes, model.danlu_in_channels) == (10, 3)
    assert net.danlu_recipe == "mine:net"


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.facts["exact"]], ids=lambda e: e.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_edits_keep_the_function(entry: Entry[Any], dtype: torch.dtype, net: nn.Module, x: Tensor) -> None:
    net, x = net.to(dtype), x.to(dtype)
    for step in CALLS.get(entry.name, [entry.name]):
        model = run(step, net, x).model
        tolerance = 1e-5 if dtype is torch.float32 else 1e-10
        torch.testing.assert_close(model.eval()(x), copy.deepcopy(net).eval()(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("step", STEPS)
def test_keeps_the_dtype(step: str, make_net: Any, x: Tensor) -> None:
    model = run(step, make_net("plain").double(), x.double()).model
    assert {p.dtype for p in model.parameters()} == {torch.float64}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_one_name_in_three_places(entry: Entry[Any]) -> None:
    assert entry.name == entry.build.__name__
    assert Path(inspect.getfile(entry.build)).name == f"{entry.name}.py"
    card = FOLDER / f"{entry.name}.md"
    assert card.is_file()
    assert re.findall(r"^## (.+)$", card.read_text(), re.M) == HEADINGS
    assert f"Card: {card.name}" in (inspect.getmodule(entry.build).__doc__ or "")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_facts_and_signature(entry: Entry[Any]) -> None:
    facts = entry.facts
    assert isinstance(facts["exact"], bool)
    assert set(facts["needs"]) <= {"weights", "example", "batches"}
    assert set(facts["reduces"]) <= {"params", "macs", "latency", "memory", "size"}
    assert re.match(r"arxiv:\d{4}\.\d{4,5}$|doi:|https://", facts["paper"])
    assert not (facts.get("first") and "weights" in facts["needs"]), "an edit that needs weights is never first"
    parameters = inspect.signature(entry.build).parameters
    assert next(iter(parameters)) == "model"
    assert len(parameters) <= 10
    assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[1:])
    assert {"example", "batches"} & set(parameters) == {"example", "batches"} & set(facts["needs"])
    assert all(p.annotation is not p.empty for p in parameters.values())
    assert inspect.signature(entry.build).return_annotation is Outcome
    assert entry.summary.endswith(".")
    if "weights" not in facts["needs"]:
        assert not {"example", "batches"} & set(facts["needs"]), "a structure edit is run again with nothing but a recipe"


@pytest.mark.parametrize("step", [s for s in STEPS if "weights" not in edits[s.split("(")[0]].facts["needs"]])
def test_structure_edits_take_a_net_without_numbers(step: str, make_net: Any) -> None:
    with torch.device("meta"):
        model = edit(make_net("plain"), step).model
    size = size_of(step)
    assert all(p.is_meta for p in model.parameters())
    assert model.eval()(torch.empty(2, 3, size, size, device="meta")).shape == (2, 10)


# fit_input changes the maps themselves: what it costs is counted, not foretold.
@pytest.mark.parametrize(
    "step", [s for s in STEPS if not edits[s.split("(")[0]].facts["needs"] and s.split("(")[0] != "fit_input"]
)
def test_the_predicted_cost_is_the_measured_one(step: str, net: nn.Module) -> None:
    (call,) = parse(step)
    torch.manual_seed(0)
    outcome = edits[call.name].build(net, **call.options)
    assert all(change.price is not None for change in outcome.changed)
    size = 28 if net.danlu_net == "functional" else 32  # maps that halve evenly, where the net takes them
    before, after = macs_of(net, size), macs_of(outcome.model, size)
    params, macs = predict(net, outcome, (3, size, size))
    assert params == outcome.params[1] - outcome.params[0]
    assert macs == pytest.approx(after - before, rel=0.02, abs=0.5)


def macs_of(net: nn.Module, size: int) -> int:
    """By torch's own counter, for one image."""
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        copy.deepcopy(net).eval()(torch.zeros(1, 3, size, size))
    return flops.get_total_flops() // 2
