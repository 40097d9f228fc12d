"""Mask proposals of a trained model at an image's own size."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_ovseg
import torch
from mmengine.config import Config
from torch.nn import functional as F

from ovseg.apis.proposals import ModelProposals
from ovseg.errors import UserError
from ovseg.images import Images, to_batch

SIZE = (70, 91)


def test_masks_have_the_size_of_the_image_and_are_the_models(tmp_path):
    model = tiny_ovseg.maskformer_config()
    theirs = tiny_ovseg.build(seed=1, **model)
    torch.save(theirs.state_dict(), tmp_path / 'iter_1.pth')
    Config({'model': model, 'resize': {'scale': (128, 64)}}).dump(tmp_path / 'tiny.py')
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    find = ModelProposals(tmp_path / 'tiny.py', tmp_path / 'iter_1.pth', 'cpu')
    masks = find.proposals(image)
    assert masks.shape == (6, *SIZE) and masks.dtype == np.float32
    rule = find._segmenter.resize
    inputs = to_batch([image], rule, theirs.data_preprocessor)
    with torch.inference_mode():
        logits = theirs.encode(Images(inputs))[0].proposals.maps.maps
    padded = [-(-side // 32) * 32 for side in inputs.shape[2:]]
    large = F.interpolate(logits, size=padded, mode='bilinear')
    own = large[..., : inputs.shape[2], : inputs.shape[3]].sigmoid()
    wanted = F.interpolate(own, size=SIZE, mode='bilinear')[0]
    np.testing.assert_allclose(masks, wanted.numpy(), atol=1e-5)


def test_a_model_without_proposals_is_refused():
    with pytest.raises(UserError, match='proposes no masks'):
        ModelProposals('maskclip-tiny', device='cpu')
