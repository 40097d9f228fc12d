"""Evaluation: pixel counts, the scores made of them, and the protocol that gives them a meaning."""

from ovseg.evaluation.anomaly import AnomalyMetric, AnomalyReport
from ovseg.evaluation.areas import Areas, confusion_matrix, count_areas, summarise
from ovseg.evaluation.average_precision import AveragePrecisionReport
from ovseg.evaluation.boundary import BoundaryIoUMetric, boundary_counts, boundary_region
from ovseg.evaluation.doubt import CalibrationError, DoubtCounts
from ovseg.evaluation.iou import IoUReport, OVIoUMetric
from ovseg.evaluation.mask_ap import MaskAPMetric
from ovseg.evaluation.none_of_these import none_scores, open_miou, similarity_of_groups
from ovseg.evaluation.panoptic import PanopticQualityMetric, PanopticReport
from ovseg.evaluation.protocol import EvaluationProtocol

__all__ = [
    'AnomalyMetric',
    'AnomalyReport',
    'Areas',
    'AveragePrecisionReport',
    'BoundaryIoUMetric',
    'CalibrationError',
    'DoubtCounts',
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
    'none_scores',
    'open_miou',
    'similarity_of_groups',
    'summarise',
]
