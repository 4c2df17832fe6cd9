"""fit_shapes: an edited net, rebuilt from its base and the shapes of its tensors, computes the same."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu.edits import edit, fit_shapes
from danlu.errors import UsageError
from danlu.zoo import create


def shapes_of(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def assert_rebuilds(base: nn.Module, edited: nn.Module, x: Tensor) -> None:
    text = str(base)
    rebuilt = fit_shapes(base, shapes_of(edited))
    assert str(base) == text, "the base is untouched"
    rebuilt.load_state_dict(edited.state_dict())
    assert torch.equal(rebuilt.eval()(x), edited.eval()(x))
    assert str(rebuilt) == str(edited), "attributes say what the tensors are"


prunes = st.builds(
    lambda ratio, scope, round_to: f"prune_channels(ratio={ratio}, scope={scope!r}, round_to={round_to})",
    st.floats(0.05, 0.95),
    st.sampled_from(["global", "layer"]),
    st.sampled_from([1, 2, 4, 8]),
)


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(["plain", "residual", "group_norm", "shuffle", "functional", "branches", "shared"]),
    steps=st.lists(prunes | st.just("fold_bn"), min_size=1, max_size=3),
)
def test_nets_from_outside_rebuild(make_net: Callable[..., nn.Module], name: str, steps: list[str]) -> None:
    x = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    edited = edit(make_net(name, 0), " | ".join(steps), example=x).model
    assert_rebuilds(make_net(name, 1), edited, x)


@pytest.mark.parametrize(
    "recipe",
    [
        "resnet14", "resnet18(width=0.125)", "resnet50(width=0.125)", "mobilenet_v1(width=0.25)", "squeezenet1_1(width=0.25)",
        "vgg16_bn(width=0.125)", "allconv6(width=0.25, batch_norm=True)", "lenet5", "lenet_300_100",
        "resnet8 | swap_norm(to='group') | swap_activation(to='prelu')", "resnet8 | swap_norm(to='none')",
    ],
)  # fmt: skip
@pytest.mark.parametrize("steps", ["fold_bn", "prune_channels(ratio=0.3) | fold_bn | prune_channels(scope='layer', round_to=4)"])
def test_zoo_nets_rebuild(recipe: str, steps: str) -> None:
    channels = 1 if recipe.startswith("lenet") else 3
    base, *structure = recipe.split(" | ")
    recipe = " | ".join([base, "fit_input(size=28)", *structure])
    x = torch.randn(2, channels, 28, 28)
    edited = edit(create(recipe, num_classes=6, in_channels=channels, seed=0), steps, example=x).model
    assert_rebuilds(create(recipe, num_classes=6, in_channels=channels, seed=1), edited, x)


def test_nothing_to_do(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("residual")
    assert_rebuilds(net, copy.deepcopy(net), x)


def test_flags_survive(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    base = make_net("plain").eval()
    base[0].weight.requires_grad_(False)
    shapes = shapes_of(edit(make_net("plain"), "prune_channels(round_to=4) | fold_bn", example=x).model)
    rebuilt = fit_shapes(base, shapes)
    assert not any(m.training for m in rebuilt.modules())
    assert [n for n, p in rebuilt.named_parameters() if not p.requires_grad] == ["0.weight", "0.bias"]


def test_a_channel_multiplier_stays_one() -> None:
    base = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4))
    rebuilt = fit_shapes(base, {"0.weight": (6, 1, 3, 3), "0.bias": (6,)})
    assert (rebuilt[0].in_channels, rebuilt[0].groups) == (3, 3)
    assert rebuilt(torch.zeros(1, 3, 4, 4)).shape == (1, 6, 2, 2)


def test_bare_tensors_of_a_users_module() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(16, 1, 1))
            self.register_buffer("offset", torch.zeros(16, 1, 1))

    rebuilt = fit_shapes(Scale(), {"gain": (5, 1, 1), "offset": (5, 1, 1)})
    assert isinstance(rebuilt.gain, nn.Parameter)
    assert rebuilt.offset.shape == (5, 1, 1)
    assert "offset" in dict(rebuilt.named_buffers())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("0.weight"), "0.weight is missing"),
        (lambda s: s.update(extra=(3,)), r"extra \[3\] is not in the net"),
        (lambda s: s.update({"0.weight": (16, 3, 5, 5)}), r"0 cannot take weight \[16, 3, 5, 5\] in the place of"),
        (lambda s: s.update({"0.weight": (16, 27)}), "0 cannot take weight"),
        (lambda s: s.update({"0.weight": (0, 3, 3, 3)}), "0 cannot take weight"),
        (lambda s: s.update({"0.weight": (8, 3, 3, 3), "0.bias": (7,)}), "0 cannot take"),
        (lambda s: s.update({"17.weight": (10, 20), "17.bias": (9,)}), "17 cannot take"),
        (lambda s: s.update({"1.weight": (9,)}), r"1 cannot take weight \[9\] in the place of weight \[16\]"),
        (lambda s: s.pop("1.weight"), "1.weight is missing"),
        (lambda s: s.update({"3.weight": (31, 8, 3, 3), "3.bias": (31,)}), "3 cannot take"),
    ],
)  # fmt: skip
def test_what_cannot_be_reconciled_is_listed(
    make_net: Callable[[str], nn.Module], change: Callable[[dict], object], says: str
) -> None:
    shapes = shapes_of(make_net("plain"))
    change(shapes)
    with pytest.raises(UsageError, match=f"the tensors are of another net: {says}"):
        fit_shapes(make_net("plain"), shapes)


def test_all_problems_are_told_at_once(make_net: Callable[[str], nn.Module]) -> None:
    with pytest.raises(UsageError, match=r"conv1.*is missing.*; and \d+ more"):
        fit_shapes(create("resnet8", num_classes=6), shapes_of(make_net("plain")))
    shapes = shapes_of(make_net("group_norm"))
    shapes["1.weight"] = shapes["1.bias"] = (20,)
    with pytest.raises(UsageError, match=r"1 cannot take weight \[20\], bias \[20\]"):
        fit_shapes(make_net("group_norm"), shapes)
    embedding = nn.Embedding(4, 3)
    with pytest.raises(UsageError, match="cannot take weight"):
        fit_shapes(embedding, {"weight": (4, 2)})


def test_a_shared_module_may_be_stored_once(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    edited = edit(make_net("shared"), "prune_channels(round_to=4)", example=x).model
    state = {name: tensor for name, tensor in edited.state_dict().items() if not name.startswith("block.")}
    rebuilt = fit_shapes(make_net("shared"), {name: tuple(tensor.shape) for name, tensor in state.items()})
    rebuilt.load_state_dict(state, strict=False)
    assert rebuilt.block is rebuilt.again
    assert torch.equal(rebuilt.eval()(x), edited.eval()(x))
