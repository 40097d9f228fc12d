"""Segments as tables, pictures and COCO files, and the segmenter that finds them."""

from __future__ import annotations

import json
from collections import Counter

import mmcv
import numpy as np
import pytest
import tiny_ovseg
import torch
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO
from scripts import ROOT

from ovseg import OpenVocabSegmenter, SegmentsResult
from ovseg.errors import UserError
from ovseg.regions.mask_segments import Segment
from ovseg.scenes.demo import DEMO_ZOOM, demo_scene
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import MATERIALS, OBJECTS
from ovseg.vocabulary import Vocabulary

WORDS = 'cat; sofa; wall; sky'


def make_result(**changed) -> SegmentsResult:
    ids = np.zeros((4, 5), np.int32)
    ids[:, 2:], ids[0, 0], ids[3, :2] = 1, 2, 3
    fields = {
        'image': np.full((4, 5, 3), 90, np.uint8),
        'ids': ids,
        'segments': (
            Segment(1, 2, 0.95, 12, False, (2, 0, 3, 4)),
            Segment(2, 1, 0.9, 1, True, (0, 0, 1, 1)),
            Segment(3, 1, 0.85, 2, True, (0, 3, 2, 1)),
        ),
        'names': ('background', 'cat', 'sky'),
        'palette': ((0, 0, 0), (255, 0, 0), (0, 255, 0)),
        'stuff': frozenset({2}),
        'background_index': 0,
        'source': 'folder/photo.jpg',
    }
    return SegmentsResult(**{**fields, **changed})


def test_table_lists_each_segment():
    assert make_result().table().splitlines() == [
        'id  class    area  score',
        '--  -----  ------  -----',
        '1   sky    60.0 %  0.950',
        '2   cat     5.0 %  0.900',
        '3   cat    10.0 %  0.850',
    ]
    assert repr(make_result()) == 'SegmentsResult(4 x 5, 3 segments: 1 sky, 2 cat, 3 cat)'


def test_panoptic_files_hold_ids_and_segments(tmp_path):
    result = make_result()
    paths = result.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'photo_overlay.png',
        'photo_panoptic.json',
        'photo_panoptic.png',
    ]
    assert (np.asarray(Image.open(paths['overlay'])) == result.overlay()).all()
    content = json.loads(paths['panoptic'].read_text())
    (annotation,) = content['annotations']
    rgb = np.asarray(Image.open(tmp_path / annotation['file_name'])).astype(int)
    ids = rgb @ [1, 256, 256**2]
    assert (ids == result.ids).all()
    assert annotation['image_id'] == content['images'][0]['id']
    # panopticapi's evaluation stops where picture and list name different segments.
    assert set(np.unique(ids)) - {0} == {each['id'] for each in annotation['segments_info']}
    for each in annotation['segments_info']:
        rows, columns = np.nonzero(ids == each['id'])
        assert each['area'] == len(rows) and each['iscrowd'] == 0
        left, top, width, height = each['bbox']
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
    assert [each['category_id'] for each in annotation['segments_info']] == [3, 2, 2]
    assert content['categories'] == [
        {'id': 2, 'name': 'cat', 'isthing': 1, 'color': [255, 0, 0]},
        {'id': 3, 'name': 'sky', 'isthing': 0, 'color': [0, 255, 0]},
    ]


def test_pycocotools_reads_the_things(tmp_path, capsys):
    result = make_result()
    path = result.save(tmp_path, 'x', what=['instances'])['instances']
    assert path.name == 'x_instances.json'
    coco = COCO(str(path))
    capsys.readouterr()
    assert [each['name'] for each in coco.loadCats(coco.getCatIds())] == ['cat']
    things = coco.loadAnns(coco.getAnnIds(imgIds=coco.getImgIds()))
    assert [each['id'] for each in things] == [2, 3]
    for each in things:
        assert (coco.annToMask(each).astype(bool) == result.mask(each['id'])).all()
        assert each['area'] == result.segments[each['id'] - 1].area
        assert tuple(each['bbox']) == result.segments[each['id'] - 1].box


def test_the_kinds_of_files_are_those_of_the_task(tmp_path):
    with pytest.raises(UserError, match="'panoptic' cannot be saved, use overlay, instances"):
        make_result(task='instance').save(tmp_path, what=['panoptic'])
    with pytest.raises(UserError, match="'labels' cannot be saved"):
        make_result().save(tmp_path, what=['labels'])
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError, match='id 4; there are 3'):
        make_result().mask(4)


# The segmenter ----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def segment(tmp_path_factory):
    folder = tmp_path_factory.mktemp('model')
    torch.save({'model': tiny_ovseg.build(seed=1).to_published()}, folder / 'tiny.pth')
    resize = {'type': 'AntialiasedResize', 'scale': (128, 64)}
    Config({'model': tiny_ovseg.config(), 'resize': resize}).dump(folder / 'tiny.py')
    segment = OpenVocabSegmenter(folder / 'tiny.py', folder / 'tiny.pth', 'cpu')
    logits = torch.full((4, 16, 24), -8.0)
    for query in range(4):
        logits[query, :, 6 * query : 6 * query + 6] = 8.0
    tiny_ovseg.give_masks(segment.model, logits)
    return segment


@pytest.fixture(scope='module')
def image():
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return mmcv.imresize(coarse, (96, 64))


def test_segments_of_images_encoded_or_not(segment, image):
    asked = {'score_threshold': 0, 'overlap_threshold': 0}
    result = segment.segments(image, WORDS, **asked)
    assert result.ids.shape == (64, 96) and result.ids.dtype == np.int32
    assert len(result.segments) == 4 and result.task == 'panoptic'
    assert [(result.ids == each.id).sum() for each in result.segments] == [
        each.area for each in result.segments
    ]
    for again in segment.segments([image, segment.encode(image)], WORDS, **asked):
        assert (again.ids == result.ids).all()
    assert segment.segments(image, WORDS, score_threshold=1.0).segments == ()


def test_instances_are_the_things_of_the_panoptic_segments(segment, image):
    asked = {'score_threshold': 0, 'overlap_threshold': 0}
    names = {each.label for each in segment.segments(image, WORDS, **asked).segments}
    stuff = [WORDS.split('; ')[label] for label in sorted(names)[:1]]
    panoptic = segment.segments(image, WORDS, stuff=stuff, **asked)
    instances = segment.segments(image, WORDS, stuff=stuff, task='instance', **asked)
    things = [each for each in panoptic.segments if each.is_thing]
    assert len(things) < len(panoptic.segments)
    assert [each.box for each in instances.segments] == [each.box for each in things]
    wanted = np.isin(panoptic.ids, [each.id for each in things])
    assert ((instances.ids > 0) == wanted).all()


def test_masks_that_the_background_wins_are_no_segments(segment, image):
    asked = {'score_threshold': 0, 'overlap_threshold': 0}
    words = WORDS.split('; ')
    plain = segment.segments(image, WORDS, **asked)
    out = words[plain.segments[0].label]
    rest = [word for word in words if word != out]
    result = segment.segments(image, rest, background=out, **asked)
    assert result.names == ('background', *rest) and result.background_index == 0
    kept = [words[each.label] for each in plain.segments if words[each.label] != out]
    assert 0 < len(kept) < len(plain.segments)
    assert [result.names[each.label] for each in result.segments] == kept
    # Columns in the middle of those masks that the background won.
    for each in plain.segments:
        if words[each.label] == out:
            assert not result.ids[:, each.box[0] + each.box[2] // 2].any()
    assert 'background' not in [each['name'] for each in result.to_coco_panoptic()['categories']]


def test_several_words_for_the_background_are_one_class_with_scores_up_to_one(segment, image):
    result = segment.segments(
        image, 'cat', background='sofa, wall; sky', score_threshold=0, overlap_threshold=0
    )
    assert result.names == ('background', 'cat')
    assert all(each.label == 1 and 0 < each.score <= 1 for each in result.segments)


def test_stuff_in_any_form_that_words_take(segment, image, tmp_path):
    (tmp_path / 'stuff.txt').write_text('sky\nwall\n')
    forms = ('sky; wall', ['wall', 'sky'], str(tmp_path / 'stuff.txt'))
    for stuff in forms:
        assert segment.segments(image, WORDS, stuff=stuff).stuff == {2, 3}
    for stuff in (None, '', []):
        assert segment.segments(image, WORDS, stuff=stuff).stuff == frozenset()
    # By its first word, whatever its synonyms.
    result = segment.segments(image, 'cat; sky, clouds', stuff='sky')
    assert result.stuff == {1} and result.names == ('cat', 'sky')


def test_regions_of_one_class_stay_apart_unless_it_is_stuff(tmp_path, image):
    regions = np.zeros((64, 96), np.uint8)
    regions[8:24, 8:32], regions[8:24, 64:88], regions[40:, :] = 1, 2, 3
    np.save(tmp_path / 'photo.npy', regions)
    picture = np.full((64, 96, 3), 200, np.uint8)
    picture[regions == 1], picture[regions == 2], picture[regions == 3] = 30, 30, 120
    Image.fromarray(picture).save(tmp_path / 'photo.png')
    model = tiny_ovseg.config(
        backbone=None,
        proposals={
            'type': 'RegionProposals',
            'regions': {'type': 'RegionFolder', 'folder': str(tmp_path)},
        },
        ensemble={'weight': 0.0},
        clip={'model': 'tiny_clip_scenes', 'pretrained': 'embedded'},
        mask_prompts=0,
    )
    Config({'model': model, 'resize': {'scale': (96, 64)}}).dump(tmp_path / 'regions.py')
    segment = OpenVocabSegmenter(tmp_path / 'regions.py', device='cpu')
    asked = {'score_threshold': 0.0}
    star = Vocabulary.parse('star').with_rejection('none')  # no background beside the one class
    apart = segment.segments(tmp_path / 'photo.png', star, **asked)
    assert apart.source.endswith('photo.png') and len(apart.segments) == 3
    boxes = {(8, 8, 24, 16), (64, 8, 24, 16), (0, 40, 96, 24)}
    assert {each.box for each in apart.segments} == boxes
    assert ((apart.ids == 0) == (regions == 0)).all()
    (merged,) = segment.segments(tmp_path / 'photo.png', star, stuff='star', **asked).segments
    assert merged.area == (regions > 0).sum() and not merged.is_thing


def test_the_tiny_clip_names_each_thing_of_given_regions(tmp_path):
    scene = demo_scene()
    half = draw(scene, whole(scene, DEMO_ZOOM))
    # The picture beside its mirror image: two of each thing, an id each; 0 is no region.
    right = half.owner[:, ::-1] + half.owner.max() + 1
    owner = np.concatenate([half.owner, right], 1) + 1
    np.save(tmp_path / 'two.npy', np.pad(owner, ((0, 1), (0, 0))))
    picture = np.concatenate([half.image, half.image[:, ::-1]], 1)
    Image.fromarray(np.pad(picture, ((0, 1), (0, 0), (0, 0)))).save(tmp_path / 'two.png')
    base = ROOT / 'configs/ovseg/ovseg_tiny.py'
    (tmp_path / 'regions.py').write_text(
        f'_base_ = {str(base)!r}\n'
        f'regions = dict(type="RegionFolder", folder={str(tmp_path)!r})\n'
        'proposals = dict(_delete_=True, type="RegionProposals", regions=regions)\n'
        'model = dict(backbone=None, proposals=proposals)\n'
    )
    words = [*MATERIALS, *OBJECTS]
    result = OpenVocabSegmenter(tmp_path / 'regions.py', device='cpu', on='images').segments(
        tmp_path / 'two.png', words, stuff=list(MATERIALS), task='instance', score_threshold=0.5
    )
    wanted = Counter(OBJECTS[thing.kind] for thing in scene.things + scene.things)
    named = Counter(result.names[each.label] for each in result.segments)
    assert (named & wanted).total() >= 12 and named.total() <= 14


def test_memory_that_runs_out_gives_smaller_strips(segment, image, monkeypatch):
    find, tried = segment.model.find_segments, []

    def in_little_memory(*args, budget, **settings):
        tried.append(budget.megabytes)
        if len(tried) == 1:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (simulated).')
        return find(*args, budget=budget, **settings)

    monkeypatch.setattr(segment.model, 'find_segments', in_little_memory)
    assert segment.segments(image, WORDS).ids.shape == (64, 96)
    assert tried[1] == tried[0] / 4


@pytest.mark.parametrize(
    ('asked', 'message'),
    [
        ({'stuff': 'sky; wal'}, "stuff 'wal' is none of .* Did you mean 'wall'"),
        ({'task': 'panoptics'}, "got 'panoptics'. Did you mean 'panoptic'"),
        ({'score_threshold': 7}, 'score_threshold must be a number from 0 to 1'),
    ],
)
def test_what_cannot_be_asked_is_explained(segment, image, asked, message):
    with pytest.raises(UserError, match=message):
        segment.segments(image, WORDS, **asked)


def test_a_model_without_proposals_says_what_to_do(image):
    with pytest.raises(UserError, match='proposes no masks.*such as ovseg-tiny.*--task semantic'):
        OpenVocabSegmenter(device='cpu').segments(image, WORDS)
