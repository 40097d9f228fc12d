"""Pictures for people: overlays with legends, label and id maps as files."""

from __future__ import annotations

from ovseg.visualization.comparison import draw_comparison
from ovseg.visualization.draw import class_shares, draw_overlay
from ovseg.visualization.label_png import save_label_png
from ovseg.visualization.panoptic_png import save_panoptic_png
from ovseg.visualization.segments import draw_segments

__all__ = [
    'class_shares',
    'draw_comparison',
    'draw_overlay',
    'draw_segments',
    'save_label_png',
    'save_panoptic_png',
]
