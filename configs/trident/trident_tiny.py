# Trident on the tiny CLIP, the tiny DINO and the tiny SAM that ship with ovseg
# (configs/trident/README.md, which compares settings).
_base_ = ['../_base_/models/trident.py', '../_base_/protocols/tiny.py']

if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(keep_original=True))  # for SAM
model = dict(
    _base_.settings,
    # Patches of 8 pixels on cells of 4.
    companion=dict(model='tiny_dino_scenes', scale=2),
    sam=dict(model='tiny_sam_scenes'),
    # The tiny CLIP's patches keep their words only with the last block's residual and MLP.
    proxy=dict(residual=True, ffn=True),
    # Pictures are small: 20 pixels at half size are a seventh of the smallest object.
    # The tiny SAM's own mask inputs are logits, not the released code's scaled probabilities.
    refinement=dict(coarse_threshold=0.3, min_area=20, mask_scale=None),
    # Windows as large as the pictures in training, joined on cells of 4 pixels.
    test_cfg=dict(crop_size=(32, 32), stride=(4, 4), window_batch=256),
)
