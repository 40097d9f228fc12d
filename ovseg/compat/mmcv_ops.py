"""The ops of mmcv's compiled extension that ovseg serves, made of torch and torchvision.

Detection and mask models run on them, forward and backward, on any device. The functions keep the
extension's calling conventions: parameter names and order, results written **in place** where it
does so, shapes and dtypes as there. Arithmetic below float32 (half inputs under autocast) is done
in float32 and rounded once.

tests/compat/test_mmcv_ops.py compares each with plain loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg.compat.mmcv_extension import not_available

_NO_COMPILER = 'none (mmcv has no compiled extension; ovseg.compat serves some of its ops)'
_NAIVE, _LINEAR = 0, 1
_MAX_POOL = 0


def _computable(*tensors: Tensor) -> list[Tensor]:
    """The tensors in one common floating dtype, at least float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


# ------------------------------------------------------------------------------ boxes


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, by falling score.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: a box that overlaps a better one by more than this is dropped.
        offset: 0 or 1; widths and heights are ``x2 - x1 + offset``.
    """
    from torchvision.ops import nms as torchvision_nms

    boxes, scores = _computable(boxes, scores)
    return torchvision_nms(_with_offset(boxes, offset), scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft non-maximum suppression: overlapping boxes lose score instead of being dropped.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,), unchanged.
        dets: (N, 5); its first M rows are filled with the kept boxes and their new scores.
        iou_threshold: overlap from which the naive and the linear method act.
        sigma: width of the Gaussian method.
        min_score: a box that falls below this when another is picked is dropped.
        method: 0 naive (drop), 1 linear (``1 - iou``), 2 Gaussian (``exp(-iou^2 / sigma)``).
        offset: 0 or 1; widths and heights are ``x2 - x1 + offset``.

    Returns:
        (M,) indices of the kept boxes in the order of picking.
    """
    work_boxes, work_scores = _computable(boxes, scores)
    work_boxes = _with_offset(work_boxes, offset)
    left = torch.arange(len(boxes), device=boxes.device)
    picked = []
    while len(left):
        best = int(work_scores.argmax())
        picked.append(int(left[best]))
        # Not `= tensor`: dets may be half while the work is done in float32.
        dets[len(picked) - 1, :4] = boxes[picked[-1]]
        dets[len(picked) - 1, 4] = work_scores[best]

        overlap = _iou_with(work_boxes[best], work_boxes)
        if method == _NAIVE:
            weight = (overlap < iou_threshold).to(overlap)
        elif method == _LINEAR:
            weight = torch.where(overlap < iou_threshold, 1, 1 - overlap)
        else:
            weight = torch.exp(-overlap.square() / sigma)
        work_scores = work_scores * weight
        stay = work_scores >= min_score
        stay[best] = False
        left, work_boxes, work_scores = left[stay], work_boxes[stay], work_scores[stay]
    return torch.tensor(picked, dtype=torch.long, device=boxes.device)


def _with_offset(boxes: Tensor, offset: int) -> Tensor:
    return boxes + boxes.new_tensor([0, 0, offset, offset]) if offset else boxes


def _iou_with(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union of one box (4,) with boxes (N, 4), as (N,)."""
    size = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(0)
    intersection = size.prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return intersection / ((box[2:] - box[:2]).prod() + areas - intersection)


# --------------------------------------------------------------------------- RoIAlign


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write RoIAlign of `input` (B, C, H, W) over `rois` (N, 5) into `output` (N, C, h, w).

    Args:
        input: feature maps.
        rois: image index and x1, y1, x2, y2 in pixels of the image.
        output: filled.
        argmax_y: only for maximum pooling, unused.
        argmax_x: only for maximum pooling, unused.
        aligned_height: h.
        aligned_width: w.
        spatial_scale: feature pixels per image pixel.
        sampling_ratio: samples per bin and axis; 0 means as many as feature pixels in the bin.
        pool_mode: 1 average; 0 maximum is not served.
        aligned: whether pixel centres are at half-integers.

    Raises:
        RuntimeError: for maximum pooling.
    """
    _require_average(pool_mode)
    _load_torchvision_ops()
    features, boxes = _computable(input, rois)
    pooled = torch.ops.torchvision.roi_align(
        features,
        boxes,
        spatial_scale,
        aligned_height,
        aligned_width,
        _torchvision_sampling(sampling_ratio),
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of `roi_align_forward` by its features into `grad_input` (B, C, H, W).

    Args are those of `roi_align_forward`, with `grad_output` (N, C, h, w).
    """
    _require_average(pool_mode)
    _load_torchvision_ops()
    gradient, boxes = _computable(grad_output, rois)
    grad_features = torch.ops.torchvision._roi_align_backward(
        gradient,
        boxes,
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        _torchvision_sampling(sampling_ratio),
        aligned,
    )
    grad_input.copy_(grad_features)


def _require_average(pool_mode: int) -> None:
    if pool_mode == _MAX_POOL:
        raise not_available("roi_align with pool_mode='max'")


def _torchvision_sampling(sampling_ratio: int) -> int:
    return sampling_ratio if sampling_ratio > 0 else -1


def _load_torchvision_ops() -> None:
    # Registers torch.ops.torchvision; here, so that import of ovseg does not pay for torchvision.
    import torchvision.ops  # noqa: F401


# --------------------------------------------------- multi-scale deformable attention


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Attention-weighted sum of values sampled at given places in several maps.

    mmcv itself calls its extension for this on GPUs only; on CPU it runs the same torch function.

    Args:
        value: (B, N, heads, D), the maps flattened and joined.
        value_spatial_shapes: (levels, 2) as height, width.
        value_level_start_index: (levels,), implied by the shapes.
        sampling_locations: (B, Q, heads, levels, points, 2) as x, y in [0, 1].
        attention_weights: (B, Q, heads, levels, points).
        im2col_step: images worked on at once by the compiled op, no effect on the result.

    Returns:
        (B, Q, heads * D), in the dtype of `value`.
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    values, locations, weights = _computable(value, sampling_locations, attention_weights)
    shapes = value_spatial_shapes.tolist()  # one transfer from the GPU instead of one a level
    output = multi_scale_deformable_attn_pytorch(values, shapes, locations, weights)
    return output.to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of `ms_deform_attn_forward` into the three `grad_` tensors.

    Args are those of `ms_deform_attn_forward`, with `grad_output` (B, Q, heads * D) and gradients
    of the shapes of `value`, `sampling_locations` and `attention_weights`.
    """
    inputs = [
        tensor.detach().requires_grad_()
        for tensor in _computable(value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            inputs[0],
            value_spatial_shapes,
            value_level_start_index,
            inputs[1],
            inputs[2],
            im2col_step,
        )
    gradients = torch.autograd.grad(output, inputs, grad_output.to(output.dtype))
    for target, gradient in zip(
        (grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True
    ):
        target.copy_(gradient)


# ------------------------------------------------------------------------- focal loss


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss of each logit into `output` (N, C), without reduction.

    With ``p = sigmoid(input)``: ``-alpha (1 - p)^gamma log p`` at the target class and
    ``-(1 - alpha) p^gamma log(1 - p)`` at the others.

    Args:
        input: (N, C) logits.
        target: (N,) class of each row; C (or any other value outside the range) is background.
        weight: (C,) factor of the rows of each class, or empty; background rows have factor 1.
        output: filled.
        gamma: focusing exponent.
        alpha: balance of the target class.

    Source: Lin et al., Focal Loss for Dense Object Detection, equation 5.
    """
    (logits,) = _computable(input)
    probability = logits.sigmoid()
    at_target = -alpha * (1 - probability) ** gamma * F.logsigmoid(logits)
    at_others = -(1 - alpha) * probability**gamma * F.logsigmoid(-logits)
    output.copy_(_select_by_target(at_target, at_others, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each loss by its logit into `grad_input` (N, C).

    Args are those of `sigmoid_focal_loss_forward`.
    """
    (logits,) = _computable(input)
    probability = logits.sigmoid()
    at_target = (
        alpha
        * (1 - probability) ** gamma
        * (gamma * probability * F.logsigmoid(logits) - (1 - probability))
    )
    at_others = (
        (1 - alpha)
        * probability**gamma
        * (probability - gamma * (1 - probability) * F.logsigmoid(-logits))
    )
    grad_input.copy_(_select_by_target(at_target, at_others, target, weight))


def _select_by_target(
    at_target: Tensor, at_others: Tensor, target: Tensor, weight: Tensor
) -> Tensor:
    num_classes = at_target.shape[1]
    classes = torch.arange(num_classes, device=target.device)
    selected = torch.where(target[:, None] == classes, at_target, at_others)
    if weight.numel():
        is_class = (target >= 0) & (target < num_classes)
        factor = torch.where(is_class, weight[target.clamp(0, num_classes - 1)], 1)
        selected = selected * factor[:, None]
    return selected


# -------------------------------------------------------------------------- versions


def get_compiler_version() -> str:
    """What `mmcv.utils.collect_env` shows as the compiler of mmcv's ops."""
    return _NO_COMPILER


def get_compiling_cuda_version() -> str:
    """What `mmcv.utils.collect_env` shows as the CUDA version of mmcv's ops."""
    return _NO_COMPILER


SERVED: dict[str, Callable[..., Any]] = {
    op.__name__: op
    for op in (
        nms,
        softnms,
        roi_align_forward,
        roi_align_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        get_compiler_version,
        get_compiling_cuda_version,
    )
}
