"""Does ovseg work here? Versions, devices, and a drawn scene segmented by a model that ships.

Examples::

    %(prog)s                     # put what it prints into a bug report
    %(prog)s --device cuda:1
    %(prog)s --json              # the same for programs
    %(prog)s --quiet && echo "all is well"

Exit codes: 0 all is well; 1 the scene is segmented, but something else is amiss; 2 it is not.
Nothing is downloaded, and no file stays.
"""

from __future__ import annotations

import argparse
import json

from ovseg.cli.entry import main_of
from ovseg.cli.parsers import new_parser
from ovseg.errors import EXIT_NOTHING_DONE, EXIT_OK, EXIT_SOME_FAILED
from ovseg.tables import text_table


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog, quiet='print nothing: the exit code tells it')
    parser.add_argument('--device', help='where the scene is segmented (default: GPU, else CPU)')
    parser.add_argument('--json', action='store_true', help='print one JSON object, no tables')
    return parser


def run(args: argparse.Namespace) -> int:
    """Checks, prints what was found, and returns the exit code.

    Args:
        args: of :func:`build_parser`.
    """
    from ovseg.cli.installation import SCENE, all_checks, place, versions

    facts, packages = place(), versions()
    findings = all_checks(packages, args.device)
    works = all(finding.fine for finding in findings if finding.name == SCENE)
    fine = all(finding.fine for finding in findings)
    if args.json:
        content = {
            'works': works,
            'all_fine': fine,
            **facts,
            'packages': {package.name: package.version for package in packages},
            'checks': [vars(finding) for finding in findings],
        }
        print(json.dumps(content, indent=2))
    else:
        wanted = [(each.name, each.version or 'missing', each.at_least) for each in packages]
        checked = [(each.name, 'fine' if each.fine else 'AMISS', each.said) for each in findings]
        print('\n'.join(f'{name}: {fact}' for name, fact in facts.items()) + '\n')
        print(text_table(('package', 'version', 'at least'), wanted) + '\n')
        print(text_table(('check', '', 'what was found'), checked, left=3))
    if not works:
        return EXIT_NOTHING_DONE
    return EXIT_OK if fine else EXIT_SOME_FAILED


main = main_of(build_parser, run)
