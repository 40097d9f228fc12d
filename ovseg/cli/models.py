"""The models that go by a name: licence of the weights, size, speed, published numbers.

Examples::

    %(prog)s                              # all, as a table
    %(prog)s naclip-vit-b16               # all about one
    %(prog)s --json | jq -r '.[] | select(.non_commercial | not) | .name'
    %(prog)s --quiet                      # names alone, one a line

Speed is for a photograph of 600 x 512 pixels and 20 classes on two cores of a CPU: {speeds}.
Licences are those of the weights, as far as ovseg knows them; ovseg itself is Apache-2.0.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from ovseg.cli.entry import main_of
from ovseg.cli.parsers import new_parser
from ovseg.errors import EXIT_OK
from ovseg.tables import text_table
from ovseg.zoo import ModelEntry, find_model, list_models
from ovseg.zoo.costs import COSTS, SPEEDS
from ovseg.zoo.listing import short_facts

_HEADER = ('model', 'method', 'weights', 'licence', 'speed', 'parameters')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    speeds = ', '.join(f'{name} {meaning}' for name, meaning in SPEEDS.items())
    about = (__doc__ or '').format(speeds=speeds)
    parser = new_parser(about, prog, quiet='print names alone, one a line')
    parser.add_argument('name', nargs='*', metavar='NAME', help='of a model (default: all)')
    parser.add_argument('--json', action='store_true', help='print a JSON list, an object a model')
    return parser


def facts_of(entry: ModelEntry) -> dict[str, Any]:
    """All that is known of a model, as plain values for JSON.

    Args:
        entry: of the zoo.
    """
    name, method, come, licences = short_facts(entry)
    cost = COSTS.get(name)
    return {
        'name': name,
        'method': method,
        'weights': come,
        'licences': licences.split(', '),
        'non_commercial': 'NC' in licences,
        'speed': cost.speed if cost else None,
        'parameters': round(cost.parameters * 1e6) if cost else None,
        'megabytes': cost.megabytes if cost else None,
        'config': str(entry.config_path),
        'weights_from': entry.weights,
        'licence_in_full': entry.licence,
        'note': entry.note,
        'world': entry.world,
        'published_miou': entry.published,
        'published_by': entry.source,
    }


def run(args: argparse.Namespace) -> int:
    """Prints the models and returns the exit code.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: no model has one of the names.
    """
    entries = [find_model(name) for name in args.name] or list_models()
    if args.json:
        print(json.dumps([facts_of(entry) for entry in entries], indent=2))
    elif args.quiet:
        print('\n'.join(entry.name for entry in entries))
    elif args.name:
        print('\n\n'.join(_page(facts_of(entry)) for entry in entries))
    else:
        print(text_table(_HEADER, [_row(entry) for entry in entries], left=len(_HEADER) - 1))
    return EXIT_OK


main = main_of(build_parser, run, prints=lambda args: True)


def _row(entry: ModelEntry) -> tuple[str, ...]:
    cost = COSTS.get(entry.name)
    return (
        *short_facts(entry),
        cost.speed if cost else '-',
        f'{cost.parameters:.0f} M' if cost else '-',
    )


def _page(facts: dict[str, Any]) -> str:
    lines = [facts['name']]
    for name, value in facts.items():
        if name != 'name' and value not in (None, '', {}):
            shown = value
            if isinstance(value, dict):
                shown = ', '.join(f'{data} {score}' for data, score in value.items())
            elif isinstance(value, list):
                shown = ', '.join(value)
            lines.append(f'  {name.replace("_", " "):16} {shown}')
    return '\n'.join(lines)
