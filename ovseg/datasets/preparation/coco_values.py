"""What the values in COCO-Stuff's pixel maps mean."""

from __future__ import annotations

# COCO-Stuff's pixel maps hold category id - 1. Of the ids 1 to 182 these were never annotated.
# Source: Caesar et al., "COCO-Stuff", labels.txt of nightrome/cocostuff.
_UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
UNLABELLED = 255
PIXEL_VALUES = tuple(number - 1 for number in range(1, 183) if number not in _UNUSED_IDS)
NUM_THINGS = 80
