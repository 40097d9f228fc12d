"""A hub of models on this machine, with as much of its interface as the client asks for."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub

COMMIT = 'c' * 40


class FakeHub:
    """Repositories in memory.

    Attributes:
        files: by repository, the content of each file.
        gated: repositories that not everybody may read.
        asked: the paths of all requests.
        address: of the server.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.asked: list[str] = []
        self.address = ''


def ask_at(address, monkeypatch):
    """Lets the hub's client ask a hub of this machine."""
    constants = huggingface_hub.constants
    places = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, 'ENDPOINT', address)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', address + places)


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *_):
            """Nothing: the client's own messages are what counts."""

        def answer(self, content, code=200, **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            for name, value in {'Content-Length': str(len(body)), **headers}.items():
                self.send_header(name.replace('_', '-'), value)
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(body)

        def refused(self, name):
            if name in hub.gated:
                self.answer({'error': 'gated'}, 403, X_Error_Code='GatedRepo')
            elif name not in hub.files:
                self.answer({'error': 'none'}, 404, X_Error_Code='RepoNotFound')
            else:
                return False
            return True

        def do_GET(self):
            hub.asked.append(self.path)
            path = self.path.split('?')[0]
            if found := re.fullmatch(r'/(\w+/\w+)/resolve/(\w+)/(.+)', path):
                if self.refused(found[1]):
                    return
                content = hub.files[found[1]].get(found[3])
                if found[2] not in ('main', COMMIT):
                    self.answer({'error': 'none'}, 404, X_Error_Code='RevisionNotFound')
                elif content is None:
                    self.answer({'error': 'none'}, 404, X_Error_Code='EntryNotFound')
                else:
                    tag = f'"{hash(content) & 0xFFFFFFFF:x}"'
                    self.answer(content, X_Repo_Commit=COMMIT, ETag=tag)
            else:
                self.answer({'error': path}, 404)

        do_HEAD = do_GET

        def do_POST(self):
            hub.asked.append(self.path)
            body = self.rfile.read(int(self.headers['Content-Length']))
            if self.path == '/api/repos/create':
                name = '/'.join(filter(None, map(json.loads(body).get, ('organization', 'name'))))
                hub.files.setdefault(name, {})
                self.answer({'url': f'{hub.address}/{name}'})
            elif found := re.match(r'/api/models/(\w+/\w+)/preupload/main', self.path):
                files = [
                    {'path': file['path'], 'uploadMode': 'regular', 'shouldIgnore': False}
                    for file in json.loads(body)['files']
                ]
                self.answer({'files': files})
            elif found := re.match(r'/api/models/(\w+/\w+)/commit/main', self.path):
                for line in map(json.loads, body.splitlines()):
                    if line['key'] == 'file':
                        content = base64.b64decode(line['value']['content'])
                        hub.files[found[1]][line['value']['path']] = content
                page = f'{hub.address}/{found[1]}/commit/{COMMIT}'
                self.answer({'success': True, 'commitOid': COMMIT, 'commitUrl': page})
            else:
                self.answer({})

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    hub.address = f'http://127.0.0.1:{server.server_address[1]}'
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
