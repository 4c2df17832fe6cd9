"""What every registered net must do; a new entry is tested without a new test."""

import inspect
import itertools
import re
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from danlu.edits import edit
from danlu.errors import UsageError
from danlu.zoo import models

ENTRIES = [pytest.param(entry, id=entry.name) for entry in models]
WIDTHS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5)


@pytest.mark.parametrize("entry", ENTRIES)
class TestEveryEntry:
    def test_the_signature_is_keyword_only_typed_and_small(self, entry):
        parameters = inspect.signature(entry.build).parameters
        assert entry.options().keys() == parameters.keys()
        assert {"in_channels", "num_classes", "width"} <= parameters.keys()
        assert len(parameters) <= 10
        for parameter in parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty
            assert type(parameter.default) is parameter.annotation

    def test_name_docstring_and_facts(self, entry):
        assert entry.name == entry.build.__name__
        assert len(entry.summary) > 20
        assert entry.summary.endswith(".")
        assert {"input", "smallest", "params", "macs", "year", "paper"} == entry.facts.keys() - {"onnx"}
        assert isinstance(entry.facts.get("onnx", ""), str), "why it cannot be exported, in words"
        assert 1979 < entry.facts["year"] < 2030
        assert entry.facts["paper"].startswith(("arxiv:", "doi:", "https://"))
        assert "Source:" in inspect.getmodule(entry.build).__doc__

    def test_builds_without_memory(self, entry):
        with torch.device("meta"):
            net = entry.build()
        tensors = [*net.parameters(), *net.buffers()]
        assert tensors
        assert all(tensor.is_meta for tensor in tensors)
        assert entry.facts["input"][0] == entry.options()["in_channels"].default
        out = net.eval()(torch.empty(2, *entry.facts["input"], device="meta"))
        assert out.shape == (2, entry.options()["num_classes"].default)

    def test_learns_from_its_smallest_input(self, entry, small):
        net, shape = small(entry)
        x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
        logits = net.train()(x)
        # A net with side classifiers gives the logits of all while it trains, with their weights in the loss.
        exits = logits if logits.dim() == 3 else logits[:, None]
        assert exits.shape == (4, len(getattr(net, "exit_weights", (1,))), 7)
        assert logits.isfinite().all()
        nn.functional.cross_entropy(exits.flatten(0, 1), torch.arange(4).repeat_interleave(exits.shape[1])).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        largest = max(parameter.grad.abs().max() for parameter in list(net.parameters())[:2])
        assert largest > 0, "no gradient arrives at the first layer"

    def test_images_do_not_see_each_other(self, entry, small):
        net, shape = small(entry)
        x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            together = net.eval()(x)
            alone = torch.cat([net(image[None]) for image in x])
        # Fresh deep nets give large logits, of which float32 keeps about six digits.
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5 * max(1.0, together.abs().max().item()))

    def test_takes_larger_inputs_unless_it_has_a_size(self, entry, small):
        net, (channels, height, width) = small(entry)
        if "size" in entry.options():
            pytest.skip("its linear layer fixes the size")
        assert net.eval()(torch.zeros(1, channels, height + 7, width + 13)).shape == (1, 7)

    def test_state_dict_round_trip(self, entry, small, tmp_path):
        net, shape = small(entry)
        x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            net.train()(torch.cat([x, -x]))  # moves the running statistics away from their start
            expected = net.eval()(x)
            save_file(net.state_dict(), tmp_path / "net.safetensors")
            other, _ = small(entry)
            for parameter in other.parameters():
                parameter.zero_()
            other.load_state_dict(load_file(tmp_path / "net.safetensors"))
            assert torch.equal(other.eval()(x), expected)

    def test_fit_input_takes_it_to_cifar_or_it_has_a_size(self, entry):
        if "size" in entry.options():
            with torch.device("meta"):
                net = entry.build(in_channels=3, num_classes=10, size=32)
        else:
            with torch.device("meta"):
                net = edit(entry.build(in_channels=3, num_classes=10), "fit_input(size=32, channels=3)").model
        assert net.eval()(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)

    def test_width_scales_parameters_monotonically(self, entry):
        sizes = []
        with torch.device("meta"):
            for width in WIDTHS:
                sizes.append(sum(p.numel() for p in entry.build(width=width).parameters()))
        assert sizes == sorted(sizes)
        assert len(set(sizes)) == len(sizes)
        assert sizes[WIDTHS.index(1.0)] == entry.facts["params"]
        assert sizes[0] < sizes[-2] / 4

    @pytest.mark.parametrize("width", [0, -1, 17, float("nan"), "a", None, True])
    def test_a_bad_width_is_refused(self, entry, width):
        with torch.device("meta"), pytest.raises(UsageError, match="width is a factor"):
            entry.build(width=width)


def exported() -> list[Any]:
    """One entry for each set of basic layers in a family, the one with the fewest of them: its siblings export alike."""
    found: dict[Any, tuple[int, Any]] = {}
    for entry in models:
        with torch.device("meta"):
            net = entry.build(width=0.25)
        layers = [type(layer).__name__ for layer in net.modules() if not layer._modules]
        kinds = (entry.build.__module__, frozenset(layers))
        if kinds not in found or len(layers) < found[kinds][0]:
            found[kinds] = len(layers), entry
    return [pytest.param(entry, id=entry.name) for _, entry in found.values()]


@pytest.mark.parametrize("entry", exported())
def test_exports_with_a_free_batch(entry, small):
    if "onnx" in entry.facts:
        pytest.skip(entry.facts["onnx"])
    net, shape = small(entry)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(net.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(more), net(more), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("entry", [p for p in ENTRIES if "dropout" in p.values[0].options()])
@pytest.mark.parametrize("dropout", [-0.1, 1.0, 2, "a", True])
def test_a_bad_dropout_is_refused(entry, dropout):
    with torch.device("meta"), pytest.raises(UsageError, match="dropout is the share"):
        entry.build(dropout=dropout)


@pytest.mark.parametrize("entry", [p for p in ENTRIES if "dropout" in p.values[0].options()])
def test_dropout_is_what_makes_training_random(entry, small):
    def twice(dropout):
        net, shape = small(entry, dropout=dropout)
        x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            return net(x), net(x)

    assert torch.equal(*twice(0.0))
    assert not torch.equal(*twice(0.5))


@pytest.mark.parametrize("entry", [p for p in ENTRIES if "size" in p.values[0].options()])
def test_a_size_is_taken_or_the_smallest_is_named(entry):
    with torch.device("meta"):
        with pytest.raises(UsageError) as refused:
            entry.build(size=0)
        smallest = int(re.search(r"from (\d+)x\1 to 1024x1024", str(refused.value))[1])
        for size in (smallest, smallest + 1, max(smallest, 28), max(smallest, 33)):
            net = entry.build(size=size)
            out = net.eval()(torch.zeros(2, entry.facts["input"][0], size, size, device="meta"))
            assert out.shape == (2, entry.options()["num_classes"].default)
        for size in (smallest - 1, -3, 2000, 28.0, "28", True):
            with pytest.raises(UsageError, match=f"from {smallest}x{smallest}"):
                entry.build(size=size)


@pytest.mark.parametrize("entry", [p for p in ENTRIES if "batch_norm" in p.values[0].options()])
def test_batch_norm_follows_every_convolution(entry):
    with torch.device("meta"):
        layers = list(entry.build(batch_norm=True))
    for layer, after in itertools.pairwise(layers):
        assert isinstance(layer, nn.Conv2d) == isinstance(after, nn.BatchNorm2d)
        assert not isinstance(layer, nn.Conv2d) or (layer.bias is None and layer.out_channels == after.num_features)
