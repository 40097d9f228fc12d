from __future__ import annotations

import hashlib
import resource
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from ovseg import downloads
from ovseg.encoders import load_clip
from ovseg.encoders.dino import load_dino
from ovseg.encoders.dinov2 import load_dinov2
from ovseg.encoders.found import FOUND
from ovseg.encoders.sam import load_sam
from ovseg.errors import UserError

DINO = {'img_size': 16, 'patch_size': 8, 'embed_dim': 8, 'depth': 1, 'num_heads': 1}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and empty caches; returns the folder of torch's."""

    def unreachable(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(downloads.urllib.request, 'urlopen', unreachable)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(downloads, 'reaches_hub', lambda: False)
    monkeypatch.setattr(downloads.huggingface_hub, 'try_to_load_from_cache', lambda *args: None)
    return tmp_path / 'hub' / 'checkpoints'


MISSING = {
    'dino': (
        lambda: load_dino('dino_vitb16'),
        'https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth',
        'dino.pretrained (or companion.pretrained)',
    ),
    'dinov2': (
        lambda: load_dinov2('dinov2_vitb14'),
        'dinov2_vitb14/dinov2_vitb14_pretrain.pth',
        'companion.pretrained',
    ),
    'sam': (
        lambda: load_sam('vit_b'),
        'https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth',
        'sam.pretrained',
    ),
    'found': (
        lambda: FOUND({'model': DINO, 'pretrained': 'random'}),
        'decoder_weights.pt',
        'found.decoder',
    ),
}


@pytest.mark.parametrize('which', MISSING)
def test_a_missing_file_is_named_with_its_source_its_setting_and_its_place(which, offline):
    load, source, key = MISSING[which]
    with pytest.raises(UserError) as caught:
        load()
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    url = sentence.split()[0]
    assert url.startswith('https://') and url.endswith(source)
    assert f'set {key} of the model in the config to the path of the file' in sentence
    place = Path(sentence.rsplit('put it at ', 1)[1])
    assert place.name == url.rsplit('/', 1)[1] and place.is_relative_to(offline)


def test_a_file_put_where_the_sentence_says_is_found(offline):
    url = 'https://nowhere.example/weights.pt'
    with pytest.raises(UserError) as caught:
        downloads.fetch_url(url)
    assert 'give the path of the file instead of the URL' in str(caught.value)
    place = Path(str(caught.value).rsplit('put it at ', 1)[1])
    place.write_bytes(b'weights')
    assert downloads.fetch_url(url) == place


def test_a_missing_file_of_the_hub_is_named_with_its_repository(offline):
    with pytest.raises(UserError) as caught:
        load_clip('ViT-H-14', 'laion2b_s32b_b79k')
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert 'open_clip_pytorch_model.bin of laion/CLIP-ViT-H-14-laion2B-s32B-b79K on' in sentence
    assert 'clip.pretrained' in sentence
    with pytest.raises(UserError, match=r'fetch own\.bin of some/repository on the Hugging Face'):
        downloads.fetch_weights({'hf_hub': 'some/repository/own.bin'}, 'x')


CONTENT = bytes(range(256)) * 4096
PAGE = b'\n<!doctype html><html>sign in</html>'
# Where a server sends us on to, by the first folder of the address.
MOVED = {
    'round': '{path}',
    'deeper': '{path}x',
    'file': 'file:///etc/passwd',
    'ftp': 'ftp://127.0.0.1/weights.pt',
}
LENGTHS = {'odd': 'many', 'negative': '-5', 'nothing': '0', 'huge': str(1 << 60)}
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves the same megabyte under every name; the first folder says what is wrong with it."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        how = self.path.split('/')[1]
        if how == 'missing':
            self.send_error(404)
            return
        if how in MOVED:
            self.send_response(302)
            self.send_header('Location', MOVED[how].format(path=self.path))
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        self.send_response(200)
        if how in LENGTHS:
            self.send_header('Content-Length', LENGTHS[how])
            self.end_headers()
            self.close_connection = True
            return
        content = PAGE if how == 'hidden-page' else CONTENT
        if how == 'page':
            self.send_header('Content-Type', 'text/html; charset=utf-8')
        if how == 'unstated':
            self.send_header('Connection', 'close')
        else:
            self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.close_connection = True
        if how in ('cut', 'silent'):
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            if how == 'silent':
                self.server.ended.wait(20)
        elif how == 'slow':
            for place in range(100):
                if self.server.ended.wait(0.1):
                    return
                self.wfile.write(CONTENT[place : place + 1])
        else:
            self.wfile.write(content)

    def handle(self) -> None:
        # A reader that gives up closes the connection.
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[str]:
    """The address of a local server; torch's cache and open_clip's are empty."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(downloads, '_open_clip_cache', lambda: tmp_path / 'hub' / 'clip')
    monkeypatch.setattr(downloads.urllib.request, 'getproxies', dict)
    monkeypatch.setattr(downloads, '_SILENCE', 0.5)
    running = ThreadingHTTPServer(('127.0.0.1', 0), Server)
    running.ended = threading.Event()
    thread = threading.Thread(target=running.serve_forever, kwargs={'poll_interval': 0.05})
    thread.start()
    yield f'http://127.0.0.1:{running.server_address[1]}'
    running.ended.set()
    running.shutdown()
    thread.join()
    running.server_close()


def kept(tmp_path):
    return [path for path in (tmp_path / 'hub').rglob('*') if path.is_file()]


@pytest.mark.parametrize(
    ('name', 'digest'),
    [
        ('weights.pt', None),
        (f'weights-{SHA256[:8]}.pth', None),
        ('weights-20210531.pth', None),
        (f'{SHA256}/ViT.pt', None),
        ('weights.pth', f'md5:{hashlib.md5(CONTENT).hexdigest()[:6]}'),
    ],
)
@pytest.mark.parametrize('how', ['whole', 'unstated'])
def test_a_whole_file_is_fetched_once(how, name, digest, server, tmp_path, monkeypatch):
    path = downloads.fetch_url(f'{server}/{how}/{name}', digest=digest)
    assert path.read_bytes() == CONTENT and kept(tmp_path) == [path]
    monkeypatch.setattr(downloads.urllib.request, 'urlopen', None)
    assert downloads.fetch_url(f'{server}/{how}/{name}', digest=digest) == path


@pytest.mark.parametrize(
    ('how', 'name', 'message'),
    [
        ('cut', 'weights.pt', 'sent 1000 of 1048576 bytes'),
        ('silent', 'weights.pt', 'timed out'),
        ('slow', 'weights.pt', r'sent \d bytes in 0\.5 seconds'),
        ('page', 'weights.pt', 'sends a page'),
        ('hidden-page', 'weights.pt', 'sends a page'),
        ('missing', 'weights.pt', '404'),
        ('round', 'weights.pt', 'would lead to an infinite loop'),
        ('deeper', 'weights.pt', 'would lead to an infinite loop'),
        ('file', 'weights.pt', 'not allowed'),
        ('ftp', 'weights.pt', r'fetched \('),
        ('odd', 'weights.pt', "states the length 'many'"),
        ('negative', 'weights.pt', "states the length '-5'"),
        ('nothing', 'weights.pt', 'sent an empty file'),
        ('huge', 'weights.pt', 'do not fit on the disk'),
        ('whole', 'weights-abcdef01.pth', 'another sha256 than abcdef01'),
        ('whole', f'{"ab" * 32}/ViT.pt', 'another sha256'),
    ],
)
def test_what_is_not_whole_is_not_kept(how, name, message, server, tmp_path):
    started = time.monotonic()
    with pytest.raises(UserError, match=message) as caught:
        downloads.fetch_url(f'{server}/{how}/{name}')
    assert time.monotonic() - started < 5
    assert len(str(caught.value).splitlines()) == 1
    assert not kept(tmp_path)


def test_a_tag_of_open_clip_is_fetched_whole_into_its_cache(server, tmp_path):
    tag = {'url': f'{server}/whole/{SHA256}/ViT.pt'}
    path = Path(downloads.fetch_weights(tag, 'x'))
    assert path == tmp_path / 'hub' / 'clip' / 'ViT.pt' and path.read_bytes() == CONTENT
    # As open_clip's own download leaves it when it is stopped.
    path.write_bytes(CONTENT[:1000])
    assert Path(downloads.fetch_weights(tag, 'x')).read_bytes() == CONTENT


def test_a_tag_that_is_cut_is_one_sentence_and_not_kept(server, tmp_path):
    tag = {'url': f'{server}/cut/ViT.pt'}
    with pytest.raises(UserError, match=r"'tiny' could not be downloaded \(the server sent 1000"):
        downloads.fetch_weights(tag, "'tiny'")
    assert not kept(tmp_path)


def test_sams_names_carry_their_sums(server, tmp_path, monkeypatch):
    monkeypatch.setattr('ovseg.encoders.sam._HOST', f'{server}/whole')
    with pytest.raises(UserError, match='another md5 than 01ec64'):
        load_sam('vit_b')
    assert not kept(tmp_path)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(server, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(UserError, match='File too large'):
            downloads.fetch_url(f'{server}/whole/weights.pt')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not kept(tmp_path)


def test_a_cache_that_is_no_folder_is_one_sentence(server, tmp_path):
    (tmp_path / 'hub').write_text('a file')
    with pytest.raises(UserError, match='Cannot write to the folder .*Not a dir') as caught:
        downloads.fetch_url(f'{server}/whole/weights.pt')
    assert len(str(caught.value).splitlines()) == 1


def test_several_at_once_each_get_the_whole_file(server, tmp_path):
    found = []

    def fetch():
        found.append(downloads.fetch_url(f'{server}/whole/weights.pt').read_bytes() == CONTENT)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4 and len(kept(tmp_path)) == 1
