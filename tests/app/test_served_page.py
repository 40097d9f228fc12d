"""The page over plain HTTP: what it gives away (nothing), what it refuses, and two visitors."""

from __future__ import annotations

import base64
import json
import re
import socket
import tempfile
from urllib.parse import urlsplit

import pytest
from scripts import ROOT
from served_page import Visitor, request, served

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError

SCENE = ROOT / 'demo' / 'scene.png'
MARKER = b'nobody may read this'


@pytest.fixture(scope='module')
def url():
    with served('maskclip-tiny', 'proxyclip-tiny', max_megabytes=1) as address:
        yield address


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / 'secret.txt'
    path.write_bytes(MARKER)
    return path


def error_in(notes):
    (sentence,) = re.findall(r'<p class="ov-error" role="alert">(.*?)</p>', notes)
    return sentence


def test_two_visitors_do_not_disturb_each_other(url):
    mine, yours = Visitor(url), Visitor(url)
    scene = SCENE.read_bytes()
    mine.upload(scene, 'mine.png', 'sky; grass')
    shown = yours.upload(scene, 'yours.png', 'water; red star', model='proxyclip-tiny')
    assert {each['name'] for each in shown['view']['classes']} == {'red star', 'water'}
    names = [
        json.loads(base64.b64decode(each.download('json')[0]['data'])) for each in (mine, yours)
    ]
    assert [each['image'] for each in names] == ['mine.png', 'yours.png']
    assert [each['vocabulary'] for each in names] == [['sky', 'grass'], ['water', 'red star']]
    assert [each['model'] for each in names] == ['maskclip-tiny', 'proxyclip-tiny']


def test_a_click_says_what_the_python_interface_says(url):
    visitor = Visitor(url)
    visitor.upload(SCENE.read_bytes(), 'scene.png', 'sky; grass, sand', background='ball')
    table, _ = visitor.why(200, 30)
    segment = OpenVocabSegmenter(device='cpu', precision='float32')
    why = segment.nearest_words(SCENE, 'sky; grass, sand', at=(200, 30), background='ball')
    line = r'</span> ([^<]+?)(?: <span class="ov-of">of (.*?)</span>)?</td><td>(.*?)<'
    rows = re.findall(line, table)
    assert [(words, of or words, score) for words, of, score in rows] == [
        (', '.join(each.words), why.names[each.label], f'{each.score:.3f}') for each in why.words
    ]


def test_errors_are_sentences_and_the_picture_stays(url):
    visitor = Visitor(url)
    assert 'Drop an image first' in error_in(visitor.ask('sky')['notes'])
    shown = visitor.upload(b'no image', 'a<b>.png')
    assert shown['view'] is None
    assert error_in(shown['notes']) == 'The image a&lt;b&gt;.png is not an image that can be read.'
    shown = visitor.upload(SCENE.read_bytes(), 'scene.png', 'sky;;')
    assert 'class 2' in error_in(shown['notes']) and shown['view']['classes'] == []
    shown = visitor.ask('sky; grass')
    assert {each['name'] for each in shown['view']['classes']} == {'sky', 'grass'}
    assert 'no pixel at row 9999' in error_in(visitor.why(9999, 0)[1])
    assert 'no file' in error_in(visitor.download('../../x')[1])


def test_a_picture_without_words_is_shown_and_awaits_them(url):
    shown = Visitor(url).upload(SCENE.read_bytes(), 'scene.png', '')
    assert 'Now type what to look for' in shown['notes'] and 'ov-error' not in shown['notes']
    assert shown['view']['width'] == 512 and shown['view']['classes'] == []


def test_pages_of_other_sites_may_not_ask(url):
    for site, wanted in (('cross-site', 403), ('same-site', 403), ('same-origin', 200)):
        status, body, _ = request(url, 'POST', '/ovseg/picture', b'a picture', sec_fetch_site=site)
        assert status == wanted and (wanted == 200 or 'Another site' in json.loads(body)['error'])


def test_too_large_a_file_is_refused_whatever_its_header_says(url):
    status, body, _ = request(url, 'POST', '/ovseg/picture', bytes(1_000_001))
    assert status == 413 and 'larger than 1 MB' in json.loads(body)['error']
    chunk = b'186a0\r\n' + bytes(100_000) + b'\r\n'
    chunks = 11 * chunk + b'0\r\n\r\n'
    status, body, _ = request(
        url, 'POST', '/ovseg/picture', transfer_encoding='chunked', raw=chunks
    )
    assert status == 413
    assert Visitor(url).join(json.dumps({'data': ['a' * 1_000_001]}).encode())[0] == 413


@pytest.mark.parametrize(
    'path',
    [
        '{}',
        '/{}',
        '/file={}',
        '/file/{}',
        '/gradio_api/file={}',
        '/gradio_api/file/{}',
        '//gradio_api/file={}',
        '/gradio_api/file=file://{}',
        '/gradio_api/proxy=file://{}',
        '/gradio_api/proxy=https://example.hf.space/',
        '/gradio_api/file=https://example.com/',
        '/static/{}',
        '/static/../../../../../../../../../..{}',
        '/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{}',
        '/assets/{}',
        '/assets/../../../../../../../../../..{}',
        '/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{}',
        '/gradio_api/custom_component/1/client/component/..{}',
        '/gradio_api/runs',
        '/monitoring',
        '/gradio_api/openapi.json',
    ],
)
def test_no_file_of_the_machine_is_read(url, secret, path):
    for file in (secret, ROOT / 'setup.py'):
        status, body, _ = request(url, 'GET', path.format(file))
        assert status in (403, 404), (path, status)
        assert MARKER not in body and b'find_packages' not in body


@pytest.mark.parametrize('name', ['gradio.FileData', 'gradio.File\\u0044ata'])
def test_no_input_names_a_file_or_an_address(url, secret, name):
    for path in (str(secret), 'https://example.com/a.png'):
        text = json.dumps({'path': path, 'meta': {'_type': 'NAME'}}).replace('NAME', name)
        body = f'{{"data": [null, {text}, "sky", "", 0], "fn_index": 2, "session_hash": "abc"}}'
        assert Visitor(url).join(body.encode())[0] == 403


@pytest.mark.parametrize(
    'path',
    ['/gradio_api/upload', '/gradio_api/component_server', '/login', '/gradio_api/run/on_ask', '/'],
)
def test_nothing_else_is_written_to(url, path):
    assert request(url, 'POST', path, b'{}', content_type='application/json')[0] == 404


def test_the_page_tells_no_path_and_asks_for_nothing_from_elsewhere(url):
    for path in ('/', '/config', '/theme.css', '/gradio_api/info'):
        status, body, headers = request(url, 'GET', path)
        text = body.decode()
        assert status == 200 and "default-src 'self'" in headers['content-security-policy']
        assert not [place for place in (str(ROOT), tempfile.gettempdir()) if place in text]
        assert 'fonts.googleapis.com' not in text
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="https?:', text)
    config = json.loads(request(url, 'GET', '/config')[1])
    assert not config['analytics_enabled'] and not config['run_history']


def test_it_listens_at_this_machine_alone_and_connects_to_nobody_else(monkeypatch):
    reached, connect = [], socket.socket.connect

    def noted(own, address):
        reached.append(address[0])
        return connect(own, address)

    monkeypatch.setattr(socket.socket, 'connect', noted)
    monkeypatch.setattr(socket, 'getaddrinfo', _noting(socket.getaddrinfo, reached))
    with served('maskclip-tiny') as url:
        assert url.startswith('http://127.0.0.1:')
        Visitor(url).upload(SCENE.read_bytes(), 'scene.png')
        listening = urlsplit(url).port
        others = [each[4][0] for each in socket.getaddrinfo(socket.gethostname(), listening)]
        for address in {*others} - {'127.0.0.1', '127.0.1.1', '::1'}:
            with socket.socket() as visitor:
                assert visitor.connect_ex((address, listening))
    assert '127.0.0.1' in reached
    assert set(reached) <= {'127.0.0.1', 'localhost', socket.gethostname()}


def _noting(function, reached):
    def noted(host, *more, **settings):
        reached.append(host)
        return function(host, *more, **settings)

    return noted


def test_a_port_that_is_taken_is_a_sentence():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f'127.0.0.1, port {port}.*--port'),
            served('maskclip-tiny', port=port),
        ):
            pass
