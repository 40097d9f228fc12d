"""Each served op against plain loops written here, called the way mmcv calls its extension."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg.compat import mmcv_ops

DEVICES = [
    'cpu',
    pytest.param(
        'cuda',
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
        ],
    ),
]
on_devices = pytest.mark.parametrize('device', DEVICES)


def random_boxes(count: int, seed: int, size: float = 30.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * size
    return torch.cat([corners, corners + torch.rand(count, 2, generator=generator) * size], dim=1)


def random_scores(count: int, seed: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed + 1000))


def overlap(a: list[float], b: list[float], offset: int) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset)
    area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset)
    return width * height / (area_a + area_b - width * height)


# ---------------------------------------------------------------------------- NMS


def plain_nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i].item()):
        if all(
            overlap(boxes[index].tolist(), boxes[k].tolist(), offset) <= threshold for k in kept
        ):
            kept.append(index)
    return kept


@on_devices
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.2, 0.5])
def test_nms_keeps_what_plain_loops_keep(device, offset, threshold):
    boxes, scores = random_boxes(80, 0), random_scores(80, 0)
    kept = mmcv_ops.nms(boxes.to(device), scores.to(device), iou_threshold=threshold, offset=offset)
    expected = plain_nms(boxes, scores, threshold, offset)
    assert kept.tolist() == expected
    assert 1 < len(expected) < 80
    assert kept.device.type == device


def test_nms_offset_decides_at_the_edge():
    # Two 2x2-pixel boxes that share a row: with offset 0 they overlap by 0, with 1 by 1/3.
    boxes, scores = torch.tensor([[0.0, 0, 1, 1], [0, 1, 1, 2]]), torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, iou_threshold=0.3, offset=0).tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, iou_threshold=0.3, offset=1).tolist() == [0]


def test_nms_of_no_boxes_is_empty():
    kept = mmcv_ops.nms(torch.zeros(0, 4), torch.zeros(0), iou_threshold=0.5, offset=0)
    assert kept.tolist() == [] and kept.dtype == torch.long


@on_devices
def test_nms_takes_half_boxes_with_float_scores(device):
    boxes, scores = random_boxes(40, 3).half(), random_scores(40, 3)
    kept = mmcv_ops.nms(boxes.to(device), scores.to(device), iou_threshold=0.5, offset=0)
    assert kept.tolist() == plain_nms(boxes.float(), scores, 0.5, 0)


def plain_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    left = {i: scores[i].item() for i in range(len(boxes))}
    picked = []
    while left:
        best = max(left, key=left.get)
        picked.append((best, left.pop(best)))
        for other in list(left):
            iou = overlap(boxes[best].tolist(), boxes[other].tolist(), offset)
            if method == 2:
                left[other] *= math.exp(-(iou**2) / sigma)
            elif iou >= threshold:
                left[other] *= 1 - iou if method == 1 else 0
            if left[other] < min_score:
                del left[other]
    return picked


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', [0, 1, 2], ids=['naive', 'linear', 'gaussian'])
def test_soft_nms_is_that_of_plain_loops(method, offset):
    boxes, scores = random_boxes(50, 1), random_scores(50, 1)
    given = scores.clone()
    dets = boxes.new_full((50, 5), -1.0)
    settings = dict(iou_threshold=0.3, sigma=0.5, min_score=0.05, method=method, offset=offset)
    kept = mmcv_ops.softnms(boxes, given, dets, **settings)
    expected = plain_soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert kept.tolist() == [index for index, _ in expected]
    assert 1 < len(expected) < 50
    torch.testing.assert_close(dets[: len(kept), :4], boxes[kept])
    torch.testing.assert_close(dets[: len(kept), 4], torch.tensor([s for _, s in expected]))
    assert (dets[len(kept) :] == -1).all()
    assert torch.equal(given, scores)


def test_soft_nms_through_mmcv():
    from mmcv.ops import soft_nms

    boxes, scores = random_boxes(30, 2), random_scores(30, 2)
    dets, kept = soft_nms(boxes, scores, iou_threshold=0.3, min_score=0.1, method='linear')
    expected = plain_soft_nms(boxes, scores, 0.3, 0.5, 0.1, 1, 0)
    assert kept.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([s for _, s in expected]))


# ----------------------------------------------------------------------- RoIAlign


def bilinear(image: Tensor, y: float, x: float) -> Tensor:
    """(C,) value of an image (C, H, W) at a point; 0 further than one pixel outside."""
    _, height, width = image.shape
    if not (-1.0 <= y <= height and -1.0 <= x <= width):
        return image[:, 0, 0] * 0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy, dx = y - y0, x - x0
    top = image[:, y0, x0] * (1 - dx) + image[:, y0, x1] * dx
    bottom = image[:, y1, x0] * (1 - dx) + image[:, y1, x1] * dx
    return top * (1 - dy) + bottom * dy


def plain_roi_align(features, rois, height, width, scale, ratio, aligned) -> Tensor:
    pooled = []
    for image_index, *box in rois.tolist():
        shift = 0.5 if aligned else 0.0
        x1, y1, x2, y2 = (side * scale - shift for side in box)
        box_width, box_height = x2 - x1, y2 - y1
        if not aligned:
            box_width, box_height = max(box_width, 1.0), max(box_height, 1.0)
        bin_height, bin_width = box_height / height, box_width / width
        rows = ratio or math.ceil(bin_height)
        columns = ratio or math.ceil(bin_width)
        for i in range(height):
            for j in range(width):
                samples = [
                    bilinear(
                        features[int(image_index)],
                        y1 + (i + (r + 0.5) / rows) * bin_height,
                        x1 + (j + (c + 0.5) / columns) * bin_width,
                    )
                    for r in range(rows)
                    for c in range(columns)
                ]
                pooled.append(sum(samples) / (rows * columns))
    return torch.stack(pooled).reshape(len(rois), height, width, -1).permute(0, 3, 1, 2)


FEATURES = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
ROIS = torch.tensor(
    [[0, 2.0, 3.0, 17.0, 21.0], [1, -3.5, 1.0, 9.0, 30.0], [1, 11.0, 12.0, 12.0, 12.5]],
    dtype=torch.float64,
)
POOLING = dict(aligned_height=2, aligned_width=3, spatial_scale=0.25, pool_mode=1)


def align(features: Tensor, rois: Tensor, ratio: int, aligned: bool) -> Tensor:
    output = features.new_zeros(len(rois), features.shape[1], 2, 3)
    empty = features.new_zeros(0)
    mmcv_ops.roi_align_forward(
        features, rois, output, empty, empty, sampling_ratio=ratio, aligned=aligned, **POOLING
    )
    return output


@on_devices
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align_forward_and_backward_are_those_of_plain_loops(device, ratio, aligned):
    features = FEATURES.clone().requires_grad_()
    expected = plain_roi_align(features, ROIS, 2, 3, 0.25, ratio, aligned)
    output = align(FEATURES.to(device), ROIS.to(device), ratio, aligned)
    assert output.device.type == device
    torch.testing.assert_close(output.cpu(), expected.detach())

    grad_output = torch.randn(expected.shape, generator=torch.Generator().manual_seed(6)).double()
    expected.backward(grad_output)
    grad_features = torch.zeros_like(FEATURES, device=device)
    empty = grad_features.new_zeros(0)
    mmcv_ops.roi_align_backward(
        grad_output.to(device),
        ROIS.to(device),
        empty,
        empty,
        grad_features,
        sampling_ratio=ratio,
        aligned=aligned,
        **POOLING,
    )
    torch.testing.assert_close(grad_features.cpu(), features.grad)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@on_devices
def test_roi_align_keeps_half_features(device, dtype):
    features = FEATURES.to(device, dtype)
    output = align(features, ROIS.to(device, torch.float32), 2, True)
    assert output.dtype == dtype
    expected = align(features.double(), ROIS.to(device), 2, True)
    torch.testing.assert_close(output.double(), expected, rtol=1e-2, atol=1e-2)


def test_roi_align_through_mmcv_under_autocast_has_a_gradient():
    from mmcv.ops import RoIAlign

    features = FEATURES.bfloat16().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        pooled = RoIAlign((2, 3), 0.25, 2)(features, ROIS.bfloat16())
    pooled.sum().backward()
    assert pooled.dtype == torch.bfloat16
    assert features.grad.dtype == torch.bfloat16 and features.grad.any()


def test_roi_align_of_no_boxes_is_empty():
    assert align(FEATURES, ROIS[:0], 0, True).shape == (0, 3, 2, 3)


def test_roi_align_refuses_maximum_pooling_when_called():
    from mmcv.ops import RoIAlign

    layer = RoIAlign((2, 3), 0.25, 2, pool_mode='max')
    with pytest.raises(RuntimeError, match="'roi_align with pool_mode='max'' is not available"):
        layer(FEATURES, ROIS)


# ----------------------------------------------- multi-scale deformable attention

SHAPES = torch.tensor([[4, 5], [2, 3]])
STARTS = torch.tensor([0, 20])


def deformable_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    value = torch.randn(2, 26, 2, 3, generator=generator, dtype=torch.float64)
    # Some of the places lie outside of the maps.
    places = torch.rand(2, 4, 2, 2, 2, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(2, 4, 2, 2, 2, generator=generator, dtype=torch.float64)
    return value, places, weights


def plain_deformable_attention(value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    batch, queries, heads, levels, points, _ = places.shape
    rows = []
    for b in range(batch):
        for q in range(queries):
            for head in range(heads):
                total = torch.zeros(value.shape[-1], dtype=value.dtype)
                for level in range(levels):
                    height, width = SHAPES[level].tolist()
                    for point in range(points):
                        place = places[b, q, head, level, point]
                        x, y = place[0] * width - 0.5, place[1] * height - 0.5
                        above, left = math.floor(y.item()), math.floor(x.item())
                        for row in (above, above + 1):
                            for column in (left, left + 1):
                                if 0 <= row < height and 0 <= column < width:
                                    share = (1 - (x - column).abs()) * (1 - (y - row).abs())
                                    pixel = int(STARTS[level]) + row * width + column
                                    weight = weights[b, q, head, level, point]
                                    total = total + weight * share * value[b, pixel, head]
                rows.append(total)
    return torch.stack(rows).reshape(batch, queries, -1)


@on_devices
def test_deformable_attention_forward_and_backward_are_those_of_plain_loops(device):
    inputs = [tensor.requires_grad_() for tensor in deformable_inputs()]
    expected = plain_deformable_attention(*inputs)
    value, places, weights = (tensor.detach().to(device) for tensor in inputs)
    shapes, starts = SHAPES.to(device), STARTS.to(device)
    output = mmcv_ops.ms_deform_attn_forward(value, shapes, starts, places, weights, im2col_step=64)
    torch.testing.assert_close(output.cpu(), expected.detach())

    grad_output = torch.randn(expected.shape, generator=torch.Generator().manual_seed(8)).double()
    expected.backward(grad_output)
    gradients = [torch.zeros_like(tensor) for tensor in (value, places, weights)]
    mmcv_ops.ms_deform_attn_backward(
        value,
        shapes,
        starts,
        places,
        weights,
        grad_output.to(device),
        *gradients,
        im2col_step=64,
    )
    for gradient, tensor in zip(gradients, inputs, strict=True):
        torch.testing.assert_close(gradient.cpu(), tensor.grad)


@on_devices
def test_deformable_attention_through_mmcv_with_half_values_and_float_places(device):
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    value, places, weights = (tensor.to(device) for tensor in deformable_inputs())
    half = value.half().requires_grad_()
    output = MultiScaleDeformableAttnFunction.apply(
        half, SHAPES.to(device), STARTS.to(device), places.float(), weights.float(), 64
    )
    output.sum().backward()
    assert output.dtype == half.grad.dtype == torch.float16
    expected = plain_deformable_attention(*deformable_inputs())
    torch.testing.assert_close(output.detach().cpu().double(), expected, rtol=2e-2, atol=2e-2)


# --------------------------------------------------------------------- focal loss

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64) * 3
TARGET = torch.tensor([0, 3, 4, 1, 2, 4])  # 4 is background
CLASS_WEIGHT = torch.tensor([0.5, 1.5, 2.0, 3.0], dtype=torch.float64)


def plain_focal_loss(logits, target, weight, gamma, alpha) -> Tensor:
    rows = []
    for n in range(logits.shape[0]):
        for c in range(logits.shape[1]):
            p = 1 / (1 + torch.exp(-logits[n, c]))
            if target[n] == c:
                loss = -alpha * (1 - p) ** gamma * torch.log(p)
            else:
                loss = -(1 - alpha) * p**gamma * torch.log(1 - p)
            if len(weight) and target[n] < logits.shape[1]:
                loss = loss * weight[target[n]]
            rows.append(loss)
    return torch.stack(rows).reshape(logits.shape)


@on_devices
@pytest.mark.parametrize('weight', [CLASS_WEIGHT, CLASS_WEIGHT[:0]], ids=['weighted', 'plain'])
@pytest.mark.parametrize('gamma', [0.0, 2.0])
def test_focal_loss_forward_and_backward_are_the_formula(device, gamma, weight):
    logits = LOGITS.clone().requires_grad_()
    expected = plain_focal_loss(logits, TARGET, weight, gamma, 0.25)
    expected.sum().backward()
    inputs = [tensor.to(device) for tensor in (LOGITS, TARGET, weight)]
    output, gradient = (torch.zeros_like(inputs[0]) for _ in range(2))
    mmcv_ops.sigmoid_focal_loss_forward(*inputs, output, gamma=gamma, alpha=0.25)
    mmcv_ops.sigmoid_focal_loss_backward(*inputs, gradient, gamma=gamma, alpha=0.25)
    torch.testing.assert_close(output.cpu(), expected.detach())
    torch.testing.assert_close(gradient.cpu(), logits.grad)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_focal_loss_through_mmcv(reduction):
    from mmcv.ops import sigmoid_focal_loss

    ours, reference = (LOGITS.clone().requires_grad_() for _ in range(2))
    loss = sigmoid_focal_loss(ours, TARGET, 2.0, 0.25, None, reduction)
    expected = plain_focal_loss(reference, TARGET, CLASS_WEIGHT[:0], 2.0, 0.25).sum()
    expected = expected / len(TARGET) if reduction == 'mean' else expected
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, reference.grad)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_focal_loss_of_certain_logits_is_finite(dtype):
    logits = torch.tensor([[200.0, -200.0]], dtype=dtype)
    for target in (0, 1):
        output, gradient = torch.zeros_like(logits), torch.zeros_like(logits)
        inputs = (logits, torch.tensor([target]), logits.new_zeros(0))
        mmcv_ops.sigmoid_focal_loss_forward(*inputs, output, gamma=2.0, alpha=0.25)
        mmcv_ops.sigmoid_focal_loss_backward(*inputs, gradient, gamma=2.0, alpha=0.25)
        wrong = 0.0 if target == 0 else 200.0
        expected = torch.tensor([[0.75 * wrong, 0.25 * wrong]], dtype=dtype)
        torch.testing.assert_close(output, expected)
        slope = 0.0 if target == 0 else 1.0
        expected_slope = torch.tensor([[0.75 * slope, -0.25 * slope]], dtype=dtype)
        torch.testing.assert_close(gradient, expected_slope)
    assert F.logsigmoid(logits.float()).isfinite().all()
