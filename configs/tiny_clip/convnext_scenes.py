"""A tiny ConvNeXt CLIP, trained as the embedded tiny CLIP is: for FC-CLIP on Scenes."""

_base_ = './clip_scenes.py'

model = dict(
    clip=dict(
        vision_cfg=dict(
            _delete_=True,
            timm_model_name='convnext_scenes',
            timm_pool='',
            timm_proj='linear',
            image_size=64,
        ),
        text_cfg=dict(context_length=20, vocab_size=49408, width=96, heads=4, layers=2),
    )
)
# A ConvNeXt has one output cell in 32 pixels; close-ups of four.
picture = 64
train_dataloader = dict(dataset=dict(size=picture, span=(32, 120)))
