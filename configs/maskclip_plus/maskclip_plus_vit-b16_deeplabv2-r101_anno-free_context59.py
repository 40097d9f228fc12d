_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/datasets/maskclip_plus_context59.py',
    '../_base_/protocols/maskclip_context59.py',
    '../_base_/schedules/maskclip_plus_4k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(480, 480)),
    vocabulary=dict(dataset='context59', protocol='maskclip'),
)
