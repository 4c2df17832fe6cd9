"""Norms: each against its formula in plain loops, what training remembers, and inference as the batch norm that it then is."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import pytest
import torch
from torch import nn

from danlu.edits import edit
from danlu.edits.fold_bn import fold_bn
from danlu.errors import UsageError
from danlu.nn import BatchRenorm, GeneralisedBatchNorm, L1BatchNorm, norms
from danlu.nn.norms import Place, RunningNorm, find

DOCS = Path(__file__).parents[2] / "docs" / "activations.md"
Statistic = Callable[[list[float]], tuple[float, float]]


def of_mean(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))


def of_l1(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, math.sqrt(math.pi / 2) * sum(abs(v - mean) for v in values) / len(values)


def of_median(values: list[float]) -> tuple[float, float]:
    median = sorted(values)[(len(values) - 1) // 2]
    return median, math.sqrt(math.pi / 2) * sum(abs(v - median) for v in values) / len(values)


def of_range(values: list[float]) -> tuple[float, float]:
    return (max(values) + min(values)) / 2, (max(values) - min(values)) / 2


def of_semi(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, math.sqrt(2 * sum(max(v - mean, 0) ** 2 for v in values) / len(values))


def of_superquantile(values: list[float]) -> tuple[float, float]:
    top = sorted(values)[len(values) // 4 * 3 :]  # level 3/4
    normal = NormalDist()
    superquantile = normal.pdf(normal.inv_cdf(0.75)) / 0.25
    return top[0], (sum(top) / len(top) - sum(values) / len(values)) / superquantile


STATISTICS: dict[str, Statistic] = {
    "batch_renorm": of_mean,
    "l1": of_l1,
    "generalised(measure='mean')": of_mean,
    "generalised(measure='median')": of_median,
    "generalised(measure='range')": of_range,
    "generalised(measure='semi')": of_semi,
    "generalised(measure='superquantile', level=0.75)": of_superquantile,
}


def made(text: str, dims: int = 2, width: int = 3) -> RunningNorm:
    norm = find(text)(Place(width, dims)).double()
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("text", STATISTICS)
def test_training_computes_the_formula_and_remembers(text: str) -> None:
    torch.manual_seed(0)
    norm, x = made(text), 3 + 2 * torch.randn(4, 3, 2, 2, dtype=torch.float64)
    y = norm(x)
    for channel in range(3):
        values = x[:, channel].flatten().tolist()
        centre, deviation = STATISTICS[text](values)
        expected = [(v - centre) / math.sqrt(deviation**2 + 1e-5) for v in values]
        got = ((y[:, channel] - norm.bias[channel]) / norm.weight[channel]).flatten().tolist()
        assert got == pytest.approx(expected, abs=1e-9)
        assert norm.running_mean[channel].item() == pytest.approx(0.1 * centre)
        assert math.sqrt(norm.running_var[channel].item()) == pytest.approx(0.9 + 0.1 * deviation)


@pytest.mark.parametrize("text", STATISTICS)
def test_normal_activations_get_mean_0_and_deviation_1(text: str) -> None:
    if "range" in text:
        return  # of a sample the range grows without end
    torch.manual_seed(0)
    norm = find(text)(Place(2))
    y = norm(5 + 3 * torch.randn(64, 2, 32, 32))
    assert y.std().item() == pytest.approx(1, abs=0.01)
    if "superquantile" in text:
        assert (y > 0).float().mean().item() == pytest.approx(0.25, abs=0.001)
    else:
        assert y.mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("text", STATISTICS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_inference_is_a_batch_norm_that_folds(text: str, dims: int) -> None:
    torch.manual_seed(1)
    shape = (8, 3, 5, 4, 3)[: 2 + dims] if dims > 1 else (8, 3)
    layers: list[nn.Module] = [nn.Linear(3, 3) if dims == 1 else [nn.Conv2d, nn.Conv3d][dims - 2](3, 3, 1)]
    net = nn.Sequential(*layers, made(text, dims)).double()
    for _ in range(3):
        net(torch.randn(shape, dtype=torch.float64))
    x, norm = torch.randn(shape, dtype=torch.float64), net[1]
    y = net.eval()(x)
    plain = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims](3).double().eval()
    plain.load_state_dict(norm.state_dict())
    torch.testing.assert_close(y, plain(net[0](x)))
    folded = fold_bn(net).model
    assert isinstance(folded[1], nn.Identity)
    torch.testing.assert_close(folded(x), y)


@pytest.mark.parametrize("text", STATISTICS)
def test_gradients_are_those_of_differences(text: str) -> None:
    torch.manual_seed(2)
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    norm = made(text, width=2)
    norm.momentum = 0.0  # so that calls do not differ
    assert torch.autograd.gradcheck(norm, (x,))


def test_renormalised_training_is_inference_once_the_limits_are_wide() -> None:
    torch.manual_seed(3)
    norm = BatchRenorm(4, r_max=1e6, d_max=1e6, start=0, r_until=0, d_until=0).double()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.num_batches_tracked.fill_(10)
    x = 2 + torch.randn(3, 4, 5, 5, dtype=torch.float64)
    before = norm.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    y = norm(x)
    norm.load_state_dict(before)
    torch.testing.assert_close(y, norm.eval()(x), rtol=1e-9, atol=1e-9)


def test_the_limits_open_by_the_schedule_and_clip() -> None:
    norm = BatchRenorm(1, start=100, r_until=300, d_until=200).double()
    seen = {}
    for step in (0, 100, 150, 200, 250, 300, 900):
        norm.num_batches_tracked.fill_(step)
        seen[step] = tuple(limit.item() for limit in norm.limits)
    assert seen == {0: (1, 0), 100: (1, 0), 150: (1.5, 2.5), 200: (2, 5), 250: (2.5, 5), 300: (3, 5), 900: (3, 5)}
    norm.num_batches_tracked.fill_(900)
    x = 1000 + 100 * torch.randn(50, 1, 2, 2, dtype=torch.float64)
    y, plain = norm(x), (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(y, 3 * plain + 5)


def test_the_corrections_are_constants_for_the_gradient() -> None:
    torch.manual_seed(4)
    x = torch.randn(6, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    norm = BatchRenorm(1, start=0, r_until=0, d_until=0).double()
    norm.running_var.fill_(0.7)
    norm.num_batches_tracked.fill_(5)
    weights = torch.randn_like(x)
    (norm(x) * weights).sum().backward()
    again = x.detach().clone().requires_grad_(True)
    deviation = (again.detach().var(correction=0) + 1e-5).sqrt()
    r = deviation / (torch.tensor(0.7, dtype=torch.float64) + 1e-5).sqrt()
    plain = (again - again.mean()) / (again.var(correction=0) + 1e-5).sqrt()
    (plain * r * weights).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, again.grad)


@pytest.mark.parametrize("kind", [BatchRenorm, GeneralisedBatchNorm, L1BatchNorm])
def test_half_precision_constants_and_missing_averages(kind: type[RunningNorm]) -> None:
    norm = kind(2).to(torch.bfloat16)
    assert norm(torch.randn(4, 2, 3, 3).bfloat16()).dtype is torch.bfloat16
    x = torch.ones(4, 2, 3, 3, requires_grad=True)
    kind(2)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    untracked = kind(2, track_running_stats=False, affine=False).eval()
    assert untracked(5 + torch.randn(8, 2, 6, 6)).mean().abs() < 0.5
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        kind(2)(torch.ones(1, 2, 1, 1))
    with pytest.raises(ValueError, match="expected 4D input"):
        kind(2)(torch.ones(2, 2))


def test_a_net_with_one_is_edited_further_and_stays_what_it_was() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    made_of = edit(net, "swap_norm(to='batch_renorm(start=10)')").model
    assert made_of[1].start == 10
    assert edit(made_of, "fold_bn").changed[0].after == "folded into 0"


def test_every_entry_says_what_it_is() -> None:
    for entry in norms:
        module = inspect.getmodule(entry.build)
        assert module is not None
        assert "Source: " in (module.__doc__ or "")
        assert entry.summary.endswith(".")
        assert f"| `{entry.name}" in DOCS.read_text()


def test_usage() -> None:
    for text, message in (
        ("goup", "unknown norm 'goup'; did you mean group"),
        ("weight", "weight normalisation is of the weights: swap_norm"),
        ("group(groups=0)", "groups must be a whole number above zero, got 0"),
        ("batch_renorm(r_max=0.5)", "r_max must be from 1"),
        ("batch_renorm(start=3000)", "start <= r_until and d_until, got start=3000"),
        ("generalised(level=1.0)", "level must be between 0 and 1"),
        ("generalised(measure='mode')", "measure takes 'mean' or"),
        ("lrn(size=0)", "size must be from 1"),
    ):
        with pytest.raises(UsageError, match=message):
            find(text)
