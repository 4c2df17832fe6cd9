"""The numbers that entries claim, counted on the meta device and held against published ones."""

import csv

import pytest
import torch

from danlu.zoo import models

ENTRIES = [pytest.param(entry, id=entry.name) for entry in models]

# Row of the reference table -> (net, options). Rows marked rounded are compared to 2 %.
PUBLISHED = {
    "alexnet": ("alexnet", {}),
    "all_cnn_c (cifar)": ("all_cnn_c", {}),
    "densenet121": ("densenet121", {}),
    "densenet161": ("densenet161", {}),
    "densenet40_12 (cifar)": ("densenet40_12", {}),
    "densenet_bc100_12 (cifar)": ("densenet_bc100_12", {}),
    "dpn68": ("dpn68", {}),
    "dpn92": ("dpn92", {}),
    "googlenet (no aux)": ("googlenet", {}),
    "inception_v4": ("inception_v4", {}),
    "xception": ("xception", {}),
    "nin (imagenet)": ("nin", {}),
    "vgg11": ("vgg11", {}),
    "vgg16": ("vgg16", {}),
    "vgg16_bn": ("vgg16_bn", {}),
    "squeezenet1_0": ("squeezenet1_0", {}),
    "squeezenet1_1": ("squeezenet1_1", {}),
    "resnet18": ("resnet18", {}),
    "resnet34": ("resnet34", {}),
    "resnet50": ("resnet50", {}),
    "resnet101": ("resnet101", {}),
    "resnext50_32x4d": ("resnext50_32x4d", {}),
    "wide_resnet50_2": ("wide_resnet50_2", {}),
    "wide_resnet28_10 (cifar)": ("wide_resnet28_10", {}),
    "mobilenet_v1": ("mobilenet_v1", {}),
    "seresnet50": ("seresnet50", {}),
    "skresnet18": ("skresnet18", {}),
    "lenet5": ("lenet5", {}),
    "lenet_300_100": ("lenet_300_100", {}),
    "lenet5_caffe": ("lenet5_caffe", {}),
    "allconv6": ("allconv6", {}),
    "mobilenet_v1 alpha 0.75": ("mobilenet_v1", {"width": 0.75}),
    "mobilenet_v1 alpha 0.5": ("mobilenet_v1", {"width": 0.5}),
    "mobilenet_v1 alpha 0.25": ("mobilenet_v1", {"width": 0.25}),
    "squeezenet + deep compression": ("squeezenet1_0", {}),
    "resnet20 (cifar, identity shortcut)": ("resnet20", {}),
    "resnet56 (cifar, identity shortcut)": ("resnet56", {}),
}

# Published with one digit or two, 0.8 M and 1.4 M: half of the last digit is as near as one can come.
ONE_DIGIT = {"all_cnn_c (cifar)": 50_000, "densenet_bc100_12 (cifar)": 50_000}

# The reference table has 317 M for this row, from a list of released weights; the paper's table 6 has 325 M, as the sum gives.
OWN_PAPER_MACS = {"mobilenet_v1 alpha 0.75": 325_000_000}


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_facts_of_every_entry_are_true(entry, count):
    with torch.device("meta"):
        net = entry.build()
    assert count(net, entry.facts["input"]) == (entry.facts["params"], entry.facts["macs"])


@pytest.mark.parametrize("row", PUBLISHED)
def test_the_published_counts(row, reference, count):
    with open(reference / "architectures.csv", newline="") as file:
        published = {line["name"]: line for line in csv.DictReader(file)}[row]
    name, options = PUBLISHED[row]
    shape = tuple(int(side) for side in published["input"].split("x"))
    with torch.device("meta"):
        params, macs = count(models[name].build(**options), shape)
    rounded = "rounded" in published["note"]
    # A note may say that only the MACs are rounded.
    wanted = int(published["params"])
    near = pytest.approx(wanted, abs=ONE_DIGIT[row]) if row in ONE_DIGIT else pytest.approx(wanted, rel=0.02)
    assert params == (near if rounded and "MACs rounded" not in published["note"] else wanted)
    if published["macs"]:
        wanted = OWN_PAPER_MACS.get(row, int(published["macs"]))
        assert macs == (pytest.approx(wanted, rel=0.02) if rounded else wanted)


def test_the_reference_table_is_used_as_far_as_the_zoo_goes(reference):
    with open(reference / "architectures.csv", newline="") as file:
        rows = [line["name"] for line in csv.DictReader(file)]
    missed = [row for row in rows if row.split(" ")[0] in models and row not in PUBLISHED]
    assert not missed


# Depth -> (parameters of the convolutions in millions, MACs in millions) of the column's nets, with 20 classes.
CUT_NETS = {
    10: (0.063, 30),
    12: (0.131, 91),
    14: (0.265, 169),
    16: (0.531, 242),
    20: (1.065, 346),
    24: (1.598, 451),
    26: (2.127, 516),
    28: (3.185, 568),
}


@pytest.mark.parametrize("depth", CUT_NETS)
def test_the_cut_mobilenets_are_the_published_ones(depth, count):
    with torch.device("meta"):
        net = models["mobilenet_v1"].build(num_classes=20, depth=depth)
    maps = []
    net.avgpool.register_forward_pre_hook(lambda layer, inputs: maps.append(inputs[0].shape[-2:]))
    _, macs = count(net, (3, 224, 224))
    convolutions = [layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)]
    params = sum(layer.weight.numel() for layer in convolutions)
    assert len(convolutions) + 1 == depth
    assert maps == [(7, 7)]
    assert params / 1e6 == pytest.approx(CUT_NETS[depth][0], rel=0.008)
    assert macs / 1e6 == pytest.approx(CUT_NETS[depth][1], rel=0.02)


def test_the_shallow_mobilenet_is_the_paper_s(count):
    # Howard et al. 2017, table 5: 307 million MACs, 2.9 million parameters, five layers of 14x14x512 removed.
    with torch.device("meta"):
        params, macs = count(models["mobilenet_v1"].build(depth=18), (3, 224, 224))
    assert params / 1e6 == pytest.approx(2.9, rel=0.02)
    assert macs / 1e6 == pytest.approx(307, rel=0.02)


# Params in thousands, MACs in millions, as published for the column's nets with 20 classes.
@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("allconv5", 266e3, 66e6), ("allconv6", 560e3, 238e6), ("allconv7_1", 1.15e6, 983e6), ("allconv8_1", 1.74e6, 3.70e9)],
)
def test_the_allconv_nets_are_the_published_ones(name, params, macs):
    assert models[name].facts["params"] == pytest.approx(params, rel=0.005)
    assert models[name].facts["macs"] == pytest.approx(macs, rel=0.01)
