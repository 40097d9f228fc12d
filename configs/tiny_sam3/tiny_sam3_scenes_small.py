"""First round of the embedded tiny SAM 3: small views, where most questions are asked."""

_base_ = '../_base_/default_runtime.py'

batch_size = 4
iterations = 4000
warm_up = 100
width = 64
layer = dict(hidden_size=width, num_attention_heads=4, intermediate_size=128, dropout=0.0)

model = dict(
    type='ConceptTraining',
    sam3=dict(
        vision_config=dict(
            backbone_config=dict(
                hidden_size=128,
                intermediate_size=512,
                num_hidden_layers=4,
                num_attention_heads=4,
                image_size=64,
                patch_size=8,
                window_size=4,  # a window is a picture of the tiny CLIP
                global_attn_indexes=[3],
                pretrain_image_size=32,
            ),
            fpn_hidden_size=width,
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        ),
        text_config=dict(
            hidden_size=96,
            intermediate_size=384,
            projection_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=20,
            hidden_act='gelu',
        ),
        geometry_encoder_config=dict(layer, num_layers=1, roi_size=4),
        detr_encoder_config=dict(layer, num_layers=2),
        detr_decoder_config=dict(layer, num_layers=2, num_queries=16),
        mask_decoder_config=dict(hidden_size=width, num_attention_heads=4, num_upsampling_stages=2),
    ),
    start='tiny_clip_scenes',
    # All words of the questions (ovseg.scenes.phrases).
    words=(
        'red orange yellow green blue purple pink black '
        'star heart ball donut flower fish mushroom kite leaf target '
        'sky grass sand water snow brick wall wooden floor '
        'a an visual'
    ),
)

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=False),  # a view's number is its randomness
    dataset=dict(
        type='ScenePhrasesMasksDataset',
        num_scenes=iterations * batch_size,
        size=64,
        questions=6,
        span=(64, 128),  # as large as in the training of the tiny CLIP
    ),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={  # they start at the tiny CLIP's
            'sam3.vision_encoder.backbone': dict(lr_mult=0.5),
            'sam3.text_encoder': dict(lr_mult=0.3),
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=warm_up,
        end=iterations,
        T_max=iterations - warm_up,
        eta_min=4e-4,  # the second round goes on from here
    ),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100, max_keep_ckpts=2))
randomness = dict(seed=0)
