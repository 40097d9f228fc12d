"""Check and build a release, from a clean checkout: python tools/release.py [--out dist].

Version, changelog and working tree are checked, a source archive is built and a wheel from it, the
wheel's content is compared with the checkout, and the wheel is installed in an empty environment,
where ovseg is imported, the models are listed and the demo's picture is segmented. Nothing is
published and no tag is made.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterable, Sequence
from email.parser import HeaderParser
from pathlib import Path

from ovseg.errors import EXIT_NOTHING_DONE, EXIT_OK, UserError, run_cli

ROOT = Path(__file__).resolve().parent.parent
# What a wheel takes from beside the package, see setup.py.
BESIDE = ('configs/', 'tools/', 'demo/', 'model-index.yml')
MADE_IN_AN_ENVIRONMENT = """
import sys
from pathlib import Path
import ovseg
from ovseg import list_models
assert Path(ovseg.__file__).is_relative_to(sys.prefix), ovseg.__file__
models = list_models()
missing = [entry.name for entry in models if not entry.config_path.is_file()]
assert models and not missing, missing
print(f'ovseg {ovseg.__version__}, {len(models)} models')
"""


def numbers(version: str) -> tuple[int, ...] | None:
    """The three numbers of a version such as 0.2.0, or None."""
    found = re.fullmatch(r'v?(\d+)\.(\d+)\.(\d+)', version)
    return tuple(map(int, found.groups())) if found else None


def read_version(package: str) -> str:
    """``__version__`` of the text of ``ovseg/__init__.py``.

    Raises:
        UserError: there is none, or it is no version of three numbers.
    """
    found = re.search(r"^__version__ = '(.+)'$", package, re.MULTILINE)
    if not found or not numbers(found[1]):
        raise UserError('ovseg/__init__.py has no __version__ of three numbers, such as 0.2.0')
    return found[1]


def check_version(version: str, tags: Iterable[str]) -> list[str]:
    """What is wrong with a version, given the tags of earlier releases; other tags do not count."""
    released = [(found, tag) for tag in tags if (found := numbers(tag))]
    newest, tag = max(released, default=((), ''))
    if (numbers(version) or ()) > newest:
        return []
    return [f'ovseg/__init__.py says {version}, but {tag} is released: choose a newer version']


def check_changelog(text: str, version: str) -> list[str]:
    """What is wrong with ``CHANGELOG.md`` for a version: a dated section, nothing unreleased."""
    parts = re.split(r'^## ', text, flags=re.MULTILINE)[1:]
    sections = {part.splitlines()[0].strip(): part for part in parts}
    problems = []
    heading = re.compile(rf'\[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}')
    own = next((part for name, part in sections.items() if heading.fullmatch(name)), None)
    if own is None:
        problems.append(f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD': write it")
    elif not _entries(own):
        problems.append(f'CHANGELOG.md says nothing about {version}: list what a user will notice')
    unreleased = _entries(sections.get('[Unreleased]', ''))
    if unreleased:
        problems.append(
            f"CHANGELOG.md has {len(unreleased)} entries under Unreleased, the first '"
            f"{unreleased[0]}': move them to {version}"
        )
    return problems


def _entries(section: str) -> list[str]:
    return [line.removeprefix('- ') for line in section.splitlines() if line.startswith('- ')]


def check_wheel(wheel: Path, tracked: Sequence[str], version: str) -> list[str]:
    """What is wrong with the content of a wheel.

    Args:
        wheel: the file.
        tracked: paths of all files of the checkout, from its top.
        version: of the release.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        infos = [name for name in names if name.endswith('.dist-info/METADATA')]
        metadata = HeaderParser().parsestr(archive.read(infos[0]).decode() if infos else '')
    problems = []
    if metadata.get('Version') != version:
        problems.append(f'{wheel.name} has the version {metadata.get("Version")}, not {version}')
    if not any(re.search(r'\.dist-info/(licenses/)?LICENSE$', name) for name in names):
        problems.append(f'{wheel.name} has no LICENSE')
    wanted = {name for name in tracked if name.startswith('ovseg/')}
    wanted |= {f'ovseg/.mim/{name}' for name in tracked if name.startswith(BESIDE)}
    packed = {name for name in names if '.dist-info/' not in name and not name.endswith('/')}
    for what, paths in (('lacks', wanted - packed), ('has, not in git,', packed - wanted)):
        if paths:
            shown = ', '.join(sorted(paths)[:5])
            problems.append(f'{wheel.name} {what} {len(paths)} files: {shown}')
    return problems


def build(root: Path, out: Path) -> Path:
    """Builds a source archive, and from it a wheel, whose path is returned.

    Raises:
        UserError: the build failed, or it made no single wheel.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = set(out.glob('*.whl'))
    run([sys.executable, '-m', 'build', '--outdir', str(out), str(root)], 'building')
    made = set(out.glob('*.whl')) - before
    if len(made) != 1:
        raise UserError(f'{out} already holds this version: remove it, or give another --out')
    return made.pop()


def try_wheel(wheel: Path, constraints: Path) -> str:
    """Installs a wheel in an empty environment, uses it there, and returns what it said.

    Args:
        wheel: the file.
        constraints: versions to install, in pip's format.

    Raises:
        UserError: a command failed; its last lines are in the message.
    """
    with tempfile.TemporaryDirectory(prefix='ovseg-release-') as folder:
        place = Path(folder)
        venv.create(place / 'venv', with_pip=True)
        python = str(place / 'venv' / ('Scripts' if os.name == 'nt' else 'bin') / 'python')
        words = ['-m', 'pip', 'install', '--quiet', '-c', str(constraints), str(wheel)]
        run([python, *words], 'installing the wheel', place)
        said = run([python, '-c', MADE_IN_AN_ENVIRONMENT], 'importing ovseg', place)
        demo = next((place / 'venv').rglob('ovseg/.mim/demo'))
        words = [str(demo / 'image_demo.py'), str(demo / 'scene.png'), 'sky; grass; red star']
        said += run([python, *words, '--out-dir', str(place / 'out')], 'segmenting', place)
        if not os.path.isfile(place / 'out' / 'scene_labels.png'):
            raise UserError(f'{wheel.name}: segmenting the demo wrote no labels')
    return said


def run(command: Sequence[str], what: str, folder: Path | None = None) -> str:
    """Runs a command where nothing of the checkout is on Python's path, and returns its output.

    Raises:
        UserError: it failed; its last lines are in the message.
    """
    hidden = ('PYTHONPATH', 'PYTHONHOME')
    settings = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise UserError(f'{what} failed with exit code {done.returncode}: {" | ".join(last)}')
    return done.stdout


def check_checkout(root: Path) -> tuple[str, list[str], list[str]]:
    """The version of a checkout, the paths of its files, and what is wrong with it."""
    version = read_version((root / 'ovseg' / '__init__.py').read_text(encoding='utf-8'))
    tracked = run(['git', 'ls-files'], 'listing the files', root).splitlines()
    tags = run(['git', 'tag', '--list', 'v*'], 'listing the tags', root).split()
    changelog = (root / 'CHANGELOG.md').read_text(encoding='utf-8')
    problems = check_version(version, tags) + check_changelog(changelog, version)
    if changed := run(['git', 'status', '--porcelain'], 'looking for changes', root).splitlines():
        problems.append(f'the checkout has {len(changed)} uncommitted changes: commit them')
    return version, tracked, problems


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, builds, tries, and says what to do next."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=ROOT / 'dist', help='default: %(default)s')
    parser.add_argument(
        '--constraints',
        type=Path,
        default=ROOT / 'requirements' / 'lock.txt',
        help='versions for the empty environment (default: %(default)s)',
    )
    args = parser.parse_args(argv)
    version, tracked, problems = check_checkout(ROOT)
    if not problems:
        wheel = build(ROOT, args.out.absolute())
        problems = check_wheel(wheel, tracked, version)
    for problem in problems:
        print(f'error: {problem}', file=sys.stderr)
    if problems:
        return EXIT_NOTHING_DONE
    print(f'{wheel}: installing it in an empty environment ...')
    print(try_wheel(wheel, args.constraints.absolute()))
    print(f'ovseg {version} is ready in {args.out}; next: git tag v{version}, then publish')
    return EXIT_OK


if __name__ == '__main__':
    sys.exit(run_cli(main))
