_base_ = [
    '../_base_/models/maskclip_vit-l14_openai.py',
    '../_base_/protocols/maskclip_voc21.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=dict(dataset='voc21', protocol='clip_dinoiser'))
