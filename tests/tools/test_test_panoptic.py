"""tools/test.py on data sets whose things are told apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scripts import ROOT
from tool_runs import free_port, read_result, run_tool
from warm_processes import run_ranks

from ovseg.datasets.panoptic_files import read_panoptic_file
from ovseg.datasets.panoptic_loading import read_id_map

SCENES = 'test_dataloader.dataset.num_scenes=2'


@pytest.mark.parametrize('model', ['ovseg_tiny', 'ovseg_tiny_sam'])
def test_a_model_of_masks_is_measured_and_its_segments_are_kept(model, tmp_path, capsys):
    work, out, shown = (tmp_path / name for name in ('work', 'out', 'shown'))
    words = (model, '--on', 'scenes_panoptic', '--work-dir', work, '--out', out)
    options = ("model.test_cfg.segments={'score_threshold': 0.2}", SCENES)
    if model == 'ovseg_tiny_sam':
        options = (*options, 'model.proposals.regions.generator.points_per_side=6')
    assert run_tool('test', *words, '--show-dir', shown, '--cfg-options', *options) == 0
    printed = capsys.readouterr().out
    result = read_result(work)
    scores = result['metrics']
    assert result['headline'] == 'PQ' and f'PQ {scores["PQ"]:.2f}' in printed
    assert 20 < scores['PQ'] <= 100 and 5 < scores['mask AP'] <= 100
    parts = [(PQ, kind) for PQ in ('PQ', 'SQ', 'RQ') for kind in ('things', 'stuff', 'seen')]
    assert {f'{score}_{kind}' for score, kind in parts} <= set(scores)
    assert {'mask AP_50', 'mask AP_s', 'mask AP_unseen'} <= set(scores)
    assert scores['mask AP_l'] is None  # nothing is so large
    assert 'score_threshold 0.2' in result['protocol']['model']['segments']
    # Every count can be made again of the files.
    images = read_panoptic_file(out / 'panoptic.json').images
    found = sum(len(image.segments) for image in images)
    assert found == sum(row['TP'] + row['FP'] for row in result['classes'])
    for image in images:
        ids = read_id_map(str(out / image.map_name))
        areas = {number: area for number, _, area, _ in image.segments}
        assert areas == {
            int(number): int(area)
            for number, area in zip(*np.unique(ids[ids > 0], return_counts=True), strict=True)
        }
    assert len(list(shown.glob('*.png'))) == len(images) == 2
    json.dumps(result, allow_nan=False)


def test_two_processes_give_the_numbers_of_one(tmp_path):
    options = ('--on', 'scenes_panoptic', '--cfg-options', SCENES.replace('2', '3'))
    assert run_tool('test', 'ovseg_tiny', '--work-dir', tmp_path / 'one', *options) == 0
    words = ('ovseg_tiny', '--work-dir', tmp_path / 'two', *options, '--launcher', 'pytorch')
    ranks = run_ranks(ROOT / 'tools' / 'test.py', 2, *words, port=free_port())
    assert [done.returncode for done in ranks] == [0, 0], ranks[0].stderr[-3000:]
    found = (read_result(tmp_path / name) for name in ('one', 'two'))
    one, two = ({key: each[key] for key in ('metrics', 'classes', 'images')} for each in found)
    assert one == two and one['images'] == 3  # of which two processes see four


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('ovseg_tiny', '--tta'), 'segments of several views are not merged'),
        (
            ('ovseg_tiny', '--cfg-options', "model.test_cfg.segments={'score': 1}"),
            "model.test_cfg.segments has no setting 'score'",
        ),
        (('maskclip_tiny',), "has no settings for 'scenes_panoptic'"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(words, message, tmp_path, capsys):
    code = run_tool('test', *words, '--on', 'scenes_panoptic', '--work-dir', tmp_path)
    assert code == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
