# The released config names RN50's weights here, which leaves most of RN101 random.
_base_ = './fpn_clip_r50.py'
model = dict(
    backbone=dict(
        layers=[3, 4, 23, 3], pretrained=dict(model='RN101-quickgelu', pretrained='openai')
    )
)
