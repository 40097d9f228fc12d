"""A suite's findings as one JSON file and one page with curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovseg.files import write_beside, written_whole

_WORDS = ('variant', 'classes', 'mIoU_present', 'mIoU', 'zero_iou_share', 'open_mIoU')
_NONE = ('auroc', 'fpr95', 'none_IoU', 'known_mIoU', 'harmonic')
_COST = ('classes', 'words_seconds', 'encoder_seconds_an_image', 'classes_seconds_an_image')


def write_report(folder: str | Path, content: dict[str, Any]) -> list[Path]:
    """Write ``suite_NAME.json``, ``suite_NAME.md`` and ``suite_NAME.png``.

    Args:
        folder: that is there.
        content: with ``suite``, its name; ``result`` of the suite; ``protocol``, facts by name.

    Returns:
        The files written.
    """
    name = content['suite']
    stem = Path(folder) / f'suite_{name}'
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    paths = [write_beside(stem.with_suffix('.json'), text + '\n')]
    picture = stem.with_suffix('.png')
    with written_whole(picture) as temporary, temporary.open('wb') as file:
        _PICTURES[name](content['result']).savefig(file, format='png', dpi=110)
    page = [
        f'# Suite {name}',
        '',
        *(f'- {key}: {value}' for key, value in content['protocol'].items()),
        '',
        *summary_lines(name, content['result']),
        '',
        f'![curves]({picture.name})',
        '',
    ]
    return [*paths, write_beside(stem.with_suffix('.md'), '\n'.join(page)), picture]


def summary_lines(name: str, result: dict[str, Any]) -> list[str]:
    """The table of a suite and what stands below it, as Markdown.

    Args:
        name: of the suite.
        result: its findings.
    """
    if name == 'words':
        means = ', '.join(f'{key} {result[key]:.1f}' for key in _MEANS)
        left = [f'- left out: {text}' for text in result['left_out']]
        table = _table((*_WORDS, 'distractor_share'), result['variants'])
        return [*table, '', f'mIoU_present: {means}', *left]
    if name == 'none':
        rows = [{'rule': rule, **means} for rule, means in result['mean'].items()]
        errors = (
            f'ECE {_shown(result["ece"])} %, with fitted scale {_shown(result["ece_fitted"])} %'
        )
        return [*_table(('rule', *_NONE), rows), '', errors]
    return _table((*_COST, 'share_of_the_encoder', 'mIoU_present'), result['rows'])


_MEANS = ('official', 'robust', 'worst', 'drop')


def _table(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [f'| {" | ".join(names)} |', f'|{"---|" * len(names)}']
    return lines + [f'| {" | ".join(_shown(row[name]) for name in names)} |' for row in rows]


def _shown(value: Any) -> str:
    if value is None:
        return '-'
    if not isinstance(value, float):
        return str(value)
    return f'{value:.1f}' if abs(value) >= 1 else f'{value:.4f}'


def _axes(*labels: tuple[str, str]) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # no window, no global state

    figure = Figure(figsize=(5.5 * len(labels), 4), layout='constrained')
    axes = [figure.add_subplot(1, len(labels), place + 1) for place in range(len(labels))]
    for each, (across, up) in zip(axes, labels, strict=True):
        each.set_xlabel(across)
        each.set_ylabel(up)
        each.grid(alpha=0.3)
    return figure, axes


def _draw_words(result: dict[str, Any]) -> Any:
    figure, (axes,) = _axes(('mIoU_present', ''))
    rows = result['variants'][::-1]
    axes.barh([row['variant'] for row in rows], [row['mIoU_present'] or 0 for row in rows])
    return figure


def _draw_none(result: dict[str, Any]) -> Any:
    figure, axes = _axes(('coverage', 'risk'), ('coverage', 'none of these found'))
    seen: set[str] = set()
    for row in result['rounds']:
        points, rule = row['curve'], row['rule']
        color = f'C{list(result["mean"]).index(rule)}'
        label = None if rule in seen else rule
        seen.add(rule)
        across = [point['coverage'] for point in points]
        for each, name in zip(axes, ('risk', 'none_found'), strict=True):
            up = [float('nan') if point[name] is None else point[name] for point in points]
            each.plot(across, up, color=color, label=label, alpha=0.8)
    axes[0].legend()
    return figure


def _draw_cost(result: dict[str, Any]) -> Any:
    figure, axes = _axes(('classes', 'seconds an image'), ('classes', 'mIoU_present'))
    classes = [row['classes'] for row in result['rows']]
    for name in ('encoder_seconds_an_image', 'classes_seconds_an_image'):
        label = name.removesuffix('_seconds_an_image')
        axes[0].plot(classes, [row[name] for row in result['rows']], 'o-', label=label)
    axes[0].set_ylim(bottom=0)
    axes[0].legend()
    axes[1].plot(classes, [row['mIoU_present'] for row in result['rows']], 'o-')
    return figure


_PICTURES = {'words': _draw_words, 'none': _draw_none, 'cost': _draw_cost}
