"""The links of the documentation site; that it has all pages, ``make docs`` sees."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from scripts import load_script


@pytest.fixture(scope='module')
def hooks():
    return load_script('hooks', 'docs/site')


@pytest.mark.parametrize(
    ('page', 'written', 'shown'),
    [
        ('models.md', '[a](data.md#voc)', '[a](data.md#voc)'),
        ('models.md', '[a](../configs/sclip/README.md#x)', '[a](methods/sclip.md#x)'),
        ('methods/sclip.md', '[a](../../docs/data.md)', '[a](../data.md)'),
        ('methods/resclip.md', '[a](../naclip/README.md)', '[a](naclip.md)'),
        ('index.md', '[a](docs/data.md)', '[a](data.md)'),
        ('index.md', '![a](demo/scene.png)', '![a](images/scene.png)'),
        ('index.md', '[b](LICENSE) [a](docs/data.md)', 'b (`LICENSE`) [a](data.md)'),
        ('export.md', '[demo](../demo/onnx_demo.py)', 'demo (`demo/onnx_demo.py`)'),
        ('getting_started.md', '[demo/scene.txt](../demo/scene.txt)', '`demo/scene.txt`'),
        ('models.md', '[a](https://arxiv.org) [b](#c)', '[a](https://arxiv.org) [b](#c)'),
        ('models.md', '```python\nx[0](y)\n```\n', '```python\nx[0](y)\n```\n'),
        ('models.md', '[a](notebooks/first_steps.ipynb)', '[a](notebooks/first_steps.md)'),
    ],
)
def test_a_link_leads_to_where_the_site_has_it(hooks, caplog, page, written, shown):
    assert hooks.with_links_of_the_site(written, page) == shown
    assert not caplog.records


def test_a_link_to_nothing_is_a_warning(hooks, caplog):
    hooks.with_links_of_the_site('[a](../configs/nothing/README.md)', 'models.md')
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, 'mkdocs.hooks.ovseg')
    assert 'docs/models.md links to ../configs/nothing/README.md' in record.getMessage()


@pytest.mark.parametrize(
    ('html', 'warnings'),
    [
        ('<script src="https://else.where/x.js"></script>', 1),
        ('<link rel="stylesheet" href="//else.where/x.css">', 1),
        ('<link href="https://else.where" rel="preconnect">', 1),
        ('<img alt="" src="https://else.where/x.png">', 1),
        ('<a href="https://else.where">a</a><img src="x.png"><script src="x.js"></script>', 0),
    ],
)
def test_a_page_that_loads_from_another_server_is_a_warning(hooks, caplog, html, warnings):
    page = SimpleNamespace(file=SimpleNamespace(src_uri='models.md'))
    assert hooks.on_post_page(html, page, None) == html
    assert len(caplog.records) == warnings


def test_a_notebook_is_shown_as_text_and_code(hooks):
    cells = [
        {'cell_type': 'markdown', 'source': ['# A\n', 'b']},
        {'cell_type': 'code', 'source': ['x = 1\n', 'x']},
    ]
    assert hooks.notebook_text({'cells': cells}) == '# A\nb\n\n```python\nx = 1\nx\n```\n'
