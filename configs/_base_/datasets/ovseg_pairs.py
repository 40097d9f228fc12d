"""Region-noun pairs, made by tools/make_mask_caption_pairs.py from proposals and COCO's captions.

OVSeg's released pairs have no mask files: `pairs` is then their table, `data_root` the folder that
its paths start from, and `mask_from='colour'` for mask prompts ('none' otherwise, as here).
"""

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=False,  # each round has other views, see SampleSeedHook
    drop_last=True,  # the contrast is over a whole batch
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='SeededSamplesDataset',
        dataset=dict(
            type='MaskCaptionPairs',
            pairs='data/ovseg_pairs/coco_proposal_1cap/pairs.csv',
            data_root=None,
            mask_from='none',
            size=224,
            scale=(0.9, 1.0),
        ),
    ),
)
