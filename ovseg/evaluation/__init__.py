"""Evaluation: pixel counts, the scores made of them, and the protocol that gives them a meaning."""

from ovseg.evaluation.areas import Areas, confusion_matrix, count_areas, summarise
from ovseg.evaluation.average_precision import AveragePrecisionReport
from ovseg.evaluation.boundary import BoundaryIoUMetric, boundary_counts, boundary_region
from ovseg.evaluation.iou import IoUReport, OVIoUMetric
from ovseg.evaluation.mask_ap import MaskAPMetric
from ovseg.evaluation.panoptic import PanopticQualityMetric, PanopticReport
from ovseg.evaluation.protocol import EvaluationProtocol

__all__ = [
    'Areas',
    'AveragePrecisionReport',
    'BoundaryIoUMetric',
    'EvaluationProtocol',
    'IoUReport',
    'MaskAPMetric',
    'OVIoUMetric',
    'PanopticQualityMetric',
    'PanopticReport',
    'boundary_counts',
    'boundary_region',
    'confusion_matrix',
    'count_areas',
    'summarise',
]
