_base_ = [
    '../_base_/models/maskclip_rn50x4_openai.py',
    '../_base_/protocols/maskclip_context60.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='context60', protocol='clip_dinoiser'))
