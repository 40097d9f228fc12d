_base_ = [
    '../_base_/models/maskclip_rn101_openai.py',
    '../_base_/protocols/maskclip_context459.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='context459', protocol='corrclip_v2'))
