"""Label Studio: what its own server, reader of masks and checks take; no Label Studio runs."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
import shapely
from PIL import Image
from scripts import ROOT

from ovseg.errors import UserError
from ovseg.integrations.pre_labels import PreLabels

INTERFACE = """
<View>
  <Image name="image" value="$photo"/>
  <Choices name="weather" toName="image"><Choice value="fair"/></Choices>
  <{tag} name="tag" toName="image">
    <Label value="Himmel" predicted_values="sky"/><Label value="grass" alias="g"/>{more}
  </{tag}>
</View>
"""
SETTINGS = {'OVSEG_BACKGROUND': 'water, kite, heart', 'OVSEG_DEVICE': 'cpu'}


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """What Label Studio serves as local files."""
    folder = tmp_path_factory.mktemp('pictures')
    shutil.copy(ROOT / 'demo' / 'scene.png', folder)
    return folder


@pytest.fixture(scope='module')
def backend(tmp_path_factory, pictures):
    """The module, inside label-studio-ml."""
    reason = 'needs label-studio-ml from its repository'
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv('MODEL_DIR', str(tmp_path_factory.mktemp('label-studio')))
        patched.setenv('LOCAL_FILES_DOCUMENT_ROOT', str(pictures))
        for name, value in SETTINGS.items():
            patched.setenv(name, value)
        pytest.importorskip('label_studio_ml.model', reason=reason)
        from ovseg.integrations import label_studio

        yield label_studio


@pytest.fixture
def predicted(backend):
    """What the server answers to Label Studio's request for a picture."""
    api = pytest.importorskip('label_studio_ml.api')
    server = api.init_app(backend.OvsegBackend).test_client()

    def ask(tag, more='<Label value="red star"/>', address='scene.png'):
        data = {'photo': f'/data/local-files/?d={address}'}
        interface = INTERFACE.format(tag=tag, more=more)
        request = {'tasks': [{'id': 3, 'data': data}], 'label_config': interface, 'project': '1.2'}
        answer = server.post('/predict', json=request)
        assert answer.status_code == 200
        (prediction,) = answer.get_json()['results']
        checks = pytest.importorskip('label_studio_sdk.label_interface').LabelInterface(interface)
        assert checks.validate_prediction(prediction, return_errors=True) == []
        return prediction

    return ask


@pytest.fixture(scope='module')
def masks():
    labels = {'Himmel': 'sky', 'g': 'grass', 'red star': 'red star'}
    asked = PreLabels(device='cpu', background=SETTINGS['OVSEG_BACKGROUND'])
    return {each.name: each for each in asked.masks(ROOT / 'demo' / 'scene.png', labels)}


def test_brushes_are_the_masks(predicted, masks):
    brush = pytest.importorskip('label_studio_sdk.converter.brush')
    found = predicted('BrushLabels')
    assert found['model_version'] == 'ovseg maskclip-tiny'
    assert 0 < found['score'] <= 1
    assert len(found['result']) == len(masks) == 3
    for region in found['result']:
        assert region['type'] == 'brushlabels' and region['value']['format'] == 'rle'
        (name,) = region['value']['brushlabels']
        decoded = brush.decode_rle(region['value']['rle']).reshape(384, 512, 4)[..., 3]
        assert (decoded == 255 * masks[name].mask).all()
        assert region['score'] == pytest.approx(masks[name].score)
        assert (region['original_width'], region['original_height']) == (512, 384)
        assert (region['from_name'], region['to_name']) == ('tag', 'image')
    assert len({region['id'] for region in found['result']}) == 3


def test_polygons_are_in_percent_of_the_sides(predicted, masks):
    found = predicted('PolygonLabels')['result']
    assert len(found) == sum(len(each.polygons()) for each in masks.values())
    for name, each in masks.items():
        drawn = [
            shapely.Polygon(np.array(region['value']['points']) * [5.12, 3.84])
            for region in found
            if region['value']['polygonlabels'] == [name]
        ]
        assert sum(part.area for part in drawn) == pytest.approx(each.pixels, rel=0.05)


def test_rectangles_are_the_boxes_of_connected_parts(predicted, masks):
    wanted = [(name, box) for name, each in masks.items() for box in each.boxes()]
    found = [region['value'] for region in predicted('RectangleLabels')['result']]
    assert len(found) == len(wanted)
    for value in found:
        left, top = value['x'] * 5.12, value['y'] * 3.84
        box = (left, top, left + value['width'] * 5.12, top + value['height'] * 3.84)
        assert (value['rectanglelabels'][0], tuple(round(side) for side in box)) in wanted


def test_changed_labels_give_new_regions_of_the_same_model(backend, predicted):
    predicted('BrushLabels')
    before = backend.shared.cache_info().misses
    found = predicted('BrushLabels', more='<Label value="fish"/>')
    assert 'fish' in {region['value']['brushlabels'][0] for region in found['result']}
    assert backend.shared.cache_info().misses == before


def test_an_interface_without_a_tag_to_fill_is_said(backend):
    interface = INTERFACE.format(tag='KeyPointLabels', more='')
    with pytest.raises(UserError, match='no tag that ovseg can fill: use BrushLabels'):
        backend.OvsegBackend('1', interface).predict([])


def test_settings_come_from_the_environment(backend):
    found = backend.settings_of({'OVSEG_THRESHOLD': '0.5', 'OVSEG_MIN_PIXELS': '9', 'HOME': '/'})
    assert found == PreLabels(threshold=0.5, min_pixels=9)
    with pytest.raises(UserError, match="OVSEG_MIN_PIXELS must be a number, got 'few'"):
        backend.settings_of({'OVSEG_MIN_PIXELS': 'few'})


def test_a_missing_server_is_said_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'label_studio_ml.model', None)
    monkeypatch.delitem(sys.modules, 'ovseg.integrations.label_studio', raising=False)
    with pytest.raises(UserError, match=r'label-studio-ml, which is missing: pip install "label'):
        import ovseg.integrations.label_studio  # noqa: F401


def test_a_turned_photograph_is_labelled_upright(predicted, pictures):
    with Image.open(pictures / 'scene.png') as picture:
        turned = picture.convert('RGB').rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(pictures / 'turned.jpg', exif=exif, quality=95)
    found = predicted('BrushLabels', address='turned.jpg')['result']
    assert {(each['original_width'], each['original_height']) for each in found} == {(512, 384)}
