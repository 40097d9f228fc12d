# MaskCLIP as released, for CLIP's ViTs: erf GELU and epsilon 1e-6 on weights that were trained with
# QuickGELU and 1e-5, and a position embedding that is resized only when the token count differs.
_base_ = './maskclip_resnet.py'

model = dict(
    clip=dict(activation='gelu', layer_norm_eps=1e-6),
    encoder=dict(
        _delete_=True, last_block='maskclip', position_resize='token_count', padding='mean'
    ),
)
