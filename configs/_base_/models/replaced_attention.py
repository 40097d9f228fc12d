# What the methods share that replace CLIP's last attention.
model = dict(
    type='TrainingFreeSegmentor',
    # CLIP's statistics as the released code rounds them, for all weights: LAION's ViT-L/14, trained
    # with 0.5 and 0.5, gets them too, and its published numbers include that.
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[122.771, 116.746, 104.094],
        std=[68.501, 66.632, 70.323],
        bgr_to_rgb=True,
    ),
    encoder=dict(position_resize='scale_factor'),
    text=dict(templates='openai-80', combine='max'),
)
