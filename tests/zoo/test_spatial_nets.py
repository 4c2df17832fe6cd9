"""Nets that choose where to look, and capsules: published sizes, closed forms against autograd, what their parts promise."""

import math

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.nn import margin_loss
from danlu.tasks import tasks
from danlu.zoo import models
from danlu.zoo.dynamic_capacity import PATCH, Top, windows
from danlu.zoo.recurrent_attention import rank_loss


def built(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return models[name].build(**options)


def params(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


# Spatial transformer net


def test_the_transformer_net_starts_as_its_classifier_alone() -> None:
    net = built("spatial_transformer_net", width=0.25).eval()
    x = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(net(x), net[1:](x), rtol=1e-3, atol=1e-4)


def test_the_transformer_net_learns_where_to_look() -> None:
    net = built("spatial_transformer_net", width=0.125)
    x = torch.randn(8, 1, 28, 28)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), torch.arange(8)).backward()
        optimizer.step()
    frames = net.transformer.frame(x)
    assert (frames - torch.eye(2, 3)).abs().max() > 1e-4
    assert (frames[0] - frames[1]).abs().max() > 0


# Capsule net


def test_capsule_net_has_the_published_sizes() -> None:
    with torch.device("meta"):
        assert params(models["capsule_net"].build()) / 1e6 == pytest.approx(6.8, abs=0.05)
        assert params(models["capsule_net"].build(decoder=True)) / 1e6 == pytest.approx(8.2, abs=0.05)
        capsules = models["capsule_net"].build()[:3](torch.empty(1, 1, 28, 28))
    assert capsules.shape == (1, 32 * 6 * 6, 8)


def test_the_sigmoids_of_the_logits_are_the_lengths() -> None:
    net = built("capsule_net", width=0.125, size=20).eval()
    x = torch.rand(3, 1, 20, 20)
    lengths = net[:-1](x).norm(dim=2)
    logits = net(x)
    torch.testing.assert_close(logits.sigmoid(), lengths)
    shares = lengths / (1 - lengths)  # the squared length of what was squashed
    torch.testing.assert_close(logits.softmax(1), shares / shares.sum(1, keepdim=True))
    assert 0.05 < lengths.mean() < 0.95  # neither dead nor saturated at the start


def test_capsule_net_learns_by_either_loss() -> None:
    for loss in (nn.functional.cross_entropy, lambda logits, y: margin_loss(logits.sigmoid(), y)):
        net = built("capsule_net", width=0.125, size=20)
        x, y = torch.rand(10, 1, 20, 20, generator=torch.Generator().manual_seed(1)), torch.arange(10)
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(40):
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()
        assert (net(x).argmax(1) == y).float().mean() >= 0.8


def test_the_decoder_sees_one_capsule() -> None:
    net = built("capsule_net", width=0.125, size=20, decoder=True)
    x = torch.rand(4, 1, 20, 20)
    logits, image = net.with_reconstruction(x, torch.tensor([1, 2, 3, 4]))
    assert torch.equal(logits, net(x))
    assert image.shape == x.shape
    assert 0 <= image.min() <= image.max() <= 1
    capsules = net.capsules(x)
    alone = torch.zeros_like(capsules)
    alone[0, 1] = capsules[0, 1]
    torch.testing.assert_close(net.decoder(alone.flatten(1))[0].view(1, 20, 20), image[0])
    assert torch.equal(net.with_reconstruction(x)[1], net.with_reconstruction(x, logits.argmax(1))[1])
    for iterations in (0, 101, True):
        with pytest.raises(UsageError, match="iterations of the routing"):
            built("capsule_net", iterations=iterations)


# Dynamic capacity net


@pytest.mark.parametrize("shape", [(6, 6), (9, 7), (5, 8)])
def test_saliency_is_the_gradient_of_the_entropy(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    top = Top(5, 11, 4).double()
    nn.init.normal_(top.bias)
    nn.init.normal_(top.class_bias)
    x = torch.randn(3, 5, *shape, dtype=torch.double, requires_grad=True)
    p = top(x).softmax(1)
    (gradient,) = torch.autograd.grad(-(p * p.log()).sum(), x)
    torch.testing.assert_close(top.saliency(x), gradient.norm(dim=1))
    assert top.saliency(x).count_nonzero() > 0


def test_top_is_its_layers() -> None:
    top = Top(5, 11, 4)
    conv, linear = nn.Conv2d(5, 11, 4, stride=2), nn.Linear(11, 4)
    conv.weight, conv.bias, linear.weight, linear.bias = top.weight, top.bias, top.class_weight, top.class_bias
    x = torch.randn(2, 5, 9, 8)
    expected = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), linear)(x)
    torch.testing.assert_close(top(x), expected)


@pytest.mark.parametrize("size", [32, 36, 43, 100])
def test_a_patch_is_what_its_place_sees(size: int) -> None:
    """Place (i, j) of the coarse map sees pixels 4 i to 4 i + 10: in its patch of 14 they all are."""
    net = built("dynamic_capacity_net")
    x = torch.randn(1, 1, size, size)
    rows, columns = net.coarse(x).shape[2:]
    cut = windows(x, rows, columns).view(1, 1, PATCH, PATCH, rows, columns)
    for i, j in [(0, 0), (1, rows - 1), (rows - 1, 2)]:
        field = x[:, :, 4 * i : 4 * i + 11, 4 * j : 4 * j + 11]
        assert any(torch.equal(cut[:, :, a : a + 11, b : b + 11, i, j], field) for a in range(4) for b in range(4))


def test_only_the_salient_places_are_refined() -> None:
    net = built("dynamic_capacity_net", patches=5).eval()
    x = torch.rand(2, 1, 36, 36)
    coarse = net.coarse(x)
    both, before, after = net.refined(x)
    places = net.salient(coarse)
    assert sorted(places[0].tolist()) == sorted(net.top.saliency(coarse)[0].flatten().argsort(descending=True)[:5].tolist())
    changed = (both != coarse).any(1).flatten(1)
    for image in range(2):
        assert set(changed[image].nonzero().flatten().tolist()) <= set(places[image].tolist())
    place = places[1, 3].item()
    row, column = divmod(place, coarse.shape[3])
    patch = windows(x[1:], *coarse.shape[2:])[0, :, place].view(1, 1, PATCH, PATCH)
    torch.testing.assert_close(net.fine(patch)[0, :, 0, 0], both[1, :, row, column])
    torch.testing.assert_close(after[1, :, 3], both[1, :, row, column])
    torch.testing.assert_close(before[1, :, 3], coarse[1, :, row, column])
    logits, hint = net.with_hint(x)
    assert torch.equal(logits, net(x))
    assert hint.item() == pytest.approx(((before - after) ** 2).sum().item() / 2, rel=1e-5)


def test_fine_layers_cost_what_the_patches_cost(count) -> None:
    with torch.device("meta"):
        few, more = (count(models["dynamic_capacity_net"].build(patches=n), (1, 100, 100))[1] for n in (8, 9))
    # 24 maps; 12x12 of one channel and of 24, twice 6x6, once one pixel.
    assert more - few == 9 * 24 * (144 + 24 * (144 + 36 + 36 + 1))
    for patches in (0, 37, True):
        with pytest.raises(UsageError, match="patches are the places"):
            models["dynamic_capacity_net"].build(patches=patches)


# RA-CNN


def test_training_gives_three_scales_and_the_answer_is_their_mean() -> None:
    net = built("ra_cnn_bn", num_classes=5, width=0.125, size=64).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits, boxes = net.scales(x)
        answer = net(x)
    assert logits.shape == (2, 3, 5)
    assert len(boxes) == 2
    torch.testing.assert_close(answer, logits.log_softmax(2).mean(1))
    assert net.train()(x).shape == (2, 3, 5)
    for box in boxes:
        assert (box[:, :2] - box[:, 2:] / 2).min() >= 0
        assert (box[:, :2] + box[:, 2:] / 2).max() <= 1
        assert box[:, 2].min() >= 1 / 3


def test_each_scale_sees_the_crop_of_the_one_before() -> None:
    net = built("ra_cnn", width=0.125, size=64).eval()
    seen = []
    for trunk in net.trunks:
        trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        _, boxes = net.scales(x)
    assert [tuple(image.shape[2:]) for image in seen] == [(64, 64), (32, 32), (32, 32)]
    torch.testing.assert_close(seen[1], net.crops[0](x, boxes[0]))
    torch.testing.assert_close(seen[2], net.crops[1](seen[1], boxes[1]))


def test_later_scales_teach_the_proposals() -> None:
    net = built("ra_cnn_bn", num_classes=4, width=0.125, size=32).train()
    logits = net(torch.randn(4, 3, 32, 32))
    nn.functional.cross_entropy(logits[:, 2], torch.arange(4)).backward()
    for proposal in net.proposals:
        assert proposal.fc1.weight.grad.abs().max() > 0


def test_the_task_takes_the_three_scales() -> None:
    net = built("ra_cnn_bn", num_classes=4, width=0.125, size=32).train()
    logits, y = net(torch.randn(4, 3, 32, 32)), torch.arange(4)
    task = tasks["classify"].build([str(i) for i in range(4)], exit_weights=net.exit_weights)
    expected = sum(nn.functional.cross_entropy(logits[:, i], y) for i in range(3)) / 3
    torch.testing.assert_close(task.loss(logits, y), expected)


def test_rank_loss_by_hand() -> None:
    p = torch.tensor([[0.5, 0.52, 0.9], [0.7, 0.6, 0.6]])  # of the target, scale by scale
    logits = torch.stack([p.log(), (1 - p).log()], dim=2)
    by_hand = (max(0, 0.5 - 0.52 + 0.05) + 0 + (0.7 - 0.6 + 0.05) + 0.05) / 2
    assert rank_loss(logits, torch.zeros(2, dtype=torch.long)).item() == pytest.approx(by_hand, abs=1e-6)
    flipped = rank_loss(logits.flip(2), torch.ones(2, dtype=torch.long), margin=0.05)
    assert flipped.item() == pytest.approx(by_hand, abs=1e-6)
    assert math.isclose(rank_loss(torch.zeros(3, 4, 6), torch.tensor([0, 1, 5]), margin=0.2).item(), 3 * 0.2, rel_tol=1e-5)
