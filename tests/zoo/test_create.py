"""Recipes to networks: the zoo, the user's own functions, timm, seeds and wrong options."""

import sys
import types

import pytest
import torch
from torch import nn

from danlu.edits.recipe import parse
from danlu.errors import UsageError
from danlu.zoo import create, models


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_recipe_makes_the_net_and_labels_it():
    net = create(" resnet8( width = 0.5 ) ", num_classes=4, in_channels=1)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    assert net.danlu_recipe == "resnet8(width=0.5)"
    assert (net.danlu_num_classes, net.danlu_in_channels) == (4, 1)
    twin = models["resnet8"].build(width=0.5, num_classes=4, in_channels=1)
    assert net.state_dict().keys() == twin.state_dict().keys()
    assert parse(net.danlu_recipe) == parse(" resnet8( width = 0.5 ) ")


def test_counts_in_the_recipe_win():
    net = create("resnet8(num_classes=6, in_channels=2)", num_classes=4, in_channels=1)
    assert net(torch.zeros(1, 2, 8, 8)).shape == (1, 6)
    assert (net.danlu_num_classes, net.danlu_in_channels) == (6, 2)


def test_edits_follow_the_base():
    net = create("lenet5_caffe | swap_activation(to='silu')", num_classes=10, in_channels=1)
    kinds = [type(module) for module in net.modules()]
    assert nn.SiLU in kinds
    assert nn.ReLU not in kinds
    assert parse(net.danlu_recipe) == parse("lenet5_caffe | swap_activation(to='silu')")
    assert (net.danlu_num_classes, net.danlu_in_channels) == (10, 1)


def test_a_seed_repeats_the_weights_and_leaves_the_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, two, other = (create("resnet8", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(other))


def test_without_a_seed_the_weights_come_from_the_generator():
    torch.manual_seed(7)
    one, two = create("resnet8"), create("resnet8")
    torch.manual_seed(7)
    again = create("resnet8")
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(two))


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("resnet19", "did you mean resnet18"),
        ("resnet18(widht=1)", "unknown option of resnet18 'widht'; did you mean width"),
        ("resnet18(width='a')", "width must be float, such as width=1.0; got 'a'"),
        ("resnet18(width=True)", "width must be float"),
        ("resnet18(width=None)", "width must be float"),
        ("resnet18(width=-1)", "above 0 and at most 16; got -1"),
        ("resnet18(width=0)", "above 0"),
        ("resnet18(width=1e9)", "at most 16"),
        ("mobilenet_v1(depth=11)", "depth of 10, 12, 14, 16, 18, 20, 24, 26, 28; got depth=11"),
        ("mobilenet_v1(depth=28.0)", "depth must be int"),
        ("lenet5(size=8)", "from 16x16"),
        ("lenet5(size='8')", "size must be int"),
        ("vgg11(dropout=2)", "dropout is the share"),
        ("allconv6(batch_norm=1)", "batch_norm must be bool"),
        ("resnet18(num_classes=0)", "num_classes must be a whole number of at least 1, got 0"),
        ("resnet18(in_channels=2.0)", "in_channels must be a whole number"),
        ("resnet18(num_classes=True)", "num_classes must be a whole number"),
        ("", "empty step"),
        ("resnet18 |", "empty step"),
        ("resnet18(0.5)", "options are written by name"),
        ("resnet18 | no_such_edit", "no_such_edit"),
    ],
)
def test_a_wrong_recipe_says_what_is_allowed(recipe, says):
    with pytest.raises(UsageError) as caught:
        create(recipe)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("num_classes", 0), ("num_classes", "10"), ("in_channels", -1), ("in_channels", 1.0)]
)
def test_wrong_counts_in_the_call(name, value):
    with pytest.raises(UsageError, match=f"{name} must be a whole number"):
        create("resnet8", **{name: value})


USER_CODE = """
from torch import nn
import helper_of_user_net

class Nets:
    @staticmethod
    def tiny(*, hidden=4):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(hidden))

def own(num_classes, in_channels=3, *, hidden=8):
    return nn.Sequential(nn.Conv2d(in_channels, hidden, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(hidden, num_classes))

def bare():
    return nn.Conv2d(3, 2, 1)

def number():
    return 5

def fails():
    raise RuntimeError("no weights here")

constant = 3
"""


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    (tmp_path / "user_net.py").write_text(USER_CODE)
    (tmp_path / "helper_of_user_net.py").write_text("")
    (tmp_path / "broken_net.py").write_text("import no_such_library_of_user\n")
    (tmp_path / "crashing_net.py").write_text("1 / 0\n")
    (tmp_path / "misspelt_net.py").write_text("def (\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in ("user_net", "helper_of_user_net", "broken_net", "crashing_net", "misspelt_net"):
        sys.modules.pop(name, None)


def test_the_users_own_function(user_folder):
    path = list(sys.path)
    net = create("user_net:own(hidden=6)", num_classes=5, in_channels=1, seed=0)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    assert net[0].out_channels == 6
    assert net.danlu_recipe == "user_net:own(hidden=6)"
    assert sys.path == path
    assert torch.equal(weights(net), weights(create("user_net:own(hidden=6)", num_classes=5, in_channels=1, seed=0)))


def test_a_function_without_counts_and_a_dotted_name(user_folder):
    assert create("user_net:bare", num_classes=2).out_channels == 2
    assert create("user_net:Nets.tiny(hidden=3)")[1].out_features == 3


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("user_nets:own", "there is no module 'user_nets'"),
        ("user_nets.models:own", "there is no module 'user_nets'"),
        ("user_net:owm", "did you mean own?"),
        ("user_net:constant", "is of type int; it must be a function"),
        ("user_net:own(width=2)", "cannot be called with"),
        ("user_net:bare(num_classes=2)", "cannot be called with"),
        ("user_net:number", "must return a torch.nn.Module, got int"),
        ("user_net:fails", "user_net:fails failed: RuntimeError: no weights here"),
        ("broken_net:own", "importing broken_net failed: No module named 'no_such_library_of_user'"),
        ("crashing_net:own", "importing crashing_net failed: ZeroDivisionError"),
        ("misspelt_net:own", "importing misspelt_net failed: SyntaxError"),
    ],
)
def test_user_code_that_cannot_be_used(user_folder, recipe, says):
    path = list(sys.path)
    with pytest.raises(UsageError) as caught:
        create(recipe)
    assert says in str(caught.value)
    assert sys.path == path


def test_timm_names_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="pip install timm"):
        create("timm:resnet18")


def test_timm_is_given_the_counts_and_options(monkeypatch):
    calls = []

    def build(name, **options):
        calls.append((name, options))
        if options.get("drop_rate") == 2:
            raise ValueError("bad drop_rate")
        return nn.Conv2d(options["in_chans"], options["num_classes"], 1)

    names = ["resnet18", "resnet34d"]
    fake = types.SimpleNamespace(create_model=build, is_model=lambda n: n.split(".")[0] in names, list_models=lambda: names)
    monkeypatch.setitem(sys.modules, "timm", fake)
    net = create("timm:resnet18.a1_in1k(drop_rate=0.1, num_classes=4)", num_classes=9, in_channels=1)
    assert calls == [("resnet18.a1_in1k", {"num_classes": 4, "in_chans": 1, "drop_rate": 0.1})]
    assert (net.danlu_num_classes, net.danlu_in_channels) == (4, 1)
    with pytest.raises(UsageError, match="did you mean resnet34d"):
        create("timm:resnet34")
    with pytest.raises(UsageError, match="ValueError: bad drop_rate"):
        create("timm:resnet18(drop_rate=2)")
