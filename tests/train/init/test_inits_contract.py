"""What every registered initialisation promises: it says where it is from, draws all layers from the seed, keeps the rest."""

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from danlu.encodings import Mask
from danlu.errors import UsageError
from danlu.registry import Entry
from danlu.spec import read
from danlu.train import TrainConfig
from danlu.train.init import CONTEXT, inits

DOCS = Path(__file__).parents[3] / "docs" / "initialisation.md"
NAMES = inits.names()
QUICK = {"rbm": "rbm(steps=2)", "autoencoder": "autoencoder(steps=2)"}


class Mixed(nn.Module):
    """All that layers may be: strided, grouped, depthwise, transposed, biasless, frozen, not called; norms, slopes, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.grouped = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.PReLU(8), nn.Conv2d(8, 8, 3, groups=8), nn.Tanh()
        )
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 4, 2, stride=2), nn.GELU(), nn.Dropout(0.5))
        self.hidden = nn.Linear(4, 6).requires_grad_(False)
        self.head, self.unused = nn.Linear(6, 5), nn.Linear(6, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.grouped(self.stem(x))).mean((2, 3))
        out: Tensor = self.head(torch.sigmoid(self.hidden(x)))
        return out


def images(dtype: torch.dtype = torch.float32, count: int = 6) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(3)).to(dtype)


def drawn(name: str, net: nn.Module, seed: int = 0, x: Tensor | None = None) -> nn.Module:
    """The net, behind the initialisation."""
    x = images() if x is None else x

    def feed() -> Iterator[Tensor]:
        while True:
            yield x

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        read(inits, QUICK.get(name, name), CONTEXT)(net, images=x, feed=feed, say=None)
    return net


def layers(net: nn.Module) -> dict[str, Any]:
    return {name: layer for name, layer in net.named_modules() if isinstance(layer, _ConvNd | nn.Linear)}


@pytest.mark.parametrize("entry", inits, ids=lambda entry: entry.name)
def test_says_what_it_is(entry: Entry[Any]) -> None:
    module = inspect.getmodule(entry.build)
    assert module is not None
    assert "Source: " in (module.__doc__ or "")
    assert len((module.__doc__ or "").split("\n\n")[0].splitlines()) <= 3
    assert entry.summary.endswith(".")
    assert "Raises: UsageError" in (entry.build.__doc__ or "")
    assert entry.facts["paper"]
    assert all(option.default is not option.empty for name, option in entry.options().items() if name not in CONTEXT)
    assert f"| `{entry.name}" in DOCS.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_draws_every_layer_from_the_seed_and_nothing_else(name: str) -> None:
    torch.manual_seed(5)
    fresh = Mixed()
    nn.init.constant_(fresh.stem[1].running_mean, 0.25)
    for parameter in fresh.parameters():
        parameter.data.add_(0.125)  # so that a bias, and a weight that is 0, were changed
    before = copy.deepcopy(fresh.state_dict())
    state = torch.random.get_rng_state()
    one, same, other = (drawn(name, copy.deepcopy(fresh), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, same[key]) for key, tensor in one.items())
    mine = {f"{layer}.{part}" for layer in layers(fresh) for part in ("weight", "bias")} & one.keys()
    assert all(torch.equal(one[key], before[key]) for key in one.keys() - mine)
    assert not any(torch.equal(one[key], before[key]) for key in mine)
    random = {key for key in mine if key.endswith("weight")}
    assert all(torch.equal(one[key], other[key]) == (name in ("zero", "constant")) for key in random)
    if name not in ("rbm", "autoencoder"):
        assert not any(one[key].any() for key in mine - random)


@pytest.mark.parametrize("name", NAMES)
def test_the_net_stays_as_it_is_otherwise(name: str) -> None:
    net = Mixed().train()
    net.stem.eval()
    modes, flags = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    parameters = [id(parameter) for parameter in net.parameters()]
    drawn(name, net)
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == flags
    assert [id(parameter) for parameter in net.parameters()] == parameters
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    net = drawn(name, Mixed().to(dtype), x=images(dtype))
    assert all(parameter.dtype == dtype and bool(parameter.isfinite().all()) for parameter in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_encoded_weights_are_refused_before_anything_is_drawn(name: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Linear(4, 4))
    parametrize.register_parametrization(net[2], "weight", Mask(sparsity=0.5, shape=(4, 4)))
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(UsageError, match=r"layer '2' holds its weights encoded \(Mask\)"):
        drawn(name, net)
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_net_without_layers_is_left_alone(name: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.PReLU(init=0.3))
    slope = net[1].weight.detach().clone()
    assert torch.equal(drawn(name, net)[1].weight, slope)


@pytest.mark.parametrize("entry", inits, ids=lambda entry: entry.name)
def test_options_that_cannot_be_are_told_before_anything_starts(entry: Entry[Any]) -> None:
    own = {name: option for name, option in entry.options().items() if name not in CONTEXT}
    wrong = [f"{name}='nothing'" for name in own] + [f"{name}=1" for name in CONTEXT] + ["nothing=1"]
    above = {"std", "limit", "gain", "variance", "rate", "steps", "rounds"}
    wrong += [f"{name}=-1" for name in own if name in above] + [f"{name}=0" for name in own if name in above]
    for text in wrong:
        with pytest.raises(UsageError, match=text.split("=")[0]):
            TrainConfig(steps=1, init=f"{entry.name}({text})")
    for name, option in own.items():
        if isinstance(option.default, bool):
            continue
        value: Any = "nothing" if isinstance(option.default, str) else float("nan")
        context = dict.fromkeys(CONTEXT & entry.options().keys())
        with pytest.raises(UsageError, match=name):
            entry.build(nn.Module(), **context, **{name: value})
