# The tiny SAM 3 that ships, on Scenes; trained on phrases and the masks of what they name.
_base_ = ['../_base_/datasets/{{$OVSEG_ON:scenes}}.py', '../_base_/default_runtime.py']

on_choices = ['scenes', 'scenes_heldout', 'scenes_heldout_plain', 'scenes_phrases', 'images']
model = dict(
    type='SAM3Segmentor',
    sam3=dict(model='tiny_sam3_scenes'),
    rule='segearth',
    vocabulary=_base_.words,
)
