"""Cases that the golden folders here do not have: other options, names and sizes, made here."""

from __future__ import annotations

import shutil

import open_clip
import pytest
import torch
from scripts import ROOT
from torch.nn import functional as F

from ovseg.encoders import CLIPVisionTransformer, CLIPViTEncoder, load_clip
from ovseg.images import Images
from parity import check_path
from parity.golden import read
from parity.report import Report
from parity.training_free_attention.pipelines import weight_file
from parity.trident.refinement import check_regions

DATA = ROOT / 'tests' / 'data'
ATTENTION = DATA / 'training_free_attention'


def failed(path):
    """Names of what is not in order in a golden file."""
    (report,) = check_path(path)
    assert report.lines
    return [line.name for line in report.lines if line.status != 'ok']


def checked(folder, name, content):
    torch.save(content, folder / name)
    return failed(folder / name)


@pytest.fixture
def attention(tmp_path):
    """A folder with the golden weights of the attentions."""
    shutil.copy(ATTENTION / 'weights.pt', tmp_path)
    return tmp_path


# DenseCLIP -----------------------------------------------------------------------------------


def vit_case(layout):
    """A ViT with its embeddings, in one of the ways to write them down."""
    torch.manual_seed(0)
    config = {
        **{'input_resolution': 64, 'patch_size': 16, 'width': 16, 'layers': 4, 'heads': 2},
        **{'output_dim': 12, 'out_indices': [0, 1, 2, 3], 'get_embeddings': True},
    }
    model, image = CLIPVisionTransformer(**config).eval(), torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        given = model(image)
    embeddings = [given.global_embedding, given.dense_embedding]
    outs = {f'level{i}': level for i, level in enumerate(given.levels)}
    if layout == 'last of the list':
        outs['level4'] = embeddings
    else:
        outs |= dict(zip(('global_feat', 'visual_embeddings'), embeddings, strict=True))
    return {
        'type': 'CLIPVisionTransformer',
        'config': {**config, 'style': 'pytorch'},
        'state_dict': model.state_dict(),
        'img': image,
        'outs': outs,
    }


@pytest.mark.parametrize('layout', ['last of the list', 'by name'])
def test_a_vit_with_embeddings_is_compared_with_them(layout, tmp_path):
    case = vit_case(layout)
    assert checked(tmp_path, 'backbones.pt', {'vit': case}) == []
    outs = case['outs']
    by_name = layout == 'by name'
    (outs['visual_embeddings'] if by_name else outs['level4'][1])[0, 0, 0, 0] += 1
    name = 'visual_embeddings' if by_name else 'level4.1'
    assert checked(tmp_path, 'backbones.pt', {'vit': case}) == [f'vit.outs.{name}']


def test_an_output_too_few_fails(tmp_path):
    case = vit_case('by name')
    del case['outs']['global_feat']
    assert checked(tmp_path, 'backbones.pt', {'vit': case}) == ['vit.outs']


def test_tokens_are_compared_whatever_their_data_sets_are_called(tmp_path):
    sets = {'cityscapes': ['road', 'traffic light', 'sky'], 'things': ['cat', 'polar bear']}
    content = {}
    for (name, words), length in zip(sets.items(), (6, 9), strict=True):
        tokens = open_clip.SimpleTokenizer()(words, context_length=length)
        content |= {f'{name}_classes': words, f'{name}_ids': tokens}
    assert checked(tmp_path, 'tokens.pt', content) == []
    content['things_ids'][0, 1] += 1
    content['other_ids'] = torch.zeros(5, 4).long()
    assert checked(tmp_path, 'tokens.pt', content) == ['things_ids', 'other_ids']


def test_arguments_that_the_reference_takes_and_ignores_change_nothing(tmp_path):
    content = read(DATA / 'denseclip' / 'text_side.pt')
    content['config'] |= {'context_feature': 'attention'}
    content['config']['text_encoder']['out_dim'] = 256
    content['config']['context_decoder']['context_length'] = 16
    assert checked(tmp_path, 'text_side.pt', content) == []


# The training-free attentions ----------------------------------------------------------------


def test_any_width_of_naclips_neighbourhood_is_compared(attention):
    content = read(ATTENTION / 'naclip.pt')
    content['pipelines'] = []
    for case in content['features'].values():
        rows, columns = (side // 16 for side in case['image'].shape[-2:])
        grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
        near = torch.exp(-(torch.cdist(grid, grid) ** 2) / (2 * 2.0**2))
        case['gaussian_addition_std2'] = F.pad(near, (1, 0, 1, 0))[None]
    assert checked(attention, 'naclip.pt', content) == []
    case['gaussian_addition_std2'][0, 1, 2] += 1e-3
    failing = checked(attention, 'naclip.pt', content)
    assert [name.rpartition('.')[2] for name in failing] == ['gaussian_addition_std2']


def test_sclip_does_not_refine_whole_images(attention):
    content = read(ATTENTION / 'sclip.pt')
    (whole,) = (case for case in content['pipelines'] if not case['slide_crop'])
    whole['pamr_steps'] = 3
    content |= {'features': {}, 'pipelines': [whole]}
    assert checked(attention, 'sclip.pt', content) == []


def test_clearclip_takes_whole_images_without_padding(attention):
    with weight_file(read(attention / 'weights.pt')) as clip:
        visual = load_clip(**clip).model.visual
    torch.manual_seed(0)
    image, size = torch.randint(0, 256, (90, 70, 3), dtype=torch.uint8), (90, 70)
    pixels = image.permute(2, 0, 1)[None].float()
    mean, std = torch.tensor([122.771, 116.746, 104.094]), torch.tensor([68.501, 66.632, 70.323])
    inputs = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    queries = F.normalize(torch.randn(3, 32), dim=1)
    with torch.no_grad():
        # 80 x 64 of its pixels make patches; the map is stretched over all.
        encoder = CLIPViTEncoder(visual, 'clearclip', 'scale_factor', 'floor')
        features = F.normalize(encoder(inputs[..., :80, :64]).patch, dim=1)
        cosines = torch.einsum('bchw,qc->bqhw', features, queries)
        logits = F.interpolate(cosines, size, mode='bilinear')
    shares = (50 * logits[0]).softmax(0)
    case = {
        'image_rgb_uint8': image,
        'resized_hw': list(size),
        'resized_rgb_uint8': image,
        'preprocessed_sum': inputs.double().sum().item(),
        **{'slide_crop': 0, 'slide_stride': 56, 'query_idx': [0, 1, 2], 'query_features': queries},
        **{'logit_scale': 50, 'prob_thd': 0.0, 'logits': logits, 'probs': shares},
        'pred': shares.argmax(0, keepdim=True),
    }
    assert checked(attention, 'clearclip.pt', {'features': {}, 'pipelines': [case]}) == []


@pytest.fixture(scope='module')
def corrclip(tmp_path_factory):
    """A folder with a tower of CorrCLIP, and a case whose scores are the image's own."""
    folder = tmp_path_factory.mktemp('corrclip')
    shutil.copy(ATTENTION / 'weights.pt', folder)
    torch.manual_seed(0)
    golden = {
        **{'embed_dim': 8, 'quick_gelu': True, 'image_size': 64, 'patch_size': 16},
        **{'width': 16, 'layers': 6, 'heads': 2, 'mlp_ratio': 4.0},
    }
    vision = {key: golden[key] for key in ('image_size', 'patch_size', 'width', 'layers')}
    tower = open_clip.CLIP(8, {**vision, 'head_width': 8}, {'layers': 1}, quick_gelu=True)
    state = {k: v for k, v in tower.state_dict().items() if k.startswith('visual.')}
    torch.save({'config': golden, 'state_dict': state}, folder / 'tower.pt')
    image = torch.randint(0, 256, (112, 112, 3), dtype=torch.uint8)
    case = {
        'image_rgb_uint8': image,
        'resized_hw': [112, 112],
        'instance_mask': torch.arange(112)[:, None].div(28).int().expand(112, 112).contiguous(),
        'vfm_dense': torch.randn(1, 5, 7, 7),
        **{'bank_vfm': torch.randn(9, 5), 'bank_clip': torch.randn(9, 8), 'num_support': 2},
        **{'bank_aux': torch.randn(9, 4), 'aux_query_features': torch.randn(3, 4)},
        **{'slide_crop': 112, 'slide_stride': 56, 'query_idx': [0, 1, 2], 'logit_scale': 40},
        **{'query_features': F.normalize(torch.randn(3, 8), dim=1), 'prob_thd': 0.0},
        **{'use_support': False, 'use_aux': False, 'alpha': 0.5},
        **{'logits': torch.zeros(1, 3, 112, 112), 'probs': torch.zeros(3, 112, 112)},
        **{'pred': torch.zeros(1, 112, 112).long(), 'resized_rgb_uint8': image},
        'preprocessed_sum': 0.0,
    }
    return folder, case


@pytest.mark.parametrize('alpha', [1.0, 0.0])
def test_corrclips_alpha_is_the_share_of_the_images_own_scores(corrclip, alpha, monkeypatch):
    from parity.training_free_attention import corrclip as check

    folder, case = corrclip
    found = []
    monkeypatch.setattr(check, 'check_pipeline', lambda case, model, *_: found.append(model))
    for use_support in (False, True):
        given = {**case, 'use_support': use_support, 'alpha': alpha}
        checked(folder, 'corrclip_v2.pt', {'weights': 'tower.pt', 'pipelines': [given]})
    plain, supported = found
    image = case['image_rgb_uint8'].numpy()
    inputs = torch.randn(1, 3, 112, 112)
    classifier = check.classifier_of(Report(case, '').case)

    def scores(model):
        with torch.no_grad():
            encoding = model.encode(Images(inputs, [image]))[0]
        return model.segment(encoding, (112, 112), classifier, keep_scores=True).scores

    same = torch.allclose(scores(supported), scores(plain), atol=1e-5)
    assert same == (alpha == 1.0)


# Trident -------------------------------------------------------------------------------------


def test_classes_without_a_region_may_be_empty_lists():
    case = read(DATA / 'trident' / 'refinement_units.pt')['regions'][0]
    case['minimal_area'] = case['probs'].numel()
    for key in ('regions', 'boxes', 'points', 'scores'):
        case[key] = {label: [] for label in case[key]}
    report = Report(case, 'units.pt')
    check_regions(report.case)
    report.miss_unseen()
    assert report.passed, report.text()


# What the files themselves say ---------------------------------------------------------------


@pytest.mark.parametrize(
    ('folder', 'weights', 'key', 'value', 'file', 'name'),
    [
        ('clip_dinoiser', 'weights.pt', 'delta', 0.2, 'inference_cases.pt', 'out_found'),
        ('maskclip', 'vit_dense.pt', 'act', 'quick_gelu', 'vit_dense_cases.pt', 'feat'),
    ],
)
def test_settings_of_a_files_config_are_used(folder, weights, key, value, file, name, tmp_path):
    for path in (DATA / folder).glob('*.pt'):
        shutil.copy(path, tmp_path)
    content = read(tmp_path / weights)
    assert key in content['config']
    content['config'][key] = value
    torch.save(content, tmp_path / weights)
    assert f'cases.0.{name}' in failed(tmp_path / file)


def test_what_a_case_does_not_state_is_passed_over(tmp_path):
    content = read(DATA / 'maskclip' / 'preprocess.pt')
    (whole,) = check_path(DATA / 'maskclip' / 'preprocess.pt')
    del content['cases'][0]['resized_hw']
    torch.save(content, tmp_path / 'preprocess.pt')
    (report,) = check_path(tmp_path / 'preprocess.pt')
    assert report.passed
    assert len(report.lines) == len(whole.lines) - 1
