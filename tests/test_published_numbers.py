"""A published number is typed once, in a metafile; pages that show it agree with that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from scripts import ROOT

from ovseg.zoo import list_models
from ovseg.zoo.entry import DATA_SETS

METHODS = sorted(path.parent.name for path in (ROOT / 'configs').glob('*/metafile.yaml'))
PAGES = sorted((ROOT / 'configs').glob('*/*.md'))
# What columns of tables call the data sets of metafiles.
COLUMNS = {
    **{name.removeprefix('PASCAL '): name for name in DATA_SETS},
    'COCO-Stuff': 'COCO-Stuff-164k',
    'ADE20K-150': 'ADE20K',
}
MEASURED = {
    'mIoU': 'mIoU (measured)',
    'mIoU published': 'mIoU (published, not reproduced here)',
    'with `--tta`, published': 'mIoU(ms+flip) (published, not reproduced here)',
    'box AP published': 'box AP (published, not reproduced here)',
    'mask AP published': 'mask AP (published, not reproduced here)',
}


def models_of(method: str) -> dict[str, list[dict]]:
    text = (ROOT / 'configs' / method / 'metafile.yaml').read_text(encoding='utf-8')
    return {model['Name']: model.get('Results', []) for model in yaml.safe_load(text)['Models']}


ALL = {name: results for method in METHODS for name, results in models_of(method).items()}


def tables(path: Path) -> Iterator[list[list[str]]]:
    """The tables of a page, the header first, as cells without emphasis."""
    rows: list[list[str]] = []
    for line in [*path.read_text(encoding='utf-8').splitlines(), '']:
        if line.startswith('|'):
            cells = [cell.strip().replace('**', '') for cell in line.strip().strip('|').split('|')]
            if not set(line) <= set('|-: '):
                rows.append(cells)
        elif rows:
            yield rows
            rows = []


def number(cell: str) -> float | None:
    """The number of a cell that is one, a footnote's mark aside."""
    found = re.fullmatch(r'(\d+\.\d+)\*?', cell)
    return float(found[1]) if found else None


@pytest.mark.parametrize('method', METHODS)
def test_a_metafile_names_a_model_once(method):
    text = (ROOT / 'configs' / method / 'metafile.yaml').read_text(encoding='utf-8')
    names = [model['Name'] for model in yaml.safe_load(text)['Models']]
    assert len(names) == len(set(names))


@pytest.mark.parametrize('path', PAGES, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_numbers_of_a_methods_page_stand_in_a_metafile(path):
    known: dict[str, set[float]] = {}
    for results in (
        ALL if path.parent.name == 'clip_dinoiser' else models_of(path.parent.name)
    ).values():
        for result in results:
            known.setdefault(result['Dataset'], set()).update(result['Metrics'].values())
    for header, *rows in tables(path):
        columns = [COLUMNS.get(re.sub(r' \(.*', '', name)) for name in header]
        for row in rows:
            for column, cell in zip(columns, row, strict=True):
                if column and number(cell) is not None:
                    assert number(cell) in known[column], (row[0], column)


@pytest.mark.parametrize(
    'path',
    [*PAGES, ROOT / 'docs' / 'scenes.md'],
    ids=lambda path: f'{path.parent.name}/{path.stem}',
)
def test_a_row_that_is_a_config_shows_the_number_of_its_metafile(path):
    for header, *rows in tables(path):
        for row in rows:
            named = re.fullmatch(r'`(?:\w+/)?([\w.-]+)`(?: \(without words\))?', row[0])
            for column, cell in zip(header, row, strict=True):
                if named and column in MEASURED and number(cell) is not None:
                    metrics = [result['Metrics'] for result in ALL[named[1]]]
                    shown = {
                        metric[MEASURED[column]] for metric in metrics if MEASURED[column] in metric
                    }
                    assert number(cell) in shown, (named[1], column)


def test_the_page_of_models_has_the_zoos_numbers():
    entries = {entry.name: entry for entry in list_models()}
    order = ('voc20', 'context59', 'coco_stuff164k')
    (table,) = (found for found in tables(ROOT / 'docs' / 'models.md') if found[0][0] == 'name')
    shown = 0
    for names, _, numbers, _ in table[1:]:
        triples = re.findall(r'([\d.]+|-) / ([\d.]+|-) / ([\d.]+|-)', numbers)
        for name, triple in zip(re.findall(r'`([\w.-]+)`', names), triples, strict=False):
            published = entries[name].published
            wanted = [published.get(key) for key in order]
            assert [number(cell) for cell in triple] == [
                None if value is None else pytest.approx(value, abs=0.0501) for value in wanted
            ], name
            shown += 1
    assert shown >= 10
