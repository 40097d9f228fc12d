"""The benchmark of FC-CLIP's stages, with a tiny model."""

from __future__ import annotations

import json

import pytest
import tiny_fcclip
from mmengine.config import Config
from scripts import ROOT, load_script


@pytest.fixture(scope='module')
def stages():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'benchmarks'))
        yield load_script('fcclip_stages', 'benchmarks')


@pytest.fixture(scope='module')
def measured(stages, tmp_path_factory):
    """What the command prints and writes."""
    folder = tmp_path_factory.mktemp('stages')
    Config({'model': {'type': 'FCCLIP', **tiny_fcclip.config()}}).dump(folder / 'tiny.py')
    words = [str(folder / 'tiny.py'), '--image', '64', '90', '--classes', '3', '5']
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr('builtins.print', lambda text, **_: printed.append(text))
        stages.main([*words, '--repeat', '2', '--json', str(folder / 'out.json')])
    return '\n'.join(printed), json.loads((folder / 'out.json').read_text())['model']


def test_every_stage_is_timed_and_the_backbone_runs_once(stages, measured):
    printed, model = measured
    asked = [f'{kind}, {n} classes' for n in (3, 5) for kind in ('labels', 'segments', 'instances')]
    wanted = {*stages.NETWORKS, *asked, 'scores, 3 classes', 'scores, 5 classes'}
    assert set(model['seconds']) == wanted and all(stage in printed for stage in wanted)
    assert all(len(runs) == 2 for runs in model['seconds'].values())
    assert model['backbone_passes'] == 1


def test_upstreams_formulas_and_ours_agree(measured):
    upstream = measured[1]['upstream']
    for stage, (seconds, _, apart) in upstream.items():
        assert seconds > 0
        assert not apart or float(apart.split()[0]) < 2e-3, stage
    assert {'pixel decoder', 'decoder', 'labels, 5 classes', 'segments, 3 classes'} <= set(upstream)


def test_the_share_is_that_of_the_networks(stages):
    figures = stages.Figures('some')
    for stage in stages.NETWORKS:
        figures.seconds[stage] = [2.0, 3.0, 2.0]
    figures.seconds |= {'scores, 2 classes': [0.5], 'labels, 2 classes': [1.5]}
    assert figures.share('scores, 2 classes', 'labels, 2 classes') == pytest.approx(0.8)
