"""What an operator costs: the table op -> MACs, the operators known to multiply-accumulate nothing, and sliding windows.

A MAC is one multiply-accumulate of a convolution or a matrix product. A convolution counts its full kernel at every output
position, padding included, as the published figures do. Biases, activations, normalisation, pooling and other elementwise
work count zero MACs (their cost shows in bytes). An operator in neither table is reported, never guessed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

Formula = Callable[[Sequence[Any], Tensor], int]


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    """Weight [out, in / groups, *k], or [in, out / groups, *k] when transposed: each input then meets the whole kernel."""
    x, weight, transposed = args[0], args[1], bool(args[6])
    return (x if transposed else out).numel() * prod(weight.shape[1:])


def _product(first: int) -> Formula:
    """Matrix product whose left factor [..., m, k] is argument `first`: every output element sums k products."""
    return lambda args, out: out.numel() * args[first].shape[-1]


def _summed_product(args: Sequence[Any], out: Tensor) -> int:
    """addbmm: a batch of products [b, m, k] @ [b, k, n], summed over b."""
    return args[1].numel() * args[2].shape[-1]


def _attention(args: Sequence[Any], out: Tensor) -> int:
    """softmax(Q K^T) V with Q [..., s, d], K [..., t, d], V [..., t, e]: s t d + s t e per head."""
    query, key, value = args[:3]
    return query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


MACS: dict[str, Formula] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "mm": _product(0),
    "bmm": _product(0),
    "mv": _product(0),
    "dot": _product(0),
    "vdot": _product(0),
    "_int_mm": _product(0),
    "linear": _product(0),
    "addmm": _product(1),
    "addmv": _product(1),
    "baddbmm": _product(1),
    "_addmm_activation": _product(1),
    "addbmm": _summed_product,
    "addr": lambda args, out: out.numel(),
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ATTENTION = frozenset(name for name in MACS if "attention" in name)

# Known to hold no multiply-accumulate, beyond what torch itself tags as pointwise, reduction or view.
FREE = _words(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool1d
    max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d fractional_max_pool2d fractional_max_pool3d
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update
    cudnn_batch_norm native_group_norm native_layer_norm _fused_rms_norm _weight_norm_interface native_dropout renorm
    _softmax _log_softmax _safe_softmax _prelu_kernel hardswish mish threshold gelu glu log_sigmoid_forward rrelu_with_noise
    _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d grid_sampler_2d grid_sampler_3d affine_grid_generator pixel_shuffle pixel_unshuffle channel_shuffle
    constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    cat stack block_diag repeat repeat_interleave roll rot90 flip im2col col2im unsafe_split unsafe_split_with_sizes _chunk_cat
    embedding index index_add index_copy index_fill index_put index_select gather take scatter scatter_add scatter_reduce
    masked_fill masked_scatter masked_select select_scatter slice_scatter diagonal_scatter as_strided_scatter _unsafe_index
    _unsafe_index_put _unsafe_masked_index nonzero nonzero_static where bucketize searchsorted isin histc bincount
    sort topk kthvalue mode median nanmedian argsort _unique _unique2 unique_consecutive unique_dim multinomial
    cumsum cumprod cummax cummin logcumsumexp tril triu trace diag_embed
    empty empty_like empty_permuted empty_strided new_empty new_empty_strided full full_like new_full ones
    ones_like new_ones zeros zeros_like new_zeros scalar_tensor arange linspace logspace eye tril_indices triu_indices hann_window
    rand rand_like randn randn_like randint randint_like randperm bernoulli normal uniform exponential geometric
    copy copy_ clone fill zero lift lift_fresh resize resize_as set_ _to_copy _unsafe_view _reshape_copy _pin_memory contiguous
    eq ne lt le gt ge floor_divide rsub copysign heaviside xlogy gcd lcm complex polar add sub mul div
    max min aminmax argmax argmin any all equal is_same_size _local_scalar_dense item
    _assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async _print sym_size sym_numel sym_stride
    """
)


def short_name(func: torch._ops.OpOverload) -> str:
    """'aten::relu_' -> 'relu'; an operator outside aten keeps its namespace: 'torchvision::nms'."""
    space, _, name = func._schema.name.partition("::")
    if space not in ("aten", "prims", "prim"):
        return f"{space}::{name}"
    return name[:-1] if name.endswith("_") and not name.startswith("__") and name not in FREE else name


def is_view(func: torch._ops.OpOverload) -> bool:
    """Whether the operator only renames memory, in a new tensor or (transpose_) in the old one."""
    return func.is_view or torch.Tag.inplace_view in func.tags


def is_free(func: torch._ops.OpOverload, name: str) -> bool:
    """Whether the operator is known to hold no multiply-accumulate."""
    if name.startswith("profiler::"):
        return True
    return name in FREE or is_view(func) or torch.Tag.pointwise in func.tags or torch.Tag.reduction in func.tags


@dataclass(frozen=True)
class Window:
    """The sliding window of a convolution or a pool; one number per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False


def _spread(value: Any, axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


def window(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Window | None:
    """The window of an operator, or None when it does not slide one (adaptive pools depend on the size: see receptive.py)."""
    if name in ("convolution", "_convolution"):
        kernel = tuple(args[1].shape[2:])
        axes = len(kernel)
        return Window(kernel, _spread(args[3], axes), _spread(args[5], axes), int(args[8]), bool(args[6]))
    if name.startswith(("max_pool", "avg_pool")):
        axes = int(name[8])
        kernel = _spread(args[1] if len(args) > 1 else kwargs["kernel_size"], axes)
        stride = args[2] if len(args) > 2 else kwargs.get("stride", ())
        dilation = args[4] if name.startswith("max") and len(args) > 4 else 1
        return Window(kernel, _spread(stride, axes) if stride else kernel, _spread(dilation, axes))
    return None
