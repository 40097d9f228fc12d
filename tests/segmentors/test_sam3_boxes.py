"""Boxes in an image as examples of a class: what is asked again, and what is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_sam3_segmentors import encoded, tiny_sam3_segmentor
from tiny_sam3s import TINY_SAM3

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.images.windows import cut_windows

pytest.importorskip('transformers', minversion='5.12')
SIZE = (50, 71)
CAT, OTHER = (5, 5, 30, 40), (40, 10, 70, 45)


@pytest.fixture(scope='module')
def model():
    return tiny_sam3_segmentor(fusion={'confidence': 0.1})


@pytest.fixture
def passes(model, monkeypatch):
    """Phrases of each pass through the network, and its prompt tokens of boxes."""
    found, ask = [], model.sam3.ask

    def counted(features, phrases, wanted, keep_above, shown=None):
        found.append((len(phrases), None if shown is None else shown.shape[1]))
        return ask(features, phrases, wanted, keep_above, shown)

    monkeypatch.setattr(model.sam3, 'ask', counted)
    return found


def scores(model, encoding):
    return model.segment(encoding, SIZE, keep_scores=True).scores


def test_boxes_cost_the_phrases_of_their_class_and_change_no_other(model, passes):
    plain = encoded(model, SIZE)
    before = scores(model, plain)
    shown = model.show(plain, 'cat', [CAT], [OTHER])
    after = scores(model, shown)
    # Two words of the cat, each with two boxes and the token of the image.
    assert passes == [(5, None), (2, 3)]
    assert torch.equal(after[1:], before[1:]) and not torch.allclose(after[0], before[0])
    assert torch.equal(scores(model, plain), before)
    assert len(passes) == 2  # nothing is asked twice, with boxes or without
    # What is good and what is bad is not the same, and new boxes replace those of before.
    turned = scores(model, model.show(shown, 'cat', [OTHER], [CAT]))
    assert not torch.allclose(turned[0], after[0])


def test_boxes_alone_are_asked_once_whatever_the_class_is_called(model, passes):
    plain = encoded(model, SIZE)
    cat = scores(model, model.show(plain, 'cat', [CAT], with_words=False))[0]
    wall = scores(model, model.show(plain, 'wall', [CAT], with_words=False))[2]
    assert passes == [(3, None), (1, 2), (2, None)] and torch.equal(cat, wall)


def test_tokens_of_boxes_are_those_of_the_whole_model(model):
    from transformers import Sam3Model  # the forward pass to compare with

    plain = encoded(model, SIZE)
    answers = model._answers.of(model.show(plain, 'sofa', [CAT], [OTHER]))
    shown = model.show(plain, 'sofa', [CAT], [OTHER])
    scores(model, shown)
    boxes, labels = shown.shown[0][1].tensors(plain.features.geometry)
    row = model.classifier.class_index.tolist().index(1)
    phrase = model.classifier.asked[row : row + 1]
    own = model.sam3.ask(
        plain.features, phrase, shown=model.sam3.box_tokens(plain.features, boxes, labels)
    )
    assert isinstance(model.sam3.model, Sam3Model) and len(answers.windows) == 1
    pixels = cut_windows(plain.image[None], plain.boxes)
    from ovseg.encoders.sam3_concepts import square_pixels

    with torch.no_grad():
        text = model.sam3.model.get_text_features(
            input_ids=model.sam3._tokenizer(['sofa']),
            attention_mask=phrase.mask.long(),
        )
        whole = model.sam3.model(
            pixel_values=square_pixels(pixels, model.image_size),
            text_embeds=text,
            attention_mask=phrase.mask.long(),
            input_boxes=boxes,
            input_boxes_labels=labels,
        )
    assert torch.allclose(own.semantic, whole.semantic_seg[:, 0], atol=1e-4)
    assert torch.allclose(own.presence, whole.presence_logits[:, 0], atol=1e-4)


def test_what_is_shown_is_asked_whatever_a_preview_says():
    model = tiny_sam3_segmentor(preview={'size': 28, 'alpha': 0.0, 'at_most': 1})
    plain = encoded(model, SIZE)
    kept = model.active(plain, model.classifier).tolist()
    assert len(kept) == 1
    label = 3 if model.classifier.class_index[kept[0]] != 3 else 1
    name = model.vocabulary.names[label]
    rows = model.active(model.show(plain, name, [CAT]), model.classifier)
    assert model.classifier.class_index[rows].unique().tolist() == sorted(
        {label, int(model.classifier.class_index[kept[0]])}
    )


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('cat', [], []), 'at least one box'),
        (('cat', [(90, 5, 99, 9)]), 'no pixel of the image'),
        (('cat', [(1, 2, 3)]), 'four numbers'),
        (('cat', [], [CAT], None, False), 'need words or a box of what is'),
    ],
)
def test_boxes_that_say_nothing_are_refused(model, arguments, said):
    with pytest.raises(UserError, match=said):
        model.show(encoded(model, SIZE), *arguments)


def test_boxes_of_other_words_and_in_windows_are_refused(model):
    shown = model.show(encoded(model, SIZE), 'catt', [CAT])
    with pytest.raises(UserError, match=r"'catt', which is none .* mean 'cat'"):
        scores(model, shown)
    sliding = tiny_sam3_segmentor(
        test_cfg={'mode': 'slide', 'crop_size': (28, 28), 'stride': (28, 28)}
    )
    with pytest.raises(UserError, match='windows'):
        sliding.show(encoded(sliding, SIZE), 'cat', [CAT])


def test_the_python_interface_shows_boxes_to_models_that_take_them(tmp_path):
    config = tmp_path / 'tiny.py'
    model = {
        'type': 'SAM3Segmentor',
        'sam3': {'model': TINY_SAM3, 'pretrained': 'random'},
        'text': {'cache_dir': None},
    }
    config.write_text(f'model = {model}\ntest_pipeline = []\n', encoding='utf-8')
    segment = OpenVocabSegmenter(config, device='cpu')
    image = segment.encode(np.zeros((*SIZE, 3), np.uint8))
    shown = segment.show(image, 'cat', [CAT], absent=[OTHER])
    assert shown.encoding.shown[0][1].labels == (1, 0) and not image.encoding.shown
    assert segment.segment(shown, 'cat; sofa').labels.shape == SIZE
    assert segment.segments(shown, 'cat; sofa', stuff='sofa').ids.shape == SIZE
    plain = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    with pytest.raises(UserError, match='maskclip-tiny takes no boxes in the image'):
        plain.show(np.zeros((64, 64, 3), np.uint8), 'star', [(1, 1, 9, 9)])
