# A CLIP of a few thousand parameters with random weights: for tests of everything around it.
resize = dict(scale=(256, 64), keep_ratio=True)
model = dict(
    type='TrainingFreeSegmentor',
    clip=dict(
        model=dict(
            embed_dim=32,
            vision_cfg=dict(image_size=64, layers=2, width=64, head_width=16, patch_size=16),
            text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1),
        ),
        pretrained='random',
    ),
    text=dict(templates='single'),
)
