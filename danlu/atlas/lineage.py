"""Which idea came from which: one row for each family of the zoo, with what it took from those before it.

A family is a file of `danlu/zoo`; the year is that of its first publication. The rows are data, so that the atlas can draw them
and `danlu show` can say what a net grew from and what it led to.
"""

from dataclasses import dataclass

from ..errors import unknown

GROUPS = {
    "plain": "Plain chains of layers",
    "inception": "Many scales side by side",
    "light": "Fewer multiplications",
    "residual": "Shortcuts",
    "attention": "Attention",
    "geometry": "Where a filter looks",
    "dynamic": "As much as an image needs",
}


@dataclass(frozen=True)
class Idea:
    """A family in the history: its group, its year, and `grew`: the families it grew from, each with what was new."""

    family: str
    group: str
    year: int
    grew: tuple[tuple[str, str], ...] = ()


def _idea(family: str, group: str, year: int, **grew: str) -> tuple[str, Idea]:
    return family, Idea(family, group, year, tuple(grew.items()))


LINEAGE: dict[str, Idea] = dict((
    _idea("neocognitron", "plain", 1980),
    _idea("tdnn", "plain", 1989, neocognitron="weights shared over time, learned by backpropagation"),
    _idea("lenet", "plain", 1989, neocognitron="its cascade learned from end to end by backpropagation"),
    _idea("alexnet", "plain", 2012, lenet="ten times deeper data: ReLU, dropout, and two GPUs"),
    _idea("zfnet", "plain", 2013, alexnet="a finer first layer, found by looking at what the filters see"),
    _idea("maxout_net", "plain", 2013, alexnet="the activation itself is learned: the maximum of several linear maps"),
    _idea("nin", "plain", 2013, maxout_net="a small network in the place of the maximum: 1x1 convolutions, and no dense layers"),
    _idea("vgg", "plain", 2014, alexnet="depth from nothing but 3x3 convolutions"),
    _idea("all_cnn", "plain", 2014, nin="pooling replaced by strided convolutions"),
    _idea("allconv", "plain", 2019, all_cnn="a small chain of strided 3x3 convolutions, to study depth and width on"),
    _idea("bilinear_cnn", "plain", 2015, vgg="the products of all pairs of channels, for fine differences"),
    _idea("googlenet", "inception", 2014, nin="1x1 convolutions pay for 3x3 and 5x5 filters side by side"),
    _idea("inception_v2", "inception", 2015, googlenet="batch normalisation, and 5x5 as two 3x3"),
    _idea("inception_v3", "inception", 2015, inception_v2="n x n filters as 1 x n and n x 1"),
    _idea("inception_v4", "inception", 2016, inception_v3="one plan for stem, blocks and reductions"),
    _idea("inception_resnet_v2", "inception", 2016, inception_v4="the same blocks", resnet="with a shortcut around them"),
    _idea("xception", "inception", 2016, inception_v3="a branch for every channel: separable convolutions",
          resnet="shortcuts around each block"),
    _idea("flattened", "light", 2014, alexnet="each filter as three one-dimensional ones: across channels, down, along"),
    _idea("squeezenet", "light", 2016, googlenet="1x1 squeezes before a mix of 1x1 and 3x3"),
    _idea("mobilenet_v1", "light", 2017, xception="separable convolutions alone, with knobs for width and resolution"),
    _idea("mobilenet_crelu", "light", 2018, mobilenet_v1="half of the filters: the other half are their negatives"),
    _idea("shufflenet_v1", "light", 2017, mobilenet_v1="grouped 1x1 convolutions, with a shuffle so that groups meet",
          resnext="groups inside a residual block"),
    _idea("condensenet", "light", 2017, densenet="dense connections", shufflenet_v1="the groups are learned while it trains"),
    _idea("dsconv_resnet", "light", 2019, resnet="convolutions as integer kernels with shifts per block"),
    _idea("big_little_resnet", "light", 2018, resnet="a deep branch at half the resolution beside a thin one at full"),
    _idea("octave_resnet", "light", 2019, big_little_resnet="in every convolution some channels live at half the resolution"),
    _idea("highway", "residual", 2015, vgg="gates decide how much of the input is carried on, so that depth can be trained"),
    _idea("resnet", "residual", 2015, highway="the gates left out: a plain sum", vgg="3x3 convolutions throughout"),
    _idea("resnet_cifar", "residual", 2015, resnet="three stages for 32x32 pixels; shortcuts without weights"),
    _idea("preact_resnet", "residual", 2016, resnet="norm and activation before the convolution: a clear path for the identity"),
    _idea("resnet_in_resnet", "residual", 2016, resnet="a residual stream and a transient stream side by side"),
    _idea("stochastic_depth_resnet", "residual", 2016, resnet="whole blocks are left out at random while it trains"),
    _idea("wide_resnet", "residual", 2016, preact_resnet="width in the place of depth"),
    _idea("resnext", "residual", 2016, resnet="the block split into many equal branches", googlenet="split, transform, merge"),
    _idea("densenet", "residual", 2016, resnet="concatenation in the place of the sum: every layer sees all before it",
          stochastic_depth_resnet="layers may read from far before them"),
    _idea("dpn", "residual", 2017, densenet="a dense path explores", resnext="a residual path re-uses"),
    _idea("spatial_transformer_net", "attention", 2015, lenet="a small net inside decides how to crop, turn and scale the image"),
    _idea("residual_attention", "attention", 2017, resnet="a branch down and up again masks what the trunk computes"),
    _idea("se_resnet", "attention", 2017, resnet="each channel weighed by what the whole map says"),
    _idea("non_local_resnet", "attention", 2017, resnet="every place answers with a sum over all places"),
    _idea("recurrent_attention", "attention", 2017, spatial_transformer_net="a net looks, then zooms in on what it found, twice",
          vgg="one trunk for each scale"),
    _idea("cbam_resnet", "attention", 2018, se_resnet="after the channels, the places: both weighed in turn"),
    _idea("sk_resnet", "attention", 2019, se_resnet="the weighing chooses between kernels of different sizes",
          resnext="grouped branches"),
    _idea("active_resnet", "geometry", 2017, resnet="the shape of a filter is learned, one for all places"),
    _idea("deformable_resnet", "geometry", 2017, spatial_transformer_net="learned sampling",
          active_resnet="offsets computed from the map, anew at each place"),
    _idea("capsule_net", "geometry", 2017, lenet="vectors with a pose in the place of numbers; parts vote for wholes"),
    _idea("dynamic_capacity", "dynamic", 2015, lenet="a coarse net everywhere, a fine one only where it matters"),
    _idea("branchynet", "dynamic", 2016, googlenet="its side classifiers answer, where they are sure", lenet="a LeNet with exits",
          alexnet="an AlexNet with exits", resnet_cifar="a ResNet with exits"),
))  # fmt: skip


def idea_of(family: str) -> Idea:
    """The row of a family; UsageError names the nearest."""
    if family not in LINEAGE:
        raise unknown("family", family, LINEAGE)
    return LINEAGE[family]


def led_to(family: str) -> list[tuple[str, str]]:
    """The families that grew from this one, each with what was new, in order of years."""
    children = [(idea, new) for idea in LINEAGE.values() for parent, new in idea.grew if parent == family]
    return [(idea.family, new) for idea, new in sorted(children, key=lambda pair: (pair[0].year, pair[0].family))]
