"""Scenes: determinism, splits, labels that match the picture, captions that name what is seen."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ovseg.errors import UserError
from ovseg.scenes import (
    SceneCaptionsDataset,
    ScenesDataset,
    ScenesFolderDataset,
    ScenesHeldoutDataset,
    ScenesPhrasesDataset,
)
from ovseg.scenes.captions import CAPTION_WORDS, describe, visible
from ovseg.scenes.datasets import (
    CLASSES,
    HELDOUT_CLASSES,
    PHRASE_CLASSES,
    PHRASE_PAIRS,
    class_labels,
    class_names,
    phrase_labels,
)
from ovseg.scenes.demo import demo_scene
from ovseg.scenes.draw import Camera, draw, whole
from ovseg.scenes.sprites import SPRITE, sprite
from ovseg.scenes.textures import TILE, texture
from ovseg.scenes.views import sample_view
from ovseg.scenes.world import (
    COLORS,
    HELDOUT,
    MATERIALS,
    OBJECTS,
    SEEN_PARTNER,
    SPLITS,
    Scene,
    Thing,
    allowed_pairs,
    sample_scene,
)

ROOT = Path(__file__).resolve().parents[2]
NEUTRAL = (1.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def _ovseg_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


def pairs_of(scene):
    return {(OBJECTS[thing.kind], list(COLORS)[thing.color]) for thing in scene.things}


def test_the_world_is_large_enough():
    assert len(MATERIALS) >= 6
    assert len(OBJECTS) >= 10
    assert len(COLORS) == 8
    assert len(CLASSES) == len(MATERIALS) + len(OBJECTS)


def test_a_scene_is_a_function_of_split_number_and_seed():
    first, again = sample_scene('val', 5, 3), sample_scene('val', 5, 3)
    assert first == again
    assert np.array_equal(draw(first).image, draw(again).image)
    others = [sample_scene('val', 6, 3), sample_scene('val', 5, 4), sample_scene('train', 5, 3)]
    assert all(first != other for other in others)


def test_training_and_validation_never_show_a_heldout_pair():
    for split in ('train', 'val'):
        seen = set().union(*(pairs_of(sample_scene(split, i)) for i in range(400)))
        assert not seen & set(HELDOUT.items())
        assert len(seen) == 70  # every other pair turns up


def test_heldout_shows_nothing_but_heldout_pairs_and_phrases_their_partners_too():
    heldout = set().union(*(pairs_of(sample_scene('heldout', i)) for i in range(60)))
    assert heldout == set(HELDOUT.items())
    phrases = set().union(*(pairs_of(sample_scene('phrases', i)) for i in range(120)))
    assert phrases == set(PHRASE_PAIRS)
    assert not set(HELDOUT.items()) & set(SEEN_PARTNER.items())


def test_every_heldout_word_is_known_from_other_pairs():
    colors = list(COLORS)
    train = {(OBJECTS[kind], colors[color]) for kind, color in allowed_pairs('train')}
    for kind, color in HELDOUT.items():
        assert any(k == kind for k, _ in train)
        assert any(c == color for _, c in train)


def test_captions_of_training_views_never_name_a_heldout_pair():
    forbidden = {f'{color} {kind}' for kind, color in HELDOUT.items()}
    for index in range(600):
        text = sample_view(index, size=32).caption.text
        assert not [phrase for phrase in forbidden if phrase in text]


def test_captions_name_only_what_is_visible_and_use_only_listed_words():
    named = Counter()
    for index in range(200):
        view = sample_view(index, size=48)
        assert set(view.caption.text.split()) <= set(CAPTION_WORDS)
        for kind, color in view.caption.content:
            named[kind] += 1
            if kind < 0:
                phrase = MATERIALS[color]
            else:
                phrase = OBJECTS[kind] if color < 0 else f'{list(COLORS)[color]} {OBJECTS[kind]}'
            assert phrase in view.caption.text
    assert set(named) == {-1, *range(len(OBJECTS))}


def test_grey_pictures_are_told_without_colours():
    views = [sample_view(index, size=32, grey=0.5) for index in range(60)]
    is_grey = [bool((view.image == view.image[..., :1]).all()) for view in views]
    assert 15 < sum(is_grey) < 45
    for view, grey in zip(views, is_grey, strict=True):
        if grey:
            assert not set(COLORS) & set(view.caption.text.split())
    assert any(set(COLORS) & set(view.caption.text.split()) for view in views)


def test_visible_leaves_out_what_the_camera_does_not_see():
    thing = Thing(0, 4, (40.0, 40.0), 50.0, 0.0, False, NEUTRAL)
    scene = Scene((192, 192), sample_scene('val', 0).regions[:1], (thing,))
    near = draw(scene, Camera(8.0, 8.0, (64, 64), 1.0))
    assert visible(scene, near)[1] == [(0, 4)]
    away = draw(scene, Camera(120.0, 120.0, (64, 64), 1.0))
    assert visible(scene, away)[1] == []
    assert describe(scene, away) == MATERIALS[scene.regions[0].material]


def test_views_are_the_same_in_any_order_and_process():
    data = SceneCaptionsDataset(num_views=10, size=32)
    late_first = [data[i] for i in (7, 2)]
    again = [data[2], data[7]]
    assert (late_first[0]['inputs'] == again[1]['inputs']).all()
    assert late_first[0]['caption'] == again[1]['caption']
    assert set(data[0]) == {'inputs', 'caption', 'meaning'}  # nothing about places


@pytest.mark.parametrize('color', range(len(COLORS)))
@pytest.mark.parametrize('kind', range(len(OBJECTS)))
def test_an_object_shows_its_colour_under_its_mask(kind, color):
    # On a black and on a white ground: what differs is not under the mask.
    thing = Thing(kind, color, (60.0, 60.0), 90.0, 20.0, True, NEUTRAL)
    region = sample_scene('val', 0).regions[0]
    dark = Scene((120, 120), (_tinted(region, 0.0),), (thing,))
    light = Scene((120, 120), (_tinted(region, 9.0),), (thing,))
    pictures = draw(dark), draw(light)
    mask = pictures[0].owner == len(MATERIALS)
    assert 0.1 < mask.mean() < 0.5
    difference = np.abs(pictures[0].image.astype(int) - pictures[1].image).max(2)
    inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
    assert difference[inside].max() <= 2
    assert difference[~cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))).astype(bool)].min() > 200
    # The nearest of the eight colours to the saturated part of the object is its own.
    pixels = pictures[0].image[inside].astype(float)
    distance = np.linalg.norm(pixels[:, None] - np.array(list(COLORS.values()))[None], axis=2)
    votes = np.bincount(distance.argmin(1)[distance.min(1) < 40], minlength=len(COLORS))
    assert votes.argmax() == color


def _tinted(region, factor):
    return type(region)(**{**vars(region), 'tint': (factor,) * 3})


def test_materials_differ_in_mean_colour_under_their_masks():
    sums, counts = np.zeros((len(MATERIALS), 3)), np.zeros(len(MATERIALS))
    for index in range(40):
        picture = draw(sample_scene('val', index))
        for material in range(len(MATERIALS)):
            pixels = picture.image[picture.owner == material]
            sums[material] += pixels.sum(0)
            counts[material] += len(pixels)
    means = dict(zip(MATERIALS, sums / counts[:, None], strict=True))
    assert means['grass'].argmax() == 1
    assert means['sky'].argmax() == 2
    assert means['brick wall'].argmax() == 0
    assert means['snow'].min() > 200


def test_labels_are_crisp_and_follow_the_drawing_order():
    lower = Thing(2, 0, (50.0, 50.0), 60.0, 0.0, False, NEUTRAL)
    upper = Thing(9, 4, (70.0, 50.0), 60.0, 0.0, False, NEUTRAL)
    scene = Scene((100, 120), sample_scene('val', 0).regions[:1], (lower, upper))
    labels = class_labels(scene, draw(scene))
    assert labels[50, 60] == CLASSES.index(OBJECTS[9])
    assert labels[50, 25] == CLASSES.index(OBJECTS[2])
    assert set(np.unique(labels)) == {
        scene.regions[0].material,
        CLASSES.index(OBJECTS[2]),
        CLASSES.index(OBJECTS[9]),
    }


def test_a_camera_sees_the_same_world_larger():
    scene = sample_scene('val', 4)
    near = draw(scene, whole(scene, 2.0))
    far = draw(scene)
    assert near.image.shape == (384, 384, 3)
    assert (near.owner[::2, ::2] == far.owner).mean() > 0.97


def test_the_hole_of_a_donut_is_not_donut():
    alpha = sprite(OBJECTS.index('donut'), 0)[..., 3]
    assert alpha[SPRITE // 2, SPRITE // 2] == 0
    assert alpha[SPRITE // 2, SPRITE // 6] == 255


@pytest.mark.parametrize('material', range(len(MATERIALS)))
def test_textures_repeat_without_a_seam(material):
    tile = texture(material).astype(float)
    assert tile.shape == (TILE, TILE, 3)
    for axis in (0, 1):
        steps = np.abs(np.diff(tile, axis=axis)).mean((1 - axis, 2))
        seam = np.abs(tile.take(0, axis) - tile.take(-1, axis)).mean()
        assert seam <= 1.2 * steps.max()


def test_the_dataset_draws_what_mmseg_wants():
    data = ScenesDataset(num_scenes=3, size=(64, 96))
    sample = data[1]
    assert len(data) == 3
    assert sample['inputs'].shape == (3, 64, 96)
    labels = sample['data_samples'].gt_sem_seg.data
    assert labels.shape == (1, 64, 96)
    scene = sample_scene('val', 1, 0, (64, 96))
    picture = draw(scene)
    assert np.array_equal(labels[0].numpy(), class_labels(scene, picture))
    assert np.array_equal(sample['inputs'].numpy()[::-1].transpose(1, 2, 0), picture.image)
    assert data.metainfo['classes'] == CLASSES
    assert len({tuple(color) for color in data.metainfo['palette']}) == len(CLASSES)


def test_a_resized_picture_keeps_its_labels():
    data = ScenesDataset(num_scenes=1, size=(64, 96), resize=dict(scale=[48, 32], keep_ratio=True))
    sample = data[0]
    assert sample['inputs'].shape == (3, 32, 48)
    assert sample['data_samples'].ori_shape == (64, 96)
    labels = sample['data_samples'].gt_sem_seg.data
    assert (
        labels == ScenesDataset(num_scenes=1, size=(64, 96))[0]['data_samples'].gt_sem_seg.data
    ).all()


def test_a_part_of_the_classes_has_its_own_numbers_and_the_rest_is_ignored():
    part = ['water', 'sky', 'ball']
    data = ScenesDataset(num_scenes=30, size=(96, 96), metainfo=dict(classes=part))
    whole = ScenesDataset(num_scenes=30, size=(96, 96))
    seen = set()
    for sample, other in zip(data, whole, strict=True):
        labels, every = (s['data_samples'].gt_sem_seg.data[0].numpy() for s in (sample, other))
        names = np.array([*CLASSES])[every]
        wanted = np.full(labels.shape, 255)
        for number, name in enumerate(part):
            wanted[names == name] = number
        assert np.array_equal(labels, wanted)
        seen |= set(np.unique(labels).tolist())
    assert seen == {0, 1, 2, 255}


def test_classes_can_be_left_out_of_all_pictures():
    absent = ['sky', 'donut', 'leaf']
    data = ScenesDataset('train', num_scenes=25, without=absent)
    numbers = [recipe['scene']['index'] for recipe in (data.get_data_info(i) for i in range(25))]
    assert numbers == sorted(set(numbers)) and numbers[-1] > 24
    for number in range(numbers[-1] + 1):
        held = set(class_names(sample_scene('train', number)))
        assert (number in numbers) == (not held & set(absent))
    labels = data[3]['data_samples'].gt_sem_seg.data
    assert not np.isin(labels, [CLASSES.index(name) for name in absent]).any()
    with pytest.raises(UserError, match='name fewer classes'):
        ScenesDataset(without=CLASSES)


def test_scenes_of_few_kinds_have_several_things_of_one():
    kinds = [
        {thing.kind for thing in sample_scene('train', i, few_kinds=1.0).things} for i in range(20)
    ]
    assert max(map(len, kinds)) == 2
    data = ScenesDataset('train', num_scenes=20, few_kinds=1.0)
    recipes = [dict(data.get_data_info(i)['scene']) for i in range(20)]
    assert all(recipe['few_kinds'] == 1.0 for recipe in recipes)
    assert sample_scene('train', 7, few_kinds=0.0) == sample_scene('train', 7)


def test_heldout_classes_are_the_phrases_of_their_objects():
    data = ScenesHeldoutDataset(num_scenes=2)
    assert data.metainfo['classes'] == HELDOUT_CLASSES
    plain = ScenesDataset(split='heldout', num_scenes=2)
    for phrase, kind in zip(HELDOUT_CLASSES[len(MATERIALS) :], OBJECTS, strict=True):
        assert phrase == f'{HELDOUT[kind]} {kind}'
    labels = [d[1]['data_samples'].gt_sem_seg.data for d in (data, plain)]
    assert (labels[0] == labels[1]).all()
    with pytest.raises(UserError, match="one split, 'heldout'"):
        ScenesHeldoutDataset(split='val')


def test_phrases_are_classes_of_their_own():
    data = ScenesPhrasesDataset(num_scenes=4)
    assert data.metainfo['classes'] == PHRASE_CLASSES
    assert 'red star' in PHRASE_CLASSES and 'blue star' in PHRASE_CLASSES
    assert len({tuple(color) for color in data.metainfo['palette']}) == len(PHRASE_CLASSES)
    labels = data[0]['data_samples'].gt_sem_seg.data.numpy()[0]
    scene = sample_scene('phrases', 0)
    picture = draw(scene)
    for number, thing in enumerate(scene.things):
        found = set(labels[picture.owner == len(MATERIALS) + number].tolist())
        phrase = f'{list(COLORS)[thing.color]} {OBJECTS[thing.kind]}'
        assert found <= {PHRASE_CLASSES.index(phrase)}
    with pytest.raises(ValueError, match="use the split 'phrases'"):
        crowded = next(s for s in (sample_scene('train', i) for i in range(50)) if len(s.things))
        phrase_labels(crowded, draw(crowded))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(split='vall'), "Did you mean 'val'"),
        (dict(num_scenes=0), 'must be positive'),
        (dict(without=['kyte']), "Did you mean 'kite'"),
        (dict(size=(0, 10)), 'must be positive'),
        (dict(few_kinds=1.5), 'few_kinds must be in'),
    ],
)
def test_wrong_arguments_are_explained(arguments, message):
    with pytest.raises(UserError, match=message):
        ScenesDataset(**arguments)


def test_unknown_split_of_a_scene():
    with pytest.raises(ValueError, match='split must be one of'):
        sample_scene('test', 0)
    assert len(set(SPLITS.values())) == len(SPLITS)


@pytest.mark.parametrize(
    'name', ['scenes', 'scenes_heldout', 'scenes_heldout_plain', 'scenes_phrases']
)
def test_configs_build(name):
    from ovseg.registry import DATASETS

    config = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    metrics = [metric.type for metric in config.test_evaluator]
    assert metrics == ['OVIoUMetric', 'BoundaryIoUMetric']
    data = DATASETS.build({**config.test_dataloader.dataset, 'num_scenes': 2})
    assert data[0]['inputs'].shape == (3, 192, 192)


class TestWriter:
    @pytest.fixture(scope='class')
    def make_scenes(self):
        import importlib.util

        spec = importlib.util.spec_from_file_location('make_scenes', ROOT / 'tools/make_scenes.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    ARGUMENTS = (
        *('--training', '3', '--validation', '2', '--heldout', '1', '--phrases', '1'),
        *('--size', '48', '64'),
    )

    def test_a_written_folder_reads_back(self, make_scenes, tmp_path):
        assert make_scenes.main([str(tmp_path), *self.ARGUMENTS]) == 0
        data = ScenesFolderDataset(
            data_root=str(tmp_path),
            data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadSegLabels'),
                dict(type='PackSegInputs'),
            ],
        )
        drawn = ScenesDataset(num_scenes=2, size=(48, 64))
        assert len(data) == 2
        for read, fresh in zip(data, drawn, strict=True):
            assert (read['inputs'] == fresh['inputs']).all()
            labels = [s['data_samples'].gt_sem_seg.data.int() for s in (read, fresh)]
            assert (labels[0] == labels[1]).all()
        captions = json.loads((tmp_path / 'captions.json').read_text())
        assert len(captions) == 7
        assert all((tmp_path / name).is_file() for name in captions)

    def test_a_second_run_completes_and_keeps_what_is_there(self, make_scenes, tmp_path):
        make_scenes.main([str(tmp_path), *self.ARGUMENTS])
        kept = tmp_path / 'images/training/00000000.png'
        lost = tmp_path / 'annotations/training/00000001.png'
        before, content = kept.stat().st_mtime_ns, lost.read_bytes()
        lost.unlink()
        make_scenes.main([str(tmp_path), *self.ARGUMENTS])
        assert kept.stat().st_mtime_ns == before
        assert lost.read_bytes() == content
        assert not list(tmp_path.rglob('.writing-*'))

    def test_settings_are_not_mixed(self, make_scenes, tmp_path):
        make_scenes.main([str(tmp_path), *self.ARGUMENTS])
        with pytest.raises(UserError, match='choose another folder'):
            make_scenes.main([str(tmp_path), *self.ARGUMENTS, '--seed', '1'])

    def test_the_shipped_demo_picture_is_what_the_script_writes(self, make_scenes, tmp_path):
        make_scenes.main(['--demo', str(tmp_path / 'scene.png')])
        shipped = cv2.imread(str(ROOT / 'demo/scene.png'))
        assert shipped.shape == (384, 512, 3)
        written = cv2.imread(str(tmp_path / 'scene.png'))
        # Versions of OpenCV round differently.
        assert np.abs(written.astype(int) - shipped).mean() < 0.5
        named = pairs_of(demo_scene())
        assert ('star', 'red') in named and len(named) == 7
