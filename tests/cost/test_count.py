"""Counting against closed forms, torch's own FLOP counter and published figures; and that a model is left as it was."""

import csv
import math
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from danlu.cost import Uncounted, profile
from danlu.errors import UsageError

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference" / "architectures.csv"


class Residual(nn.Module):
    """Depthwise, grouped and strided convolutions, a shortcut, and a functional head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.group = nn.Conv2d(8, 8, 1, groups=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.group(self.deep(x))
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """Attention by hand: einsum and matmul."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 18)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).chunk(3, -1)
        return torch.einsum("bnd,bmd->bnm", q, k).softmax(-1) @ v


class Of(nn.Module):
    """A module around a function."""

    def __init__(self, function, **parts) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """What torch's counter says for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Residual(), (3, 16, 16)),
        (nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.ConvTranspose2d(4, 6, 3, 2, groups=2)), (3, 17, 12)),
        (nn.Sequential(nn.Conv1d(2, 4, 5, 2), nn.Flatten(), nn.LazyLinear(3)), (2, 20)),
        (nn.Conv3d(2, 4, (3, 2, 1)), (2, 5, 6, 7)),
        (Tokens(), (7, 6)),
        (nn.GRU(6, 5, batch_first=True, bidirectional=True), (7, 6)),
    ],
    ids=["residual", "transposed", "one-dimensional", "three-dimensional", "tokens", "recurrent"],
)
def test_macs_are_half_of_torchs_flops(model: nn.Module, shape: tuple[int, ...]) -> None:
    if isinstance(model, nn.Sequential) and isinstance(model[-1], nn.LazyLinear):
        model(torch.zeros(1, *shape))
    result = profile(model, shape)
    assert 2 * result.macs == flops(model, shape) > 0
    assert result.params == sum(p.numel() for p in model.parameters()) == sum(row.params for row in result.rows)
    assert not result.uncounted
    assert not result.notes


def test_an_encoder_layer_is_counted_whole() -> None:
    """Its fused inference kernel and the weights its attention reads from a layer that is never called hide nothing."""
    layer, tokens, width, hidden = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 9, 8, 16
    result = profile(layer, (tokens, width))
    assert result.macs == tokens * (4 * width**2 + 2 * tokens * width + 2 * width * hidden)
    assert sum(row.params for row in result.rows) == result.params == sum(p.numel() for p in layer.parameters())
    assert not result.uncounted


@pytest.mark.parametrize("by_value", [False, True], ids=["meta", "real"])
def test_fused_attention_is_two_products_a_head(by_value: bool) -> None:
    def forward(self, x: Tensor) -> Tensor:
        if by_value and x.sum() > 0:
            return x
        return F.scaled_dot_product_attention(x, x[:, :, :5], x[:, :, :5, :])

    result = profile(Of(forward), (2, 7, 8))  # 2 heads, 7 queries, 5 keys, width 8
    assert result.macs == 2 * (7 * 5 * 8 + 7 * 5 * 8)
    assert not result.uncounted
    assert bool(result.notes) == by_value


@given(
    cin=st.integers(1, 3), cout=st.integers(1, 3), groups=st.integers(1, 3), kernel=st.integers(1, 3),
    stride=st.integers(1, 3), dilation=st.integers(1, 2), padding=st.integers(0, 2), side=st.integers(7, 12),
    batch=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_convolution_follows_its_closed_form(cin, cout, groups, kernel, stride, dilation, padding, side, batch) -> None:
    layer = nn.Conv2d(cin * groups, cout * groups, kernel, stride, padding, dilation, groups)
    out = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    result = profile(layer, (cin * groups, side, side), batch=batch)
    (row,) = result.rows
    assert row.macs == batch * cout * groups * out**2 * cin * kernel**2
    assert row.params == cout * groups * (cin * kernel**2 + 1)
    assert row.output == (batch, cout * groups, out, out)
    assert (row.kernel, row.stride, row.groups) == ((kernel,) * 2, (stride,) * 2, groups)
    assert row.bytes_read == 4 * (batch * cin * groups * side**2 + row.params)
    assert row.bytes_written == row.activation_bytes == 4 * math.prod(row.output)
    assert row.intensity == row.macs / (row.bytes_read + row.bytes_written)
    assert row.receptive == (1 + dilation * (kernel - 1),) * 2


def published() -> list[tuple[str, tuple[int, ...], int | None, int | None]]:
    """(name, input, parameters, MACs) of the reference rows that are exact."""
    if not REFERENCE.is_file():
        return []
    with open(REFERENCE) as file:
        rows = [row for row in csv.DictReader(file) if "rounded" not in row["note"]]
    return [
        (r["name"], tuple(int(n) for n in r["input"].split("x")), int(r["params"]), int(r["macs"] or 0) or None) for r in rows
    ]


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference figures are not beside the checkout")
def test_zoo_nets_have_their_published_cost() -> None:
    from danlu.zoo import create, models

    checked = 0
    for name, shape, params, macs in published():
        if name in models:
            classes = models[name].options()["num_classes"].default
            with torch.device("meta"):
                result = profile(create(name, num_classes=classes, in_channels=shape[0]), shape)
            assert (result.params, result.macs if macs else None) == (params, macs), name
            assert not result.uncounted
            checked += 1
    assert checked >= 10


def test_functional_operators_go_to_the_module_that_calls_them() -> None:
    inner = Of(lambda self, x: F.conv2d(x, self.w, padding=1), w=nn.Parameter(torch.ones(4, 3, 3, 3)))
    model = Of(lambda self, x: F.relu(self.inner(x)) @ torch.ones(8, 2), inner=inner)
    rows = {row.name: row for row in profile(model, (3, 8, 8)).rows}
    assert rows["inner"].macs == 4 * 64 * 27
    assert rows["inner"].params == 108
    assert rows["inner"].kernel == (3, 3)
    assert rows[""].macs == 4 * 8 * 8 * 2
    assert not rows[""].leaf


def test_a_module_called_twice_works_twice_and_is_stored_once() -> None:
    shared = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    result = profile(nn.Sequential(shared, nn.ReLU(), shared), (4, 6, 6))
    first, _, second = result.rows
    assert (first.name, first.call, first.params) == ("0", 0, 144)
    assert (second.name, second.call, second.params) == ("0", 1, 0)
    assert result.macs == 2 * first.macs == 2 * 36 * 144
    assert result.params == 144


def test_tied_weights_are_one_parameter() -> None:
    a, b = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    b.weight = a.weight
    result = profile(nn.Sequential(a, b), (6,))
    assert (result.params, [row.params for row in result.rows]) == (36, [36, 0])


def test_what_has_no_formula_is_listed_with_its_calls() -> None:
    model = Of(lambda self, x: torch.fft.fft2(torch.fft.fft2(x)).real, used=nn.Identity(), spare=nn.Linear(2, 2))
    model.unread = nn.Parameter(torch.zeros(3))
    result = profile(model, (1, 4, 4))
    assert Uncounted("operator", "_fft_c2c", 2) in result.uncounted
    assert [item.name for item in result.uncounted if item.what == "module"] == ["used", "spare"]
    assert [item.name for item in result.uncounted if item.what == "parameter"] == ["unread"]
    assert result.params == 3 + 6


def test_a_list_of_layers_is_not_called_uncalled() -> None:
    model = Of(lambda self, x: self.layers[1](self.layers[0](x)), layers=nn.ModuleList([nn.ReLU(), nn.Sigmoid(), nn.Tanh()]))
    assert [item.name for item in profile(model, (4,)).uncounted] == ["layers.2"]


def test_a_forward_that_needs_values_is_counted_for_real_and_says_so() -> None:
    model = Of(lambda self, x: self.fc(x) if x.sum() < 1 else x, fc=nn.Linear(4, 2))
    result = profile(model, (4,))
    assert result.macs == 8
    assert "real tensors" in result.notes[0]
    with pytest.raises(UsageError):
        profile(model.to("meta"), (4,))


def test_constants_and_devices_inside_a_forward_do_not_stop_counting() -> None:
    table = torch.arange(16.0).reshape(4, 4)
    scale = torch.tensor(2.0)

    def forward(self, x: Tensor) -> Tensor:
        y = (x - torch.tensor([0.5])) * scale @ table.to(x.device)
        return y + torch.zeros(4, device="cpu") + torch.linspace(0, 1, 4)[:1].item()

    result = profile(Of(forward), (4,))
    assert result.macs == 16
    assert not result.notes


def test_inference_mode_inside_a_forward_hides_nothing() -> None:
    conv = nn.Conv2d(3, 4, 3)
    model = Of(torch.inference_mode()(lambda self, x: self.conv(x)), conv=conv)
    assert profile(model, (3, 8, 8)).macs == 36 * 4 * 27


def test_the_model_is_left_as_it_was() -> None:
    def forward(self, x: Tensor) -> Tensor:
        self.cache = x
        return self.fc(F.dropout(self.norm(x), training=True))

    model = Of(forward, fc=nn.Linear(4, 2), norm=nn.BatchNorm1d(4))
    model.norm.eval()
    weight, state = model.fc.weight, {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    profile(model, (4,), batch=2)
    profile(model, (4,), batch=2, time=True, repeats=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert flags == [module.training for module in model.modules()] == [True, True, False]
    assert model.fc.weight is weight
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not getattr(model, "cache", torch.empty(0)).is_meta
    assert model(torch.ones(2, 4)).shape == (2, 2)


def test_a_model_on_meta_is_counted() -> None:
    with torch.device("meta"):
        model = nn.Linear(1 << 20, 1 << 20)  # 4 TB: cannot be copied
    assert profile(model, (1 << 20,)).macs == 1 << 40


def test_bytes_follow_the_type() -> None:
    half = profile(nn.Linear(8, 8, dtype=torch.bfloat16), (8,))
    assert half.param_bytes == 2 * 72
    assert half.rows[0].bytes_written == 16


def test_parametrised_weights_count_as_what_they_make() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Parameter(torch.ones(10, 2))

        def forward(self, right: Tensor) -> Tensor:
            return self.left @ right

    plain, low = nn.Linear(10, 10), nn.Linear(10, 10)
    parametrize.register_parametrization(low, "weight", LowRank(), unsafe=True)
    low.parametrizations.weight.original = nn.Parameter(torch.ones(2, 10))
    expected, result = profile(plain, (10,)), profile(low, (10,))
    assert (result.macs, result.params) == (expected.macs, expected.params) == (100, 110)
    assert [row.name for row in result.rows] == [""]
    assert "parametrised" in result.notes[0]


def test_old_weight_norm_is_counted_and_left_usable() -> None:
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Linear(4, 3))
    result = profile(layer, (4,))
    assert (result.macs, result.params) == (12, 12 + 3 + 3)
    assert not layer.weight.is_meta


@pytest.mark.parametrize("shape", [(), (3, 0, 4), (3.0, 4, 4), (3, -1, 4)])
def test_a_shape_must_be_positive_numbers(shape) -> None:
    with pytest.raises(UsageError, match="positive whole numbers"):
        profile(nn.ReLU(), shape)


def test_wrong_input_is_one_clear_error() -> None:
    with pytest.raises(UsageError, match=r"does not take an input of shape \[1, 4, 8, 8\]"):
        profile(nn.Conv2d(3, 4, 3), (4, 8, 8))
    with pytest.raises(UsageError, match="does not take an input"):
        profile(nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), (3, 8, 8))
    with pytest.raises(UsageError, match="lazy"):
        profile(nn.LazyLinear(2), (3,))
    with pytest.raises(UsageError, match="at least 1"):
        profile(nn.ReLU(), (3,), batch=0)


def test_containers_work_between_their_children_in_running_order() -> None:
    model = Of(lambda self, x: self.b(self.a(x) + 1) * 2, a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    rows = profile(model, (4,)).rows
    assert [(row.name, row.operators) for row in rows] == [("a", ("addmm",)), ("", ("add",)), ("b", ("addmm",)), ("", ("mul",))]
    assert [row.sources for row in rows] == [(-1,), (0,), (1,), (2,)]


def test_scripted_modules_are_counted_as_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(Residual().eval())
    plain, whole, inside = (
        profile(Residual(), (3, 8, 8)),
        profile(scripted, (3, 8, 8)),
        profile(nn.Sequential(scripted), (3, 8, 8)),
    )
    assert plain.macs == whole.macs == inside.macs
    assert plain.params == whole.params == inside.params
    assert len(whole.rows) == len(inside.rows) == 1
    assert not whole.uncounted
    assert scripted(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


@given(batch=st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_macs_and_activations_grow_with_the_batch_and_parameters_do_not(batch: int) -> None:
    one, many = profile(Residual(), (3, 8, 8)), profile(Residual(), (3, 8, 8), batch=batch)
    assert many.macs == batch * one.macs
    assert many.activation_bytes == batch * one.activation_bytes
    assert many.peak_activation_bytes == batch * one.peak_activation_bytes
    assert many.params == one.params
