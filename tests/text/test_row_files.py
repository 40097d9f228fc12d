"""Files of text embeddings say whose they are, and are checked where they are used."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ovseg import OpenVocabSegmenter
from ovseg.apis.building import build_model
from ovseg.config_files import read_config
from ovseg.errors import Notice, UserError
from ovseg.text.row_files import ReadyRows, read_row_file, rows_of_classes, write_row_file
from ovseg.vocabulary import Vocabulary

NAMES = ('sky', 'Traffic Light', 'grass')
ROWS = ReadyRows(torch.eye(3, 5), NAMES, 'space-1')


@pytest.mark.parametrize('name', ['rows.safetensors', 'rows_clip_text.pth'])
def test_names_and_text_model_are_in_the_file(tmp_path, name):
    back = read_row_file(write_row_file(ROWS, tmp_path / name))
    assert back.names == NAMES and back.space == 'space-1' and torch.equal(back.weight, ROWS.weight)
    with pytest.raises(UserError, match='give their names'):
        write_row_file(ReadyRows(ROWS.weight), tmp_path / name)
    assert read_row_file(tmp_path / name).names == NAMES


def test_rows_go_by_name_in_any_order():
    chosen = rows_of_classes(ROWS, Vocabulary.parse('grass; traffic_light; sky'), 'space-1')
    assert torch.equal(chosen, ROWS.weight[[2, 1, 0]])
    assert torch.equal(rows_of_classes(ROWS, Vocabulary.parse('grass')), ROWS.weight[2:])
    rejecting = Vocabulary.parse('grass; sky', 'threshold=0.1')  # its background has no words
    assert torch.equal(rows_of_classes(ROWS, rejecting), ROWS.weight[[2, 0]])


def test_rows_of_other_classes_or_of_another_model_are_refused():
    with pytest.raises(UserError, match=r"2 of the vocabulary .* such as 'gras'.*mean 'grass'"):
        rows_of_classes(ROWS, Vocabulary.parse('gras; sky; road'))
    with pytest.raises(UserError, match="of the text model 'space-1', and .* has 'space-2'"):
        rows_of_classes(ROWS, Vocabulary.parse('sky'), 'space-2')


@pytest.mark.parametrize(
    'names', [['sky', 'grass'], ['sky', 'SKY', 'grass'], ['sky', 3, 'grass'], 'no list', 7]
)
def test_names_that_do_not_fit_the_rows_are_told(tmp_path, names):
    torch.save({'text_embeddings': ROWS.weight, 'classes': names}, tmp_path / 'rows.pth')
    with pytest.raises(UserError, match='3 rows, and its .classes. are not so many different'):
        read_row_file(tmp_path / 'rows.pth')


def test_rows_without_names_load_with_one_sentence(tmp_path):
    torch.save(ROWS.weight.half(), tmp_path / 'voc_clip_text.pth')
    save_file({'text_embeddings': ROWS.weight}, tmp_path / 'rows.safetensors')
    for name in ('voc_clip_text.pth', 'rows.safetensors'):
        rows = read_row_file(tmp_path / name)
        assert rows.names is None and rows.weight.dtype == torch.float32
        with pytest.warns(Notice, match='taken for sky, road, sea in this order') as told:
            assert torch.equal(
                rows_of_classes(rows, Vocabulary.parse('sky; road; sea')), ROWS.weight
            )
        assert len(told) == 1
    torch.save({'rows': ROWS.weight}, tmp_path / 'dict.pth')
    with pytest.raises(UserError, match='one floating tensor'):
        read_row_file(tmp_path / 'dict.pth')


def test_a_config_takes_named_rows_and_answers_by_them_through_every_door(tmp_path):
    config = read_config('maskclip_tiny.py', 'scenes')
    config.model.vocabulary = 'grass; sky'
    words = build_model(config)
    weight = words.classifier.weight[[1, 1]].cpu()  # both classes look like the sky
    space = words.text.space
    path = write_row_file(
        ReadyRows(weight + torch.tensor([[0.0], [1e-3]]), ('sky', 'grass'), space),
        tmp_path / 'rows.safetensors',
    )
    config.model.text.embeddings = str(path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = build_model(config)
    assert torch.equal(model.classifier.weight.cpu(), read_row_file(path).weight.flip(0))
    config.dump(tmp_path / 'config.py')
    segment = OpenVocabSegmenter(tmp_path / 'config.py', device='cpu', precision='float32')
    vocabulary, asked = segment.question()
    assert torch.equal(asked.weight, model.classifier.weight) and vocabulary.names[-1] == 'sky'
    _, rejecting = segment.question(None, None, 0.2)
    assert not np.array_equal(asked.weight, segment.question('sky; grass')[1].weight)
    assert rejecting.num_classes == 3 and torch.equal(rejecting.weight, asked.weight)
    write_row_file(ReadyRows(weight, ('sky', 'grass'), 'another'), path)
    with pytest.raises(UserError, match="text model 'another'"):
        build_model(config)
