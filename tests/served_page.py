"""The page on a port of this machine, and visitors who use it without a browser."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from ovseg.cli.app import build_parser, load_model

SCENE_WORDS = 'sky; grass; water; red star'


@contextmanager
def served(*names: str, **settings: Any) -> Iterator[str]:
    """The address of a page that offers some models, which compute in float32 on the CPU.

    Args:
        names: of the models; the first is loaded.
        settings: fields of ``Place``.
    """
    need_gradio()
    from ovseg.app.page import Beginning, drawn_scene
    from ovseg.app.serve import Place, Served

    words = ['--model', names[0], '--device', 'cpu', '--precision', 'float32']
    load = partial(load_model, build_parser().parse_args(words), names[0])
    place = Place(**{'port': free_port(), **settings})
    with Served(list(names), load, Beginning('', '', drawn_scene()), place) as page:
        yield page.url


def need_gradio() -> None:
    """Skips the test where gradio is not there, or not for the versions that are."""
    why = 'gradio cannot be imported: pip install "ovseg[app]"'
    pytest.importorskip('gradio', reason=why, exc_type=ImportError)


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        return taken.getsockname()[1]


def request(
    url: str, method: str, path: str, body: bytes | None = None, raw: bytes = b'', **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of an answer; the path is sent as it is written.

    Args:
        url: of the page.
        method: such as 'GET'.
        path: of the request.
        body: sent with its length.
        raw: sent behind the headers as it is.
        headers: more of them, with ``_`` for ``-``.
    """
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname, place.port, timeout=60)
    connection.putrequest(method, path)
    for name, value in headers.items():
        connection.putheader(name.replace('_', '-'), value)
    if body is not None:
        connection.putheader('content-length', str(len(body)))
    connection.endheaders(raw if body is None else body)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    connection.close()
    return found


class Visitor:
    """One browser's session, as gradio's server sees it.

    Args:
        url: of the page.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = uuid.uuid4().hex
        self._config = json.loads(request(url, 'GET', '/config')[1])

    def upload(self, data: bytes, name: str, words: str = SCENE_WORDS, **settings: Any) -> Any:
        """What the page shows when a picture is dropped."""
        status, body, _ = request(self.url, 'POST', '/ovseg/picture', data)
        assert status == 200, body
        dropped = {'picture': json.loads(body)['picture'], 'name': name}
        asked = _settings(words, **settings)
        self.trigger('ov-viewer', 'upload', asked[:1], dropped)
        (then,) = (
            each
            for each in self._config['dependencies']
            if each['trigger_after'] == self._handler('ov-viewer', 'upload')[1]
        )
        return _named(self._call(then['id'], None, [None, None, *asked]))

    def ask(self, words: str, **settings: Any) -> Any:
        """What the page shows when words are asked for."""
        return _named(self.trigger('ov-find', 'click', [None, None, *_settings(words, **settings)]))

    def why(self, row: int, column: int) -> Any:
        """What the page shows when a pixel is clicked: (its table, sentences)."""
        return self.trigger('ov-viewer', 'select', [None], {'row': row, 'column': column})[:2]

    def correct(self, word: str) -> Any:
        """What the page shows when the pixel that was clicked last is said to be something else."""
        return _named(self.trigger('ov-correct', 'click', [None, None, word]))

    def press(self, element: str) -> Any:
        """What the page shows when corrections are undone ('ov-undo') or removed ('ov-empty')."""
        return _named(self.trigger(element, 'click', [None, None]))

    def bank(self) -> Any:
        """What the page hands to the browser as a bank: (a file, sentences)."""
        return self.trigger('ov-bank', 'click', [None])

    def download(self, kind: str, opacity: float = 0.5, hidden: tuple[int, ...] = ()) -> Any:
        """What the page hands to the browser: (a file, sentences)."""
        wanted = {'kind': kind, 'opacity': opacity, 'hidden': list(hidden)}
        return self.trigger('ov-viewer', 'download', [None], wanted)

    def trigger(self, element: str, event: str, data: list[Any], event_data: Any = None) -> Any:
        """What the outputs of an event become."""
        target, number = self._handler(element, event)
        return self._call(number, target, data, event_data)

    def _handler(self, element: str, event: str) -> tuple[int, int]:
        """Numbers of an element, and of what an event of it calls."""
        (target,) = (
            each['id']
            for each in self._config['components']
            if each['props'].get('elem_id') == element
        )
        (number,) = (
            each['id']
            for each in self._config['dependencies']
            if [target, event] in [list(pair) for pair in each['targets']]
        )
        return target, number

    def _call(
        self, number: int, target: int | None, data: list[Any], event_data: Any = None
    ) -> Any:
        question = {'data': data, 'fn_index': number, 'session_hash': self.session}
        question |= {'event_data': event_data, 'trigger_id': target}
        status, body, _ = self.join(json.dumps(question).encode())
        assert status == 200, body
        return self._answer(json.loads(body)['event_id'])

    def join(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """The server's answer to a question as it is sent."""
        kind = 'application/json'
        return request(self.url, 'POST', '/gradio_api/queue/join', body, content_type=kind)

    def _answer(self, event: str) -> Any:
        path = f'/gradio_api/queue/data?session_hash={self.session}'
        for line in request(self.url, 'GET', path)[1].splitlines():
            message = json.loads(line.removeprefix(b'data: ')) if line else {}
            if message.get('event_id') == event and message['msg'] == 'process_completed':
                assert message['success'], message
                return message['output']['data']
        raise AssertionError('the queue closed without an answer')


def _settings(
    words: str, model: str = 'maskclip-tiny', background: str = '', threshold: float = 0
) -> list[Any]:
    return [model, words, background, threshold]


def _named(outputs: list[Any]) -> dict[str, Any]:
    view, notes, *_ = outputs
    stays = view is None or '__type__' in view  # what gradio makes of `skip()`
    return {'view': None if stays else view, 'notes': notes}
