# FC-CLIP as released: Mask2Former on the maps of a frozen CLIP. A config adds CLIP and words.
model = dict(
    type='FCCLIP',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=32,  # in training; after it the segmentor pads
    ),
    proposals=dict(type='MaskedAttentionHead', num_queries=250),
    # "max": each synonym has a row, and the best one of a class counts.
    text=dict(templates='vild-14', combine='max'),
)
