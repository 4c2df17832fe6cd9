"""A model into a .danlu file and back: the same answers, in the bytes that were promised."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from danlu import create, edit
from danlu.codec.inspect import inspect_file
from danlu.codec.pack import pack_model
from danlu.codec.unpack import unpack_model
from danlu.data.spec import Input
from danlu.encodings import Codebook, Levels, Mask, Penalty, bake, encode
from danlu.errors import DanluError, UsageError

INPUT = Input((16, 16), 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "short_side_crop")
CLASSES = ("ant", "bee", "käfer")
DIGITS = [str(i) for i in range(10)]
GREY = Input((28, 28), 1, (0.1307,), (0.3081,))


def trained(recipe: str = "resnet8(width=0.5)") -> nn.Module:
    """A net with statistics that are not the initial ones."""
    net = create(recipe, num_classes=3, in_channels=3, seed=1).train()
    with torch.no_grad():
        net(torch.randn(8, 3, 16, 16))
        for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
    return net.eval()


def images(shape: tuple[int, int, int] = INPUT.shape) -> Tensor:
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))


def close(got: nn.Module, wanted: nn.Module, shape: tuple[int, int, int] = INPUT.shape, limit: float = 1e-5) -> None:
    with torch.no_grad():
        torch.testing.assert_close(got(images(shape)), wanted(images(shape)), rtol=limit, atol=limit)


@torch.no_grad()
def shared(net: nn.Module, size: int = 16, density: float = 0.1) -> nn.Module:
    """Every weight pruned by magnitude and rounded to one of `size` values."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.detach()
            table = torch.cat([torch.zeros(1), torch.linspace(float(weight.min()), float(weight.max()), size - 1).half().float()])
            near = (weight[..., None] - table).abs().argmin(-1)
            keep = weight.abs() >= weight.abs().flatten().quantile(1 - density)
            encode(layer, "weight", Codebook.of(table[None], near * keep, zero=True))
    return net


@pytest.mark.parametrize(
    "steps",
    [
        "",
        "fold_bn",
        "prune_channels(ratio=0.3)",
        "prune_channels(ratio=0.3) | fold_bn",
        'swap_activation(to="silu")',
        "low_rank(ratio=0.5)",
    ],
)
def test_the_net_that_comes_out_answers_as_the_one_that_went_in(tmp_path: Path, steps: str) -> None:
    net = trained()
    if steps:
        net = edit(net, steps, example=images()).model.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    packed = pack_model(net, tmp_path / "net.danlu", input=INPUT, classes=CLASSES)
    saved = unpack_model(tmp_path / "net.danlu")
    assert (saved.input, saved.classes, saved.recipe) == (INPUT, CLASSES, net.danlu_recipe)
    assert saved.model.danlu_recipe == net.danlu_recipe
    assert not any(module.training for module in saved.model.modules())
    close(saved.model, net)
    assert packed.size_bytes == (tmp_path / "net.danlu").stat().st_size
    assert packed.params == sum(p.numel() for p in net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), f"packing changed {name} of the model"


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    net = create("lenet5_caffe", num_classes=10, in_channels=1, seed=0)
    pack_model(net, tmp_path / "net.danlu", input=GREY, classes=DIGITS)
    for name, tensor in unpack_model(tmp_path / "net.danlu").model.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])


def test_what_is_unpacked_can_be_trained(tmp_path: Path) -> None:
    pack_model(trained(), tmp_path / "net.danlu", input=INPUT, classes=CLASSES)
    net = unpack_model(tmp_path / "net.danlu").model.train()
    net(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert not any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))


def test_batch_norms_keep_what_they_do_or_their_statistics(tmp_path: Path) -> None:
    net = trained()
    small = pack_model(net, tmp_path / "small.danlu", input=INPUT, classes=CLASSES)
    whole = pack_model(net, tmp_path / "whole.danlu", input=INPUT, classes=CLASSES, keep_statistics=True)
    assert small.size_bytes < whole.size_bytes
    for name, tensor in unpack_model(tmp_path / "whole.danlu").model.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])
    found = unpack_model(tmp_path / "small.danlu").model.state_dict()
    means = [tensor for name, tensor in found.items() if name.endswith("running_mean")]
    assert len(means) > 5
    assert not any(mean.any() for mean in means)


def test_a_pruned_and_shared_lenet_is_small_and_its_header_too(tmp_path: Path) -> None:
    net = shared(create("lenet5_caffe", num_classes=10, in_channels=1, seed=0).eval(), density=0.02)
    packed = pack_model(net, tmp_path / "net.danlu", input=GREY, classes=DIGITS)
    assert packed.header_bytes <= 350
    assert packed.ratio > 100
    saved = unpack_model(tmp_path / "net.danlu")
    plain = bake(net)
    for name, tensor in saved.model.state_dict().items():
        assert torch.equal(tensor, plain.state_dict()[name])
    again = pack_model(saved.model, tmp_path / "again.danlu", input=GREY, classes=DIGITS)
    assert again.size_bytes <= 1.02 * packed.size_bytes  # the values are found again without their encoding


def test_masks_and_penalties_are_stored_as_what_they_do(tmp_path: Path) -> None:
    net = create("lenet5_caffe(width=0.3)", num_classes=10, in_channels=1, seed=0).eval()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            encode(layer, "weight", Mask(sparsity=0.95))
            encode(layer, "weight", Penalty(norm="l1", strength=1e-4))
    packed = pack_model(net, tmp_path / "net.danlu", input=GREY, classes=DIGITS)
    assert packed.ratio > 12  # 5 % of the floats, and where they are
    plans = {row.name: row.plan for row in inspect_file(tmp_path / "net.danlu").rows}
    assert plans["5.weight"] == "sparse_numbers"
    close(unpack_model(tmp_path / "net.danlu").model, net, GREY.shape, 0)


class Liar(Codebook):
    """An encoding whose symbols are not its weight."""

    def levels(self, original: Tensor) -> Levels:
        true = super().levels(original)
        return Levels(true.indices, true.table + 1, axis=true.axis)


def test_symbols_that_are_not_the_weight_are_refused(tmp_path: Path) -> None:
    net = create("lenet5_caffe", num_classes=10, in_channels=1, seed=0)
    encode(net[7], "weight", Liar.of(torch.tensor([[0.5, 0.25]]), torch.zeros(10, 500, dtype=torch.int64), zero=False))
    with pytest.raises(DanluError, match=r"7\.weight: the symbols that Liar gives"):
        pack_model(net, tmp_path / "net.danlu", input=GREY, classes=DIGITS)
    assert not list(tmp_path.iterdir())


def test_rounding_is_asked_for_and_said(tmp_path: Path) -> None:
    net = trained()
    sizes = {
        f: pack_model(net, tmp_path / f"{f}.danlu", input=INPUT, classes=CLASSES, floats=f).size_bytes
        for f in ("fp32", "fp16", "bf16")
    }
    assert sizes["bf16"] < sizes["fp16"] < 0.6 * sizes["fp32"]
    assert inspect_file(tmp_path / "fp16.danlu").about["floats"] == "fp16"
    assert "floats" not in inspect_file(tmp_path / "fp32.danlu").about
    close(unpack_model(tmp_path / "fp16.danlu").model, net, limit=3e-2)
    with pytest.raises(UsageError, match="fp32, fp16, bf16"):
        pack_model(net, tmp_path / "x.danlu", input=INPUT, classes=CLASSES, floats="int8")


OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.a = nn.Linear(48, 48)
        self.b = nn.Linear(48, 48)
        self.b.weight = self.a.weight
        self.b.bias = self.a.bias
        self.c = nn.Linear(48, num_classes)
        nn.init.zeros_(self.a.bias)
        self.register_buffer("ramp", torch.linspace(0, 1, 48), persistent=False)
        self.register_buffer("steps", torch.arange(70000, 70048))
        self.register_buffer("flags", torch.arange(48) % 3 == 0)

    def forward(self, x):
        return self.c(self.b(self.a(x.flatten(1)) * self.ramp) + self.steps / 70000)

def build(num_classes=3):
    return Net(num_classes)
"""


def test_tied_weights_stay_one_and_other_buffers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packed_own_net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    net, input = create("packed_own_net:build", num_classes=3), Input((4, 4), 3, (0,) * 3, (1,) * 3)
    pack_model(net, tmp_path / "net.danlu", input=input, classes=CLASSES)
    with pytest.raises(UsageError, match="trust"):
        unpack_model(tmp_path / "net.danlu")
    got = unpack_model(tmp_path / "net.danlu", trust=True).model
    assert got.a.weight is got.b.weight
    assert got.a.bias is got.b.bias
    assert torch.equal(got.steps, net.steps)
    assert torch.equal(got.flags, net.flags)
    close(got, net, (3, 4, 4), 1e-6)
    rows = {row.name: row for row in inspect_file(tmp_path / "net.danlu").rows}
    assert (rows["b.weight"].plan, rows["b.weight"].bytes) == ("tied", 0)


def test_what_cannot_be_packed_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe"):
        pack_model(nn.Linear(2, 2), tmp_path / "x.danlu", input=GREY, classes=DIGITS)
    net = create("lenet5_caffe", num_classes=10, in_channels=1, seed=0)
    net[7].bias.data[3] = torch.nan
    with pytest.raises(UsageError, match=r"7\.bias holds numbers that are not finite"):
        pack_model(net, tmp_path / "x.danlu", input=GREY, classes=DIGITS)
    net = create("lenet5_caffe", num_classes=10, in_channels=1, seed=0)
    net.append(nn.Linear(10, 10))
    with pytest.raises(UsageError, match=r"8\.weight"):
        pack_model(net, tmp_path / "x.danlu", input=GREY, classes=DIGITS)
    assert not list(tmp_path.iterdir())


def test_the_inspection_accounts_for_every_byte(tmp_path: Path) -> None:
    net = shared(trained())
    packed = pack_model(net, tmp_path / "net.danlu", input=INPUT, classes=CLASSES)
    found = inspect_file(tmp_path / "net.danlu")
    assert found.header_bytes + sum(row.bytes for row in found.rows) == pytest.approx(packed.size_bytes)
    assert found.weights == sum(tensor.numel() for tensor in bake(net).state_dict().values())
    plain = bake(net).state_dict()
    for row in found.rows:
        if row.name.endswith("conv1.weight"):
            values, counts = np.unique(plain[row.name].numpy(), return_counts=True)
            share = counts / counts.sum()
            assert row.zeros == int(counts[values == 0].sum())
            entropy = -(counts * np.log2(share)).sum() / 8
            assert entropy <= row.bound_bytes <= entropy + 2 * len(values) + 1e-6  # the table is part of it
