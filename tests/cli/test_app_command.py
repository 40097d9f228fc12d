"""``ovseg app``: which models it offers, that it ends, and what it says without gradio."""

from __future__ import annotations

import sys

import pytest
from served_page import free_port, need_gradio, request

from ovseg.cli.app import build_parser, offered_models
from ovseg.cli.command import main


def offered(*words):
    return offered_models(build_parser().parse_args(words))


def test_all_models_are_offered_but_those_whose_weights_a_user_has_to_bring():
    names = offered()
    assert names[0] == 'maskclip-tiny' and 'maskclip-vit-b16' in names
    assert 'ovseg-swin-b-vit-l14' not in names and len(names) == len(set(names)) > 20
    assert offered('--model', 'trident-tiny')[:2] == ['trident-tiny', 'maskclip-tiny']
    assert offered('--model', 'trident-tiny', '--only') == ['trident-tiny']
    brought = offered('--model', 'ovseg-swin-b-vit-l14')
    assert brought[0] == 'ovseg-swin-b-vit-l14' and len(brought) == len(names) + 1


def test_without_gradio_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert main(['app', '--device', 'cpu']) == 2
    assert 'pip install "ovseg[app]"' in capsys.readouterr().err


def test_it_serves_until_it_is_interrupted_and_then_ends_well(monkeypatch, capsys):
    need_gradio()
    port, pages = free_port(), []

    def visit():
        pages.append(request(f'http://127.0.0.1:{port}/', 'GET', '/config')[1])
        raise KeyboardInterrupt

    monkeypatch.setattr('ovseg.cli.app.wait_for_interrupt', visit)
    words = ['app', 'sky; grass', '--background', 'cobblestones', '--device', 'cpu', '--only']
    assert main([*words, '--port', str(port)]) == 0
    (page,) = pages
    assert b'"sky; grass"' in page and b'"cobblestones"' in page
    assert b'maskclip-tiny' in page and b'trident-tiny' not in page
    said = f'The page is at http://127.0.0.1:{port}/ until Ctrl-C.\nThe page is closed.\n'
    assert capsys.readouterr() == (said, '')
    with pytest.raises(ConnectionRefusedError):
        request(f'http://127.0.0.1:{port}/', 'GET', '/')
