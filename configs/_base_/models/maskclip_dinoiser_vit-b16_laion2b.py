# MaskCLIP as CLIP-DINOiser (arXiv 2312.12359) runs it: LAION-2B weights with CLIP's own statistics,
# black padding, 80 templates, softmax on the patch grid, windows of 448 pixels.
model = dict(
    type='TrainingFreeSegmentor',
    clip=dict(model='ViT-B-16', pretrained='laion2b_s34b_b88k'),
    encoder=dict(last_block='maskclip', position_resize='always', padding='black'),
    text=dict(templates='openai-80'),
    refiners=[dict(type='ScoreSoftmax')],
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
