"""What was found in an image and in many, as a table for people and as lines for programs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ovseg.apis.results import SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.tables import text_table
from ovseg.visualization.legend import format_share

Result: TypeAlias = SegmentationResult | SegmentsResult

NO_SEGMENT = 'no segment found: a smaller --threshold lets more masks compete'


@dataclass(frozen=True)
class Found:
    """What was found in one image.

    Attributes:
        shares: per class name, its part of the image's area, in [0, 1]; the classes present alone.
        segments: per class name, how many segments it has; empty where none were asked for.
    """

    shares: Mapping[str, float]
    segments: Mapping[str, int]

    @classmethod
    def in_result(cls, result: Result) -> Found:
        """What a result says."""
        shares = {area.name: area.share for area in result.areas()}
        if isinstance(result, SegmentationResult):
            return cls(shares, {})
        return cls(shares, Counter(result.names[segment.label] for segment in result.segments))


def found_line(image: str, found: Found, files: Mapping[str, Path]) -> str:
    """One line of JSON about an image.

    Args:
        image: its name.
        found: in it.
        files: that were written, by kind.
    """
    content = {
        'image': image,
        'files': {kind: str(path) for kind, path in files.items()},
        'classes': dict(found.shares),
        **({'segments': dict(found.segments)} if found.segments else {}),
    }
    return json.dumps(content)


def failed_line(image: str, reason: str) -> str:
    """One line of JSON about an image that could not be segmented.

    Args:
        image: its name.
        reason: why.
    """
    return json.dumps({'image': image, 'error': reason})


@dataclass
class FolderSummary:
    """What was found over many images.

    Attributes:
        task: what was asked.
        tried: how many images were taken up.
        images: how many of them were segmented.
        seen_in: per class name, in how many of them it is.
        segments: per class name, how many segments it has in all.
        areas: per class name, the sum of its area shares.
        failures: a line for each image that could not be segmented; the first ones alone, where
            there is a file of them.
        failed: how many could not be segmented.
        most_told: how many lines are kept; None for all.
        untried: how many images were left when the disk took no more.
    """

    task: str = 'semantic'
    tried: int = 0
    images: int = 0
    seen_in: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    areas: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    untried: int = 0
    most_told: int | None = None

    def add(self, found: Found) -> None:
        """Count one image."""
        self.images += 1
        self.seen_in.update(found.shares.keys())
        self.segments.update(found.segments)
        for name, share in found.shares.items():
            self.areas[name] += share

    def fail(self, line: str) -> None:
        """Count an image that could not be segmented.

        Args:
            line: its name and why.
        """
        self.failed += 1
        if self.most_told is None or len(self.failures) < self.most_told:
            self.failures.append(line)

    def table(self) -> str:
        """Per class: in how many images, how many segments, mean share of all images' area."""
        counts_segments = self.task != 'semantic'
        if counts_segments and not self.segments:
            return NO_SEGMENT
        header = ('class', 'images', *(['segments'] * counts_segments), 'mean area')
        rows = [
            (
                name,
                str(self.seen_in[name]),
                *([str(self.segments[name])] * counts_segments),
                format_share(total / self.images),
            )
            for name, total in sorted(self.areas.items(), key=lambda item: -item[1])
        ]
        return text_table(header, rows)
