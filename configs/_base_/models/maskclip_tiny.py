# The tiny CLIP that ships with ovseg, trained on captions of Scenes only (docs/scenes.md, which
# compares last blocks, windows and sizes).
model = dict(
    type='TrainingFreeSegmentor',
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    encoder=dict(last_block=dict(attention='kk', residual=True, ffn=True)),
    text=dict(templates='a(n) {}'),
    # Windows as large as the pictures in training: attention and positions are as there.
    test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16), window_batch=256),
)
