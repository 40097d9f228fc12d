"""Training of a SAM 3: it starts at a CLIP's towers, learns, goes on larger, and is exported."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from scripts import ROOT, load_script
from short_trainings import train

from ovseg.encoders.sam3 import load_sam3
from ovseg.encoders.sam3_concepts import ConceptModel, square_pixels
from ovseg.encoders.tiny import build_tiny_clip
from ovseg.engine.runner import OVRunner
from ovseg.errors import UserError
from ovseg.scenes import ConceptTraining, ScenePhrasesMasksDataset

pytest.importorskip('transformers', minversion='5.12')
CONFIG = Config.fromfile(ROOT / 'configs/tiny_sam3/tiny_sam3_scenes_small.py')


@pytest.fixture(autouse=True)
def _ovseg_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


def small_model(**changes):
    torch.manual_seed(0)
    given = {key: value for key, value in CONFIG.model.items() if key != 'type'}
    model = ConceptTraining(**{**given, **changes})
    model.init_weights()
    return model


def batch(count=2, questions=4):
    data = ScenePhrasesMasksDataset(count, size=64, questions=questions)
    return pseudo_collate([data[number] for number in range(count)])  # as the Runner does


def small_config(work_dir, iterations=2):
    config = CONFIG.copy()
    config.work_dir = str(work_dir)
    config.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.update(num_scenes=2 * iterations, size=64, questions=3)
    config.train_cfg.max_iters = iterations
    for schedule in config.param_scheduler:
        schedule.update(begin=0, end=iterations)
        if 'T_max' in schedule:
            schedule.T_max = iterations
    config.default_hooks.checkpoint.update(interval=iterations, max_keep_ckpts=-1)
    config.log_level = 'ERROR'
    return config


def test_a_batch_keeps_each_pictures_phrases():
    data = ScenePhrasesMasksDataset(4, size=64, questions=4)
    samples = [data[number] for number in range(4)]
    asked = [list(phrases) for phrases in pseudo_collate(samples)['phrases']]
    assert asked == [list(sample['phrases']) for sample in samples]
    given = batch(2, 3)
    given['phrases'] = [list(column) for column in zip(*given['phrases'], strict=True)]
    with pytest.raises(ValueError, match='phrases are'):
        small_model()(**given)


def test_towers_start_as_the_clips():
    model = small_model()
    clip, tokenizer, mean, std = build_tiny_clip()
    text = ['red star', 'grass']
    tokens = model._tokens(text)
    with torch.no_grad():
        own = model.sam3.text_encoder(input_ids=tokens).last_hidden_state
        ends = own[torch.arange(2), (tokens == model.end).int().argmax(1)]
        expected = clip.encode_text(tokenizer(text))
        torch.testing.assert_close(
            model.sam3.text_encoder.text_projection(ends), expected, atol=1e-4, rtol=1e-4
        )
        # What enters the first block is a picture of the CLIP's in each window.
        image = torch.randint(0, 256, (1, 3, 64, 64)).float()
        seen = model.sam3.vision_encoder.backbone.embeddings(image / 127.5 - 1)
        window = (image[:, :, 32:, :32] / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(
            std
        ).view(3, 1, 1)
        patches = clip.visual.conv1(window).flatten(2).transpose(1, 2)
        expected = patches + clip.visual.positional_embedding[1:]
    found = seen.view(1, 8, 8, -1)[:, 4:, :4].flatten(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_every_part_learns_and_a_few_steps_lower_the_loss():
    model = small_model(absent_drawn=1.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    given, lost = batch(3, 6), []
    for _ in range(6):
        losses = model(**given)
        total = sum(value for name, value in losses.items() if name.startswith('loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        lost.append(float(total.detach()))
    assert lost[-1] < 0.8 * lost[0]
    # The fourth level and the joint space of the CLIP have no use in SAM 3.
    unused = {name for name, value in model.sam3.named_parameters() if value.grad is None}
    assert {
        name.rsplit('.', 1)[0].removesuffix('.proj1').removesuffix('.proj2') for name in unused
    } == {
        'vision_encoder.neck.fpn_layers.3',
        'text_encoder.text_projection',
    }


def test_wrong_settings_are_explained():
    with pytest.raises(UserError, match='absent_drawn must be from 0 to 1'):
        small_model(absent_drawn=2.0)
    with pytest.raises(UserError, match="does not fit the towers of 'tiny_clip_scenes'"):
        sizes = CONFIG.model.sam3.to_dict()
        sizes['text_config']['intermediate_size'] = 64
        small_model(sam3=sizes)
    with pytest.raises(UserError, match="'zebra' has a word"):
        small_model(start=None)._tokens(['zebra'])


def test_the_second_round_starts_from_the_first_and_is_exported(tmp_path):
    config = small_config(tmp_path / 'small')
    train(config, 'small')
    config.model.sam3.vision_config.backbone_config.image_size = 96
    config.train_dataloader.dataset.size = 96
    config.work_dir = str(tmp_path / 'large')
    config.experiment_name = 'large'
    config.load_from = str(tmp_path / 'small' / 'iter_2.pth')
    second = OVRunner.from_cfg(config)  # as the tools do; it loads strictly
    second.train()

    config.dump(tmp_path / 'config.py')
    arguments = ['tiny-sam3', str(tmp_path / 'large' / 'iter_2.pth')]
    arguments += [str(tmp_path / 'out' / 'mine'), '--config', str(tmp_path / 'config.py')]
    assert load_script('export').main([*arguments, '--images', '8']) == 0
    facts = json.loads((tmp_path / 'out' / 'mine.json').read_text())
    assert facts['kind'] == 'sam3' and facts['origin']['images'] == 8
    assert 'started as those of tiny_clip_scenes' in facts['origin']['supervision']
    # The exported one says of a phrase what the trained one says.
    file = tmp_path / 'out' / 'mine.safetensors'
    model = ConceptModel(load_sam3('tiny_sam3_scenes', pretrained=file))
    assert model.image_size == 96 and file.stat().st_size < 6e6
    image = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    phrase = model.tower.phrases(model.text_encoder(None).encode(['red star']))
    with torch.no_grad():
        own = model.ask(model.look(square_pixels(image, 96)), phrase)
        trained = second.model.eval()
        expected = trained._ask(
            image.float() / 127.5 - 1,
            trained._tokens(['red star']),
            torch.zeros(1, 1, 4),
            torch.full((1, 1), -10),
            torch.tensor([0]),
        )
    torch.testing.assert_close(own.presence, expected.presence[-1], rtol=0, atol=0.05)
    torch.testing.assert_close(own.semantic, expected.semantic, rtol=0, atol=0.05)


def test_an_embedded_model_takes_no_other_settings():
    with pytest.raises(UserError, match='must be left out'):
        load_sam3('tiny_sam3_scenes', layer_norm_eps=1e-5)
    with pytest.raises(UserError, match=r"no sam3 model 'mine'"):
        load_sam3('tiny_sam3_scenes', pretrained='work/mine.safetensors')
