"""Layers that several nets or edits share, one idea a file. A layer that only one family needs lives with that family."""

from ._registry import layers
from .activations import ComposedActivation, ELiSH, HardELiSH, RandomLeakyReLU, Sinusoid, Step, Swish, activations
from .active import ActiveConv2d
from .attention_crop import AttentionCrop
from .big_little import BigLittle
from .bilinear_pool import BilinearPool, CompactBilinearPool
from .binary_activation import BinaryActivation
from .capsule import PrimaryCapsules, RoutedCapsules, margin_loss, squash
from .cbam import CBAM, ChannelAttention, SpatialAttention
from .concat import Concat
from .conv2plus1d import Conv2Plus1d
from .crelu import CReLU, WithNegative
from .deformable import DeformableConv2d
from .dense_connection import DenseConnection, LastChannels
from .depthwise_separable import DepthwiseSeparable
from .detail_preserving_pool import DetailPreservingPool2d
from .dilated import AtrousPyramid, DilatedConv2d
from .dsconv import DSConv2d
from .dual_path import DualPath
from .early_exit import EarlyExit, ExitHead, ExitPoint, exit_entropy
from .factorized import AsymmetricConv2d, StackedConv2d
from .flattened import FlattenedConv2d
from .gated_pool import GatedPool2d
from .group_shuffle import GroupShuffle
from .highway import Highway
from .large_margin import LargeMarginLinear, angle_margin, large_margin_head, plain_head
from .learned_group import ChannelIndex, LearnedGroupConv2d
from .lp_pool import LpPool2d
from .maxout import Maxout
from .mixed_pool import MixedPool2d
from .non_local import NonLocal2d
from .norms import BatchRenorm, GeneralisedBatchNorm, L1BatchNorm, norms
from .octave import OctaveConv2d, OctaveEach
from .pad_shortcut import PadShortcut
from .projection_shortcut import ProjectionShortcut
from .selective_kernel import SelectiveKernel
from .side_classified import SideClassified
from .spatial_pyramid_pool import SpatialPyramidPool2d
from .spatial_transformer import SpatialTransformer
from .squeeze_excitation import SqueezeExcitation
from .stochastic_depth import StochasticDepth
from .stochastic_pool import StochasticPool2d
from .sum import Sum
from .weighted_max_pool import WeightedMaxPool2d

__all__ = [
    "CBAM",
    "ActiveConv2d",
    "AsymmetricConv2d",
    "AtrousPyramid",
    "AttentionCrop",
    "BatchRenorm",
    "BigLittle",
    "BilinearPool",
    "BinaryActivation",
    "CReLU",
    "ChannelAttention",
    "ChannelIndex",
    "CompactBilinearPool",
    "ComposedActivation",
    "Concat",
    "Conv2Plus1d",
    "DSConv2d",
    "DeformableConv2d",
    "DenseConnection",
    "DepthwiseSeparable",
    "DetailPreservingPool2d",
    "DilatedConv2d",
    "DualPath",
    "ELiSH",
    "EarlyExit",
    "ExitHead",
    "ExitPoint",
    "FlattenedConv2d",
    "GatedPool2d",
    "GeneralisedBatchNorm",
    "GroupShuffle",
    "HardELiSH",
    "Highway",
    "L1BatchNorm",
    "LargeMarginLinear",
    "LastChannels",
    "LearnedGroupConv2d",
    "LpPool2d",
    "Maxout",
    "MixedPool2d",
    "NonLocal2d",
    "OctaveConv2d",
    "OctaveEach",
    "PadShortcut",
    "PrimaryCapsules",
    "ProjectionShortcut",
    "RandomLeakyReLU",
    "RoutedCapsules",
    "SelectiveKernel",
    "SideClassified",
    "Sinusoid",
    "SpatialAttention",
    "SpatialPyramidPool2d",
    "SpatialTransformer",
    "SqueezeExcitation",
    "StackedConv2d",
    "Step",
    "StochasticDepth",
    "StochasticPool2d",
    "Sum",
    "Swish",
    "WeightedMaxPool2d",
    "WithNegative",
    "activations",
    "angle_margin",
    "exit_entropy",
    "large_margin_head",
    "layers",
    "margin_loss",
    "norms",
    "plain_head",
    "squash",
]
