"""``ovseg templates``: a ranking from pictures, resumed and used."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from ovseg.apis import OpenVocabSegmenter
from ovseg.apis.template_ranking import rank_templates, single_template_classifiers
from ovseg.cli.templates import main
from ovseg.errors import UserError
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene
from ovseg.text.experts import read_ranking

WORDS = 'sky; grass; water'
TEMPLATES = ['a photo of a {}.', '{}', 'an image with {}']


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for index in range(2):
        Image.fromarray(draw(sample_scene('val', index)).image).save(folder / f'{index}.png')
    return folder


@pytest.fixture(scope='module')
def segment():
    return OpenVocabSegmenter('maskclip-tiny', device='cpu', templates=TEMPLATES)


def test_a_run_that_was_killed_goes_on_to_the_same_ranking(photos, segment, tmp_path):
    images = sorted(map(str, photos.glob('*.png')))
    whole = rank_templates(segment, images, WORDS, tmp_path / 'whole.json')
    rank_templates(segment, images[:1], WORDS, tmp_path / 'part.json')
    encoded = []
    seen = type(segment).encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(segment), 'encode', lambda s, i: encoded.append(i) or seen(s, i))
        resumed = rank_templates(segment, images, WORDS, tmp_path / 'part.json')
    assert encoded == images[1:]
    assert resumed.classes == whole.classes and whole.split == '2 images'
    with pytest.raises(UserError, match='another model, other words or templates'):
        rank_templates(segment, images, 'sky; wall', tmp_path / 'part.json')
    joined = OpenVocabSegmenter(
        'maskclip-tiny', device='cpu', templates=TEMPLATES, text={'combine': 'joined'}
    )
    with pytest.raises(UserError, match='another model, other words or templates'):
        rank_templates(joined, images, WORDS, tmp_path / 'part.json')

    # Against the definition, from whole probability maps.
    vocabulary, _ = segment.question(WORDS)
    sums, pixels = torch.zeros(3, 3), torch.zeros(3, 3)
    for image in images:
        encoding = segment.encode(image)
        for number, classifier in enumerate(single_template_classifiers(segment, vocabulary)):
            shares = segment.model.segment(
                encoding.encoding, encoding.image.shape[:2], classifier, keep_scores=True
            ).scores
            entropy = -(shares * (shares + 1e-10).log()).sum(0)
            for label in range(3):
                own = shares.argmax(0) == label
                sums[number, label] += entropy[own].sum()
                pixels[number, label] += own.sum()
    mean = torch.where(pixels > 0, sums / pixels, torch.inf)
    for label, name in enumerate(('sky', 'grass', 'water')):
        ranked = whole.classes[name]
        assert [each.template for each in ranked] == mean[:, label].argsort()[
            : len(ranked)
        ].tolist()
        assert ranked[0].entropy == pytest.approx(float(mean[:, label].min()), rel=1e-4)


def test_the_command_writes_what_experts_take(photos, tmp_path, capsys):
    templates = tmp_path / 'templates.txt'
    templates.write_text('\n'.join(TEMPLATES), encoding='utf-8')
    out = tmp_path / 'ranking.json'
    arguments = [str(photos), WORDS, str(out), '--template-set', str(templates)]
    assert main(arguments) == 0
    assert f'ranking {out}' in capsys.readouterr().out
    assert json.loads(out.read_text())['model'] == 'maskclip-tiny'
    ranking = read_ranking(out)
    assert set(ranking.classes) == {'sky', 'grass', 'water'}
    other = OpenVocabSegmenter('maskclip-tiny', templates=TEMPLATES, text={'experts': out})
    assert other.question(WORDS)[1].experts
    moved = [TEMPLATES[1], TEMPLATES[0], TEMPLATES[2]]
    with pytest.raises(UserError, match=r"'a photo of a \{\}.' is '\{\}' here"):
        OpenVocabSegmenter('maskclip-tiny', templates=moved, text={'experts': out}).question(WORDS)
    state = out.with_name('ranking.part.json')
    content = json.loads(state.read_text())
    state.write_text(json.dumps({**content, 'sums': [1.0]}))
    with pytest.raises(UserError, match='ranking.part.json is damaged'):
        main(arguments)
    with pytest.raises(UserError, match='OUT must end in .json'):
        main([str(photos), WORDS, str(tmp_path / 'ranking.txt')])


def test_models_that_name_masks_have_no_templates_to_rank():
    with pytest.raises(UserError, match='does not score pixels by sentences'):
        single_template_classifiers(OpenVocabSegmenter('ovseg-tiny'), None)
