_base_ = './maskclip_plus_rn50.py'

model = dict(
    teacher=dict(clip=dict(model='RN50x16-quickgelu')),
    decode_head=dict(channels=768),
)
