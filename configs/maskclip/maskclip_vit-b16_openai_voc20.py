_base_ = [
    '../_base_/models/maskclip_vit-b16_openai.py',
    '../_base_/protocols/maskclip_voc20.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='voc20', protocol='maskclip'))
