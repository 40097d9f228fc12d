"""What the documentation site needs beside mkdocs: pages from outside of docs/, and their links.

The pages are written for readers of the repository, with links from file to file. Here files that
the site shows elsewhere, or does not show, get links that are right on it.
"""

from __future__ import annotations

import json
import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
# Warnings below this name fail `mkdocs build --strict`.
_LOG = logging.getLogger('mkdocs.hooks.ovseg')

_LINK = re.compile(r'(!?)\[((?:[^][]|\[[^][]*\])*)\]\(([^()\s]+)\)')
_FENCED = re.compile(r'^```.*?^```[^\n]*$', re.MULTILINE | re.DOTALL)
_LOADED = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="((?:https?:)?//[^"]*)'
    r'|<link\b(?=[^>]*\brel="(?:stylesheet|preconnect|icon)")[^>]*\bhref="((?:https?:)?//[^"]*)'
)


def places() -> dict[str, str]:
    """Where the site has what lies outside of docs/: paths in the checkout to paths on the site."""
    found = {
        'README.md': 'index.md',
        'CONTRIBUTING.md': 'contributing.md',
        'CHANGELOG.md': 'changelog.md',
        'demo/scene.png': 'images/scene.png',
    }
    for page in sorted(ROOT.glob('configs/*/*.md')):
        method, part = page.parent.name, page.stem.lower()
        name = method if part == 'readme' else f'{method}_{part}'
        found[page.relative_to(ROOT).as_posix()] = f'methods/{name}.md'
    for notebook in sorted(ROOT.glob('docs/notebooks/*.ipynb')):
        path = notebook.relative_to(ROOT).as_posix()
        found[path] = path.removeprefix('docs/').replace('.ipynb', '.md')
    return found


def source_of(place: str) -> str:
    """The path in the checkout of what the site has at ``place``."""
    return {there: here for here, there in places().items()}.get(place, f'docs/{place}')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and pictures from outside of docs/, and the notebooks as pages."""
    from mkdocs.structure.files import File

    for here, there in places().items():
        path = ROOT / here
        if path.suffix == '.ipynb':
            text = notebook_text(json.loads(path.read_text(encoding='utf-8')))
            files.append(File.generated(config, there, content=text))
        else:
            files.append(File.generated(config, there, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links that are right on the site."""
    return with_links_of_the_site(markdown, page.file.src_uri)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The page as it is; a warning if a browser would load a part of it from another server."""
    for found in _LOADED.finditer(output):
        _LOG.warning('%s loads %s', page.file.src_uri, found[1] or found[2])
    return output


def notebook_text(notebook: dict) -> str:
    """A notebook as Markdown: its text, and its code in fences."""
    parts = []
    for cell in notebook['cells']:
        text = ''.join(cell['source'])
        parts.append(f'```python\n{text}\n```' if cell['cell_type'] == 'code' else text)
    return '\n\n'.join(parts) + '\n'


def with_links_of_the_site(markdown: str, page: str) -> str:
    """A page with links that are right on the site; what it does not show is named instead.

    Args:
        markdown: the page, with links that are right in the checkout.
        page: its path on the site.
    """
    pieces, end = [], 0
    for fence in _FENCED.finditer(markdown):
        pieces += [_linked(markdown[end : fence.start()], page), fence.group()]
        end = fence.end()
    return ''.join([*pieces, _linked(markdown[end:], page)])


def _linked(text: str, page: str) -> str:
    folder = posixpath.dirname(source_of(page))

    def mend(link: re.Match[str]) -> str:
        mark, label, target = link.groups()
        if mark == '' and '](' in label:  # a picture that is a link
            label = _linked(label, page)
        if re.match(r'[a-z]+:|#', target):
            return f'{mark}[{label}]({target})'
        path, hash_sign, anchor = target.partition('#')
        path = posixpath.normpath(posixpath.join(folder, path))
        if not (ROOT / path).exists():
            _LOG.warning('%s links to %s, which is not there', source_of(page), target)
        place = places().get(path) or path.removeprefix('docs/')
        if path not in places() and not path.startswith('docs/'):
            return f'`{path}`' if label.strip('`') == path else f'{label} (`{path}`)'
        there = posixpath.relpath(place, posixpath.dirname(page) or '.')
        return f'{mark}[{label}]({there}{hash_sign}{anchor})'

    return _LINK.sub(mend, text)
