# The tiny CLIP that ships with ovseg (docs/scenes.md) in its world, with its own statistics and
# temperature.
_base_ = ['../datasets/{{$OVSEG_ON:scenes}}.py', '../default_runtime.py']

on_choices = ['scenes', 'scenes_heldout', 'scenes_heldout_plain', 'scenes_phrases', 'images']
# Objects of Scenes, 192 x 192 pixels large, are then as large as in training.
resize = dict(scale=(288, 144), keep_ratio=True)
if _base_.on != 'images':
    test_dataloader = dict(dataset=dict(resize=resize))
settings = dict(
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    data_preprocessor=None,
    text=dict(templates='a(n) {}', logit_scale=None),
    # Windows as large as the pictures in training: attention and positions are as there.
    test_cfg=dict(crop_size=(32, 32), stride=(16, 16), window_batch=256),
    vocabulary=_base_.words,
)
