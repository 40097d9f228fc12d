# dino.txt as its released notebook asks it (arXiv 2412.16334): windows whose probabilities are
# averaged, a softmax of cosines as they are. The patches are the head's, which training aligned;
# clip.reading='backbone' asks those that DINOv3's notebook really takes.
model = dict(
    type='TrainingFreeSegmentor',
    clip=dict(type='DINOTxt', model='dinov2_vitl14_reg4_dinotxt_tet1280d20h24l', reading='head'),
    encoder=dict(last_block='vanilla', padding='stretch'),
    text=dict(templates='openai-80', logit_scale=1),
    test_cfg=dict(mode='slide', crop_size=(384, 384), stride=(192, 192), average='probabilities'),
)
