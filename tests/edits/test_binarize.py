"""binarize: which layers and activations, what training keeps, and the baked net in onnxruntime."""

import numpy as np
import pytest
import torch
from torch import nn

from danlu.codec import load, save
from danlu.codec.pack import pack_model
from danlu.codec.unpack import unpack_model
from danlu.data import Input
from danlu.deploy import export_onnx, session
from danlu.edits import edit
from danlu.encodings import Sign, bake, encoded
from danlu.errors import UsageError
from danlu.nn import BinaryActivation
from danlu.zoo import create

INPUT = Input((12, 12), 3, (0.0,) * 3, (1.0,) * 3)
CLASSES = tuple("abcde")


def xnor(seed=0):
    """BN -> activation -> convolution, twice, with pooling between."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardtanh(), nn.Flatten(),
        nn.Linear(8 * 36, 5),
    )  # fmt: skip


def signs(model):
    return [name for name, _, _, chain in encoded(model) if isinstance(chain[-1], Sign)]


def train(model, steps=10, lr=0.05):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    model.train()
    for _ in range(steps):
        x, y = torch.randn(8, 3, 12, 12, generator=generator), torch.randint(5, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


def test_the_ends_stay_real_unless_asked_for():
    assert signs(edit(xnor(), "binarize").model) == ["4", "7"]
    assert signs(edit(xnor(), "binarize(ends=True)").model) == ["0", "4", "7", "11"]
    assert signs(edit(xnor(), "binarize(skip=['4'])").model) == ["7"]


def test_first_and_last_go_by_the_calls_and_not_by_the_names():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.middle, self.stem = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(3, 4)

        def forward(self, x):
            return self.head(self.middle(self.stem(x)))

    assert signs(edit(Swapped(), "binarize").model) == ["middle"]


def test_the_weights_are_signs_times_the_mean_size_of_the_channel():
    net = xnor()
    weight = edit(net, "binarize").model[4].weight
    expected = net[4].weight.sign() * net[4].weight.abs().mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(weight, expected, rtol=2**-11, atol=0)
    assert torch.equal(edit(net, "binarize(scale='none')").model[4].weight, net[4].weight.sign())


def test_a_transposed_convolution_has_its_scales_on_the_outputs():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 2), nn.Conv2d(6, 2, 1))
    weight = edit(net, "binarize").model[1].weight
    assert [len(weight[:, c].abs().unique()) for c in range(6)] == [1] * 6


@pytest.mark.parametrize("options", ["", "(scale='none')", "(stochastic=True)", "(activations=True, stochastic=True)"])
def test_training_moves_signs_and_keeps_real_weights_in_range(options):
    model = edit(xnor(), f"binarize{options}").model
    before = model[4].weight.detach().sign()
    train(model, lr=0.5)
    assert (model[4].weight.sign() != before).any()
    for _, module, name, _ in encoded(model):
        original = module.parametrizations[name].original
        assert len(original.unique()) > 100
        model.train()
        _ = getattr(module, name)
        assert original.abs().max() <= 1


def test_the_same_seed_draws_the_same_training():
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(train(edit(xnor(), "binarize(stochastic=True)").model))
    a, b = (net.state_dict() for net in nets)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_activations_before_binary_layers_become_signs():
    outcome = edit(xnor(), "binarize(activations=True)")
    model = outcome.model
    assert [type(model[i]) for i in (2, 6, 9)] == [BinaryActivation, BinaryActivation, nn.Hardtanh]
    assert ("binarize: 9", "it feeds something else than binary layers") in outcome.kept
    seen = {}
    for i in (4, 7, 11):
        model[i].register_forward_pre_hook(lambda m, args, i=i: seen.update({i: args[0].unique().tolist()}))
    model.eval()(torch.randn(2, 3, 12, 12))
    assert seen[4] == seen[7] == [-1, 1]
    assert len(seen[11]) > 2


def test_pooled_signs_are_the_signs_of_the_pooled():
    x = torch.randn(2, 3, 8, 8)
    sign, pool = BinaryActivation().eval(), nn.MaxPool2d(2)
    assert torch.equal(pool(sign(x)), sign(pool(x)))


def test_what_keeps_its_real_input_is_named():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
    )
    outcome = edit(net, "binarize(activations=True)")
    real = [place for place, reason in outcome.kept if "input stays real" in reason]
    assert real == ["binarize: 1", "binarize: 4"]
    assert isinstance(outcome.model[2], nn.ReLU)


def test_an_activation_that_is_also_added_stays(make_net):
    outcome = edit(make_net("residual"), "binarize(activations=True)")
    kept = {place.removeprefix("binarize: ") for place, reason in outcome.kept if "something else" in reason}
    assert {"1.act", "2.act", "1.gate", "6"} <= kept


def test_what_is_encoded_already_is_kept():
    outcome = edit(xnor(), "prune(sparsity={'4': 0.5}) | binarize")
    assert ("binarize: 4", "its weight is encoded by Mask already") in outcome.kept
    assert signs(outcome.model) == ["7"]
    again = edit(outcome.model, "binarize")
    assert signs(again.model) == ["7"]


@pytest.mark.parametrize("options", ["", "(scale='none', ends=True)", "(activations=True)"])
def test_baked_and_in_onnxruntime_it_gives_the_same(options, tmp_path):
    model = train(edit(xnor(), f"binarize{options}").model)
    x = torch.randn(16, 3, 12, 12)
    expected = model(x).detach()
    torch.testing.assert_close(bake(model)(x), expected, rtol=1e-5, atol=1e-5)
    file = export_onnx(bake(model), tmp_path / "net.onnx", input=INPUT, classes=CLASSES)
    runs = session(file)
    (got,) = runs.run(None, {runs.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", ["", "(scale='none')", "(activations=True, stochastic=True)"])
def test_it_is_stored_at_a_bit_a_weight_and_read_again(options, tmp_path):
    base = create("lenet5_caffe(batch_norm=True)", num_classes=10, in_channels=1, seed=0)
    model = edit(base, f"binarize{options}").model.eval()
    input, classes = Input((28, 28), 1, (0.0,), (1.0,)), tuple("0123456789")
    x = torch.randn(4, 1, 28, 28)
    save(model, tmp_path / "net", input=input, classes=classes)
    again = load(tmp_path / "net")
    assert signs(again) == ["4", "9"]
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    packed = pack_model(model, tmp_path / "net.danlu", input=input, classes=classes)
    torch.testing.assert_close(unpack_model(packed.path).model(x), model(x), rtol=1e-5, atol=1e-5)
    bits = 25_000 + 400_000
    others = sum(p.numel() for p in base.parameters()) - bits + 550  # as fp32, with a scale for each binary channel
    assert bits / 8 <= packed.size_bytes <= 1.01 * bits / 8 + 4 * others + 1000


def test_refuses_another_scale():
    with pytest.raises(UsageError, match="channel"):
        edit(xnor(), "binarize(scale='chanel')")
