# An FC-CLIP of 1 million parameters on the tiny ConvNeXt CLIP that ships with ovseg
# (configs/tiny_clip/convnext_scenes.py is its training); model.clip.pretrained names another.
_base_ = './fcclip.py'

text_cfg = dict(context_length=20, vocab_size=49408, width=96, heads=4, layers=2)
model = dict(
    clip=dict(
        model=dict(
            embed_dim=128,
            vision_cfg=dict(
                timm_model_name='convnext_scenes',
                timm_pool='',
                timm_proj='linear',
                image_size=64,
            ),
            text_cfg=text_cfg,
        ),
        pretrained='ovseg://tiny_convnext_scenes',
    ),
    proposals=dict(
        num_queries=20,
        channels=64,
        num_heads=4,
        num_layers=3,
        feedforward_channels=256,
        pixel_layers=1,
        pixel_feedforward=128,
        norm_groups=8,
        num_points=256,
    ),
    text=dict(templates='a(n) {}'),
)
del text_cfg
