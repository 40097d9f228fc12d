"""Folders are floors: nothing imports from a floor above its own."""

from __future__ import annotations

import ast
from pathlib import Path

import ovseg

PACKAGE = Path(ovseg.__file__).parent
# From the ground up; docs/the_house.md draws them.
FLOORS = [
    *(
        'lazy',
        'consoles',
        'progress',
        'errors',
        'extras',
        'process_end',
        'compat',
        'file_names',
        'files',
        'input_files',
        'locks',
        'folders',
        'result_files',
        'line_lists',
        'option_values',
        'exact_digits',
        'settings',
        'sizes',
        'budget',
        'stages',
        'row_resize',
        'coco_masks',
        'mask_polygons',
        'tables',
        'devices',
        'torch_modes',
        'nested_tensors',
        'precision_choice',
        'tensor_cores',
        'precision',
        'compiled',
    ),
    *(
        'registry',
        'saved_config',
        'config_files',
        'zoo',
        'run_arguments',
        'downloads',
        'weight_files',
        'saved_weights',
    ),
    *('vocabulary', 'affinity', 'text', 'images'),
    *('encoders', 'guides', 'scores', 'regions', 'refiners', 'exemplars'),
    *('training', 'segmentors'),
    *('visualization', 'datasets', 'evaluation', 'scenes', 'engine', 'apis', 'rasters', 'portable'),
    *('app', 'integrations', 'cli', '__main__'),
]


def imports_of(path):
    """First names below ``ovseg`` that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            parts = node.module.split('.')
            if parts[0] == 'ovseg':
                yield from [parts[1]] if len(parts) > 1 else [name.name for name in node.names]
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith('ovseg.'):
                    yield name.name.split('.')[1]


def test_nothing_imports_upwards():
    floor_of = {name: floor for floor, name in enumerate(FLOORS)}
    seen, upwards = 0, []
    for path in sorted(PACKAGE.rglob('*.py')):
        own = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
        if own == '__init__':
            continue
        assert own in floor_of, f'{own} has no floor: say in this test where it stands'
        for name in imports_of(path):
            seen += 1
            if floor_of.get(name, -1) > floor_of[own]:
                upwards.append(f'{path.relative_to(PACKAGE)} imports {name}')
    assert seen > 500
    assert not upwards
