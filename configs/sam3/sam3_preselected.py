# MaskCLIP looks once and says which classes may be there; SAM 3 is asked for these alone.
_base_ = ['../_base_/models/sam3.py', '../_base_/protocols/sam3.py']

model = dict(
    _base_.settings['segearth'],
    budget='preselected',
    preselection=dict(
        model=dict(
            type='TrainingFreeSegmentor',
            clip=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            encoder=dict(last_block='maskclip'),
        ),
        threshold=0.05,
        at_least=10,
        at_most=40,
    ),
)
