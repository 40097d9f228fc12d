"""Names of all files of a run: none replaces an image, another image's file, or a user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg.apis.kinds import LONGEST_END, ends_of
from ovseg.apis.results import SegmentationResult
from ovseg.errors import UserError
from ovseg.images.compact_plan import CompactPlan
from ovseg.images.finding import FoundImage, find_all_images
from ovseg.images.output_plan import plan_outputs

ENDS = ends_of(('labels', 'overlay', 'json'))


def plan(names, ends=ENDS, out='out', root='photos'):
    images = [FoundImage(Path(root) / name, Path(name)) for name in names]
    return [
        (output.folder / output.stem).relative_to(out).as_posix()
        for output in plan_outputs(images, out, ends, LONGEST_END)
    ]


def picture(path, color=(90, 90, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (8, 6), color).save(path)
    return path


def result_of(path):
    image = np.zeros((6, 8, 3), np.uint8)
    labels = np.zeros((6, 8), np.int64)
    return SegmentationResult(image, labels, ('sky',), ((1, 2, 3),), source=str(path))


@pytest.mark.parametrize(
    ('names', 'stems'),
    [
        (['a.jpg', 'b.jpg'], ['a', 'b']),
        (['a.jpg', 'x/a.jpg', 'x/y/a.jpg'], ['a', 'x/a', 'x/y/a']),
        (['a.jpg', 'a.png'], ['a_jpg', 'a_png']),
        (['a.jpg', 'a.png', 'a_png.gif'], ['a_jpg', 'a_png', 'a_png_gif']),
        (['a.b.jpg', 'a.b.png', 'a_b_jpg.gif'], ['a_b_jpg', 'a_b_png', 'a_b_jpg_gif']),
        (['A.jpg', 'a.jpg'], ['A_jpg', 'a_jpg_2']),
        (['é.jpg', 'é.jpg'], ['é_jpg', 'é_jpg_2']),
        (['X/a.jpg', 'x/a.jpg'], ['X/a_jpg', 'x/a_jpg_2']),
        (['a.png', 'a_labels.png/b.png'], ['a_png', 'a_labels.png/b']),
    ],
)
def test_names_are_mirrored_and_kept_apart(names, stems):
    assert plan(names) == stems


def test_kinds_of_files_keep_out_of_each_others_way():
    names = ['scene.png', 'scene_coco.png']
    assert plan(names, ends_of(('json', 'coco'))) == ['scene_png', 'scene_coco_png']
    assert plan(names, ends_of(('json',))) == ['scene', 'scene_coco']


def test_two_thousand_equal_names_are_counted_up():
    images = [FoundImage(Path(f'photos/{i}/a.png'), Path('a.png')) for i in range(2000)]
    outputs = plan_outputs(images, 'out', ENDS, LONGEST_END)
    assert [output.stem for output in outputs][:3] == ['a_png', 'a_png_2', 'a_png_3']
    assert outputs[-1].stem == 'a_png_2000'


def test_long_names_are_cut_and_stay_different(tmp_path):
    long = 'ü' * 120
    stems = plan([f'{long}1.png', f'{long}2.png'], out=str(tmp_path))
    assert len(set(stems)) == 2
    for stem in stems:
        assert stem.startswith('ü' * 100)
        for end in (*ENDS, '_scores.npz'):
            (tmp_path / f'{stem}{end}').write_bytes(b'')


def test_images_and_files_beside_them_stay(tmp_path):
    folder = tmp_path / 'photos'
    for name in ('a.png', 'a_overlay.png', 'b.png', 'c.png'):
        picture(folder / name)
    (folder / 'b.json').write_text('{"version": "of a labelling tool"}')
    found = find_all_images([str(folder)]).images
    for out in (folder, tmp_path / 'x' / '..' / 'photos'):
        stems = [output.stem for output in plan_outputs(found, out, ENDS, LONGEST_END)]
        assert stems == ['a_png', 'a_overlay', 'b_png', 'c']
    link = tmp_path / 'link'
    link.symlink_to(folder)
    stems = [output.stem for output in plan_outputs(found, link, ENDS, LONGEST_END)]
    assert stems == ['a_png', 'a_overlay', 'b_png', 'c']
    elsewhere = [output.stem for output in plan_outputs(found, tmp_path / 'o', ENDS, LONGEST_END)]
    assert elsewhere == ['a', 'a_overlay', 'b', 'c']


def test_a_second_run_takes_the_names_of_the_first(tmp_path):
    picture(tmp_path / 'a.png')
    for _ in range(2):
        found = find_all_images([str(tmp_path)])
        (output,) = plan_outputs(found.images, tmp_path, ENDS, LONGEST_END)
        assert output.stem == 'a'
        result_of(output.image).save(output.folder, output.stem)
    assert len(found.left_out) == 2


def test_an_image_behind_a_link_stays(tmp_path):
    target = picture(tmp_path / 'out' / 'a_labels.png')
    (tmp_path / 'a.png').symlink_to(target)
    found = find_all_images([str(tmp_path / 'a.png')])
    (output,) = plan_outputs(found.images, tmp_path / 'out', ENDS, LONGEST_END)
    assert output.stem == 'a_png'


def test_results_in_python_do_not_replace_their_image_or_files_beside_it(tmp_path):
    before = picture(tmp_path / 'a_overlay.png').read_bytes()
    with pytest.raises(UserError, match='a_overlay.png is there and is no result of ovseg'):
        result_of(tmp_path / 'a_overlay.png').save(tmp_path, 'a')
    picture(tmp_path / 'a.png')
    with pytest.raises(UserError, match='choose another folder, or another stem'):
        result_of(tmp_path / 'a.png').save(tmp_path)
    assert (tmp_path / 'a_overlay.png').read_bytes() == before
    assert not (tmp_path / 'a_labels.png').exists()
    result_of(tmp_path / 'a.png').save(tmp_path, 'mine')
    result_of(tmp_path / 'a.png').save(tmp_path, 'mine')


def test_a_picture_by_ovseg_that_is_segmented_itself_stays(tmp_path):
    source = result_of('').save(tmp_path, 'a', ['overlay'])['overlay']
    with pytest.raises(UserError, match='a_overlay.png'):
        result_of(source).save(tmp_path, 'a')


def test_a_compact_plan_says_the_same(tmp_path):
    for name in (
        'a.png',
        'a.jpg',
        'sub/b.png',
        'sub/\udcff\u00e9.png',
        'sub/c' + 'd' * 240 + '.png',
    ):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_all_images([str(tmp_path / 'photos')]).images
    # As in a list whose images share less of a path than their folder.
    found = [*found, FoundImage(Path('../x/y.png'), Path('elsewhere/z.png'))]
    plan = plan_outputs(found, tmp_path / 'out', ENDS, LONGEST_END)
    compact = CompactPlan(found, plan)
    assert list(compact) == plan and len(compact) == 6
    assert [Path(place) for place in compact.places()] == [image.place for image in found]
    assert set(compact.folders) == {output.folder for output in plan}
