from __future__ import annotations

import pytest

from ovseg.vocabulary import build_vocabulary
from ovseg.vocabulary.protocols import list_protocols, protocol_words

COUNTS = {
    'voc20': 20,
    'voc21': 21,
    'context59': 59,
    'context60': 60,
    'context459': 459,
    'coco_object': 81,
    'coco_stuff164k': 171,
    'cityscapes': 19,
    'ade20k': 150,
    'ade847': 847,
}


def test_there_are_words_for_all_ten_sets_and_all_protocols():
    protocols = list_protocols()
    assert set(COUNTS) <= set(protocols)
    for name in ('voc20', 'context59', 'coco_stuff164k', 'cityscapes', 'ade20k'):
        assert 'maskclip' in protocols[name]
    for name in COUNTS:
        assert {'corrclip_v2', 'trident', 'proxyclip'} <= set(protocols[name])


@pytest.mark.parametrize('name', COUNTS)
def test_every_protocol_has_words_for_every_class(name):
    for protocol in list_protocols()[name]:
        _, words, _ = protocol_words(name, protocol)
        assert len(words) == COUNTS[name]
        assert all(prompt.strip() for prompts in words for prompt in prompts)


@pytest.mark.parametrize(
    'name, protocol, index, words',
    [
        ('ade20k', 'maskclip', 7, ('bed ',)),
        ('ade847', 'ovseg', 1, ('building, edifice',)),
        ('ade847', 'ovseg', 300, ("altar, communion table, lord's table",)),
        ('ade847', 'trident', 300, ('altar, communion table, lords table',)),
        ('context60', 'proxyclip', 59, ('wood ',)),
        ('context59', 'ovseg', 1, ('bicycle',)),
        ('context59', 'maskclip', 1, ('bag',)),
        ('voc20', 'maskclip', 19, ('tv monitor',)),
        ('coco_object', 'corrclip_v1', 1, ('people',)),
        ('voc21', 'clearclip', 0, ('background',)),
        ('voc21', 'clearclip', 4, ('ship',)),
        ('coco_object', 'clearclip', 0, ('background',)),
        ('cityscapes', 'clearclip', 6, ('trafficlight',)),
        ('context60', 'clearclip', 59, ('wood ',)),
    ],
)
def test_traps_stay_as_published(name, protocol, index, words):
    assert protocol_words(name, protocol)[1][index] == words


def test_no_name_of_a_data_set_occurs_twice():
    for name in COUNTS:
        names, _, _ = protocol_words(name, 'mmseg_metainfo')
        assert len(set(names)) == len(names)


def test_words_in_another_order_than_the_labels_keep_their_own_names():
    names, words, _ = protocol_words('context59', 'ovseg')
    assert list(names) == [prompts[0] for prompts in words]
    assert names != protocol_words('context59', 'mmseg_metainfo')[0]
    assert protocol_words('context59', 'maskclip')[0] == protocol_words('context59', 'sclip')[0]


@pytest.mark.parametrize('protocol', ['ovseg', 'maskclip'])
def test_words_are_put_in_the_order_of_the_labels_on_request(protocol):
    entry = {'dataset': 'context59', 'protocol': protocol}
    ordered = build_vocabulary({**entry, 'in_label_order': True})
    assert ordered.names == protocol_words('context59', 'mmseg_metainfo')[0]
    given = {item.name: item.prompts for item in build_vocabulary(entry)}
    assert {item.name: item.prompts for item in ordered} == given
