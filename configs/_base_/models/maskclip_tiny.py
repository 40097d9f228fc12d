# The tiny CLIP that ships with ovseg, trained on captions of Scenes only (docs/scenes.md).
model = dict(
    type='TrainingFreeSegmentor',
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    encoder=dict(last_block='maskclip'),
    text=dict(templates='a'),
    test_cfg=dict(mode='slide', crop_size=(48, 48), stride=(16, 16), window_batch=64),
)
