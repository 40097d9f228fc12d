# Encoders since 2023 under one reading: values of the last block (MaskCLIP) with residual and MLP,
# through whatever the model pools with; pixels by the weights' own statistics. Another last block
# is `--cfg-options model.encoder.last_block=clearclip` (sclip, naclip, vanilla ...).
model = dict(
    type='TrainingFreeSegmentor',
    encoder=dict(last_block='maskclip'),
    text=dict(templates='openai-80'),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
