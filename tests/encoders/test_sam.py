from __future__ import annotations

import pytest
import torch
from tiny_sams import TINY_SAM, tiny_sam

from ovseg.encoders.sam import load_sam
from ovseg.errors import UserError


def test_a_file_in_sams_format_gives_its_weights_frozen(tmp_path):
    state = tiny_sam().model.state_dict()
    torch.save(state, tmp_path / 'sam.pth')
    loaded = load_sam(TINY_SAM, tmp_path / 'sam.pth')
    assert loaded.weights == 'sam.pth'
    own = loaded.model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items())
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())


@pytest.mark.parametrize(
    ('model', 'pretrained', 'message'),
    [
        ('vit_x', None, r"sam.model must be one of vit_b, vit_l, vit_h.*got 'vit_x'.*vit_"),
        (TINY_SAM, None, "sam.pretrained must name a file, or 'random'"),
        ('tiny_sam_scenes', 'sam.pth', "of the embedded model 'tiny_sam_scenes' must be left out"),
    ],
)
def test_settings_that_name_no_sam_are_refused(model, pretrained, message):
    with pytest.raises(UserError, match=message):
        load_sam(model, pretrained)


def test_a_checkpoint_of_another_size_says_which(tmp_path):
    path = tmp_path / 'some.pth'
    torch.save({'image_encoder.pos_embed': torch.zeros(1, 64, 64, 1024)}, path)
    with pytest.raises(UserError, match=r"some.pth holds SAM 'vit_l', the config asks for 'vit_b'"):
        load_sam('vit_b', path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save({'weight': torch.zeros(3)}, tmp_path / 'other.pth')
    with pytest.raises(UserError, match='do not fit this model: .* missing'):
        load_sam(TINY_SAM, tmp_path / 'other.pth')
