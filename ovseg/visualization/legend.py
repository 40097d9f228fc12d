"""The legend of an overlay: a panel of class colours, names and area shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from ovseg.visualization.fonts import font_for
from ovseg.visualization.lettering import letter_size, text_width

Color = tuple[int, int, int]

_PANEL = (255, 255, 255)
_INK = (32, 33, 36)
_FAINT = (110, 114, 120)
_LONGEST_NAME_EM = 16
_SHORTEST_NAME_EM = 5
# A panel below the picture has room for so many lines at least, however flat the picture is.
_FEWEST_LINES = 8


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend.

    Attributes:
        name: what is written.
        color: RGB of the swatch, as it looks in the picture; None: not painted in the picture
            (drawn as an empty box).
        share: part of the picture's area, in [0, 1].
        outline: RGB of the swatch's border; by default darker than the swatch.
        shades: RGB of stripes instead of one colour, if there are any.
        ids: what stands behind the name in brackets; a long name is cut, this is not.
    """

    name: str
    color: Color | None
    share: float
    outline: Color | None = None
    shades: tuple[Color, ...] = ()
    ids: str = ''

    @property
    def text(self) -> str:
        """What is written: the name, and the ids behind it."""
        return f'{self.name} ({self.ids})' if self.ids else self.name


@dataclass(frozen=True)
class _Column:
    """Lines that stand below each other, with the widths (pixels) of their names and shares."""

    entries: tuple[LegendEntry, ...]
    name_width: int
    share_width: int


def format_share(share: float) -> str:
    """An area share for people: '42.3 %', '<0.1 %'.

    Example:
        >>> format_share(0.4231), format_share(0.00003), format_share(1.0)
        ('42.3 %', '<0.1 %', '100 %')
    """
    percent = 100 * share
    if 0 < percent < 0.1:
        return '<0.1 %'
    return '100 %' if percent > 99.95 else f'{percent:.1f} %'


def attach_legend(picture: np.ndarray, entries: Sequence[LegendEntry]) -> np.ndarray:
    """The picture with a legend below it, or beside it if it is too narrow for one.

    Below, the letters keep their size when a phone shows the picture as wide as its screen. They
    grow with the shorter side of the picture (:func:`letter_size`). Lines that find no place in a
    few columns are summed up in one: '+N more'.

    Args:
        picture: (H, W, 3) uint8 RGB.
        entries: in the order wanted.

    Returns:
        (H', W', 3) uint8 RGB; the picture stands unchanged in its top left corner.
    """
    if not entries:
        return picture
    height, width = picture.shape[:2]
    size = letter_size(height, width)
    row = round(1.75 * size)
    rows_beside = (height - size) // row
    narrowest = 2 * size + _column_width(_measure(entries, size), size)
    if width < narrowest and rows_beside >= min(len(entries), 6):
        columns = _fill(entries, rows_beside, max(width, 16 * size), size)
        panel = _draw(columns, size, width=None, height=height)
        return np.concatenate([picture, panel], axis=1)
    # As few lines as the width allows, at most as high as the picture or eight lines.
    tallest = max(_FEWEST_LINES, rows_beside)
    for rows in range(1, tallest + 1):
        columns = _fill(entries, rows, width, size)
        if sum(len(column.entries) for column in columns) == len(entries):
            break
    panel = _draw(columns, size, width=width, height=None)
    if panel.shape[1] > width:
        margin = ((0, 0), (0, panel.shape[1] - width), (0, 0))
        picture = np.pad(picture, margin, constant_values=255)
    return np.concatenate([picture, panel], axis=0)


def _fill(entries: Sequence[LegendEntry], rows: int, room: float, size: int) -> list[_Column]:
    """Columns of at most ``rows`` lines within ``room`` pixels (one column at least)."""
    columns: list[_Column] = []
    used = size
    for start in range(0, len(entries), rows):
        column = _measure(entries[start : start + rows], size)
        if columns and used + _column_width(column, size) > room:
            break
        columns.append(column)
        used += _column_width(column, size)
    shown = sum(len(column.entries) for column in columns)
    if shown < len(entries):
        kept = columns[-1].entries[:-1] if shown > 1 else ()
        rest = entries[shown - 1 :] if shown > 1 else entries
        more = LegendEntry(f'+{len(rest)} more', None, sum(entry.share for entry in rest))
        columns[-1] = _measure([*kept, more], size)
    return columns


def _measure(entries: Sequence[LegendEntry], size: int) -> _Column:
    short = tuple(_shortened(entry, size) for entry in entries)
    return _Column(
        short,
        max(text_width(entry.text, size) for entry in short),
        max(text_width(format_share(entry.share), size) for entry in short),
    )


def _column_width(column: _Column, size: int) -> int:
    swatch_and_gaps = 3 * size
    return swatch_and_gaps + column.name_width + column.share_width + size


def _shortened(entry: LegendEntry, size: int) -> LegendEntry:
    """The entry with a name that has room beside its ids, at least a few letters of it."""
    ids = text_width(f' ({entry.ids})', size) if entry.ids else 0
    room = max(_LONGEST_NAME_EM * size - ids, _SHORTEST_NAME_EM * size)
    return replace(entry, name=_shorten(entry.name, room, size))


def _shorten(text: str, room: int, size: int) -> str:
    # No letter is so thin that more of them would fit; names may be of any length.
    text = ' '.join(text.split())[: 10 * _LONGEST_NAME_EM]
    if text_width(text, size) <= room:
        return text
    while text and text_width(text + '…', size) > room:
        text = text[:-1]
    return text.rstrip() + '…'


def _draw(
    columns: Sequence[_Column], size: int, width: int | None, height: int | None
) -> np.ndarray:
    """The panel (h, w, 3) uint8 RGB; ``width``, ``height``: at least so large."""
    row = round(1.75 * size)
    rows = max(len(column.entries) for column in columns)
    panel_width = size + sum(_column_width(column, size) for column in columns)
    panel_height = size + rows * row
    panel = Image.new('RGB', (max(panel_width, width or 0), max(panel_height, height or 0)), _PANEL)
    pen = ImageDraw.Draw(panel)
    left = size
    for column in columns:
        name_left = left + round(1.6 * size)
        share_right = name_left + column.name_width + size + column.share_width
        for line, entry in enumerate(column.entries):
            middle = size // 2 + line * row + row // 2
            _draw_swatch(pen, left, middle, size, entry)
            font = font_for(entry.text, size)
            pen.text((name_left, middle), entry.text, fill=_INK, font=font, anchor='lm')
            share = format_share(entry.share)
            font = font_for(share, size)
            pen.text((share_right, middle), share, fill=_FAINT, font=font, anchor='rm')
        left += _column_width(column, size)
    return np.asarray(panel)


def _draw_swatch(
    pen: ImageDraw.ImageDraw, left: int, middle: int, size: int, entry: LegendEntry
) -> None:
    line = max(1, size // 10)
    box = (left, middle - size // 2, left + size, middle - size // 2 + size)
    if entry.color is None:
        pen.rounded_rectangle(box, radius=size // 5, fill=_PANEL, outline=_FAINT, width=line)
        if not entry.name.startswith('+'):
            inset = size // 4
            pen.line((box[0] + inset, box[3] - inset, box[2] - inset, box[1] + inset), _FAINT, line)
        return
    outline = entry.outline or _darker(entry.color)
    pen.rounded_rectangle(box, radius=size // 5, fill=entry.color, outline=outline, width=line)
    stripes = len(entry.shades)
    for number, shade in enumerate(entry.shades):
        # Stripes from left to right, within the border.
        first = box[0] + line + number * (size - 2 * line) // stripes
        last = box[0] + line + (number + 1) * (size - 2 * line) // stripes
        pen.rectangle((first, box[1] + line, last, box[3] - line), fill=shade)


def _darker(color: Color) -> Color:
    """Sets light colours off from the white panel."""
    red, green, blue = (int(0.75 * channel) for channel in color)
    return red, green, blue
