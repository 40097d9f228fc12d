"""A suite's findings as one JSON file and one page with curves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
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
    return _SUMMARIES[name](result)


def _words_lines(result: dict[str, Any]) -> list[str]:
    means = ', '.join(f'{key} {result[key]:.1f}' for key in _MEANS)
    left = [f'- left out: {text}' for text in result['left_out']]
    table = _table((*_WORDS, 'distractor_share'), result['variants'])
    return [*table, '', f'mIoU_present: {means}', *left]


def _none_lines(result: dict[str, Any]) -> list[str]:
    rows = [{'rule': rule, **means} for rule, means in result['mean'].items()]
    errors = f'ECE {_shown(result["ece"])} %, with fitted scale {_shown(result["ece_fitted"])} %'
    return [*_table(('rule', *_NONE), rows), '', errors]


def _cost_lines(result: dict[str, Any]) -> list[str]:
    return _table((*_COST, 'share_of_the_encoder', 'mIoU_present'), result['rows'])


def _fewshot_lines(result: dict[str, Any]) -> list[str]:
    rows = [
        {
            **row,
            'mIoU': f'{_shown(row["mIoU"])} ± {_shown(row["mIoU_std"])}',
            'apart': _shown(row['mIoU_apart']),
            'others': _shown(row['mIoU_others']),
        }
        for row in result['rows']
    ]
    names = ('support', 'images', 'rule', 'mIoU', 'apart', 'others', 'zero_iou_share')
    told = [
        f'{result["draws"]} draws. apart: with all, the mean of all; with half, classes with '
        'examples; with half without words, classes whose words count. others: the rest.',
    ]
    if result['lacking']:
        few = ', '.join(f'{name} {count}' for name, count in result['lacking'].items())
        told.append(f'fewer images than asked for: {few}')
    return [*_table(names, rows), '', *told]


def _episodes_lines(result: dict[str, Any]) -> list[str]:
    folds = [f'fold {place}' for place in range(len(result['novel']))]
    rows = [{**row, **dict(zip(folds, row['mIoU_folds'], strict=True))} for row in result['rows']]
    names = ('rule', 'images', 'mIoU', 'mIoU_std', 'FB_IoU')
    few = folds if len(folds) <= _MOST_FOLDS else []
    asked = sum(sum(draw) for draw in result['episodes'])
    told = f'{asked} episodes, examples {result["support"]}; base classes: {result["base"]}'
    return [*_table((*names, *few), rows), '', told]


def _single_lines(result: dict[str, Any]) -> list[str]:
    return _table(('contrast', 'words', 'IoU_single'), result['rows'])


_SUMMARIES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    'words': _words_lines,
    'none': _none_lines,
    'cost': _cost_lines,
    'fewshot': _fewshot_lines,
    'episodes': _episodes_lines,
    'single': _single_lines,
}
_MOST_FOLDS = 8
_MEANS = ('official', 'robust', 'worst', 'drop')


def _table(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [f'| {" | ".join(names)} |', f'|{"---|" * len(names)}']
    digits = {name: 4 if 'seconds' in name else 1 for name in names}
    shown = [[_shown(row[name], digits[name]) for name in names] for row in rows]
    return lines + [f'| {" | ".join(cells)} |' for cells in shown]


def _shown(value: Any, digits: int = 1) -> str:
    if value is None:
        return '-'
    return f'{value:.{digits}f}' if isinstance(value, float) else str(value)


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


def _draw_fewshot(result: dict[str, Any]) -> Any:
    panels = [('all', 'mIoU'), ('half', 'mIoU_apart'), ('half', 'mIoU_others')]
    titles = ('all have examples', 'half: those with', 'half: those without')
    figure, axes = _axes(*[('images a class', 'mIoU')] * len(panels))
    rules = [row['rule'] for row in result['rows'] if row['images']]
    for each, title, (support, name) in zip(axes, titles, panels, strict=True):
        each.set_title(title)
        rows = [row for row in result['rows'] if row['support'] == support]
        start = next(row for row in rows if not row['images'])
        for rule in dict.fromkeys(rules):
            own = [start, *(row for row in rows if row['rule'] == rule)]
            each.errorbar(
                range(len(own)),
                [_or_nan(row[name]) for row in own],
                [_or_nan(row[f'{name}_std']) for row in own],
                label=rule,
                marker='o',
                capsize=2,
            )
        each.set_xticks(range(len(own)), [str(row['images']) for row in own])
    axes[0].legend()
    return figure


def _draw_episodes(result: dict[str, Any]) -> Any:
    figure, (axes,) = _axes(('mIoU', ''))
    rows = result['rows'][::-1]
    names = [f'{row["rule"]} {row["images"]}' for row in rows]
    errors = [_or_nan(row['mIoU_std']) for row in rows]
    axes.barh(names, [_or_nan(row['mIoU']) for row in rows], xerr=errors)
    return figure


def _draw_single(result: dict[str, Any]) -> Any:
    figure, (axes,) = _axes(('', 'IoU'))
    width = 1 / (len(result['rows']) + 1)
    for place, row in enumerate(result['rows']):
        names, values = list(row['classes']), row['classes'].values()
        across = [number + width * place for number in range(len(names))]
        axes.bar(across, [_or_nan(value) for value in values], width, label=row['contrast'])
    if len(names) <= _MOST_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90)
    axes.legend()
    return figure


def _or_nan(value: float | None) -> float:
    return float('nan') if value is None else value


_MOST_NAMES = 40
_PICTURES: dict[str, Callable[[dict[str, Any]], Any]] = {
    'words': _draw_words,
    'none': _draw_none,
    'cost': _draw_cost,
    'fewshot': _draw_fewshot,
    'episodes': _draw_episodes,
    'single': _draw_single,
}
