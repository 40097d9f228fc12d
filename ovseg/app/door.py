"""The door of the page: it takes pictures, and lets through what the page needs and nothing else.

gradio serves more than this page asks for: uploads into a folder, files of that folder and of any
address, other people's servers. Pictures come in here instead, into memory, and no request for a
file of this machine or of another one gets behind the door; nor does a page of another site that a
visitor has open, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_App: TypeAlias = Callable[[_Message, _Receive, _Send], Awaitable[None]]

PICTURES = '/ovseg/picture'
# What gradio's page and its Python client ask for.
_READ = re.compile(
    r'/|/(?:config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(?:assets|static)/.+'
    r'|/gradio_api/(?:info|app_id|startup-events|queue/data|queue/status|heartbeat/\w+)/?'
)
_WRITTEN = re.compile(r'/gradio_api/(?:queue/join|cancel|reset)/?')
# Words and settings: no question is longer.
_LONGEST_QUESTION = 1_000_000
# gradio fetches or opens what such an input names.
_FILE_INPUT = '"gradio.FileData"'
# Whatever a page of gradio's names, browsers load from here alone.
_HEADERS = [
    (
        b'content-security-policy',
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        b"font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:",
    ),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
]


class _TooLong(Exception):
    """A body that is longer than it may be, or that has no end."""


class Door:
    """ASGI middleware in front of gradio.

    Args:
        app: gradio's.
        receive_picture: takes the bytes of a picture and gives the name that it is asked for by.
        megabytes: the largest file that is taken (10^6 bytes).
    """

    def __init__(
        self, app: _App, receive_picture: Callable[[bytes], str], megabytes: float
    ) -> None:
        self._app = app
        self._receive_picture = receive_picture
        self._megabytes = megabytes

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answers a request, or has gradio answer it."""
        if scope['type'] == 'lifespan':
            await self._app(scope, receive, send)
        elif scope['type'] == 'http':
            await self._answer(scope, receive, _with_headers(send))
        # Anything else is closed: the page has no use for it.

    async def _answer(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        path, method = scope['path'], scope['method']
        if method == 'POST' and _is_of_another_site(scope):
            await _say(send, 403, {'error': 'Another site may not ask in the name of a visitor.'})
        elif method == 'POST' and path == PICTURES:
            await self._take_picture(receive, send)
        elif method == 'POST' and _WRITTEN.fullmatch(path):
            await self._let_question_through(scope, receive, send)
        elif method in ('GET', 'HEAD') and _READ.fullmatch(path):
            await self._app(scope, receive, send)
        else:
            await _say(send, 404, {'error': 'There is nothing at this address of the page.'})

    async def _take_picture(self, receive: _Receive, send: _Send) -> None:
        try:
            data = await _body(receive, int(self._megabytes * 1e6))
        except _TooLong:
            limit = f'{self._megabytes:g} MB'
            sentence = f'The file is larger than {limit}, the most that this page takes: shrink it.'
            await _say(send, 413, {'error': sentence})
            return
        await _say(send, 200, {'picture': self._receive_picture(data)})

    async def _let_question_through(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        try:
            body = await _body(receive, _LONGEST_QUESTION)
        except _TooLong:
            await _say(send, 413, {'error': 'The question is too long.'})
            return
        if _has_file_input(body):
            await _say(send, 403, {'error': 'This page takes no files as inputs.'})
            return
        messages = [{'type': 'http.request', 'body': body, 'more_body': False}]

        async def replay() -> _Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


def _is_of_another_site(scope: _Message) -> bool:
    """Whether a browser sends what a page of another site had it send; programs say nothing."""
    said = dict(scope['headers']).get(b'sec-fetch-site', b'none')
    return said not in (b'same-origin', b'none')


async def _body(receive: _Receive, most: int) -> bytes:
    """The body of a request; of one that is too long the rest is read and not held.

    A client that is cut off while it sends would see no answer.

    Raises:
        _TooLong: it has more bytes than ``most``, whatever its header says, or no end.
    """
    parts: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message['type'] == 'http.disconnect':
            raise _TooLong
        length += len(message.get('body', b''))
        if length <= most:
            parts.append(message.get('body', b''))
        else:
            parts.clear()
        more = message.get('more_body', False)
    if length > most:
        raise _TooLong
    return b''.join(parts)


def _has_file_input(body: bytes) -> bool:
    """Whether an input is one of gradio's files, however its letters are escaped."""
    try:
        plain = json.dumps(json.loads(body or b'null'), ensure_ascii=False)
    except (ValueError, RecursionError):
        return True
    return _FILE_INPUT in plain


def _with_headers(send: _Send) -> _Send:
    async def extended(message: _Message) -> None:
        if message['type'] == 'http.response.start':
            message['headers'] = [*message.get('headers', ()), *_HEADERS]
        await send(message)

    return extended


async def _say(send: _Send, status: int, content: dict[str, str]) -> None:
    headers = [(b'content-type', b'application/json')]
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})
    await send({'type': 'http.response.body', 'body': json.dumps(content).encode()})
