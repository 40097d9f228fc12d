# The teacher is that of maskclip_vit-b16_openai.py.
_base_ = './maskclip_plus_rn50.py'

model = dict(
    teacher=dict(
        clip=dict(model='ViT-B-16-quickgelu', activation='gelu', layer_norm_eps=1e-6),
        encoder=dict(
            _delete_=True, last_block='maskclip', position_resize='token_count', padding='mean'
        ),
    ),
    decode_head=dict(channels=512),
)
