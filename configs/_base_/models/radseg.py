# RADSeg as released (RADSeg-OVSS/RADSeg) on C-RADIO v3 with its SigLIP 2 adaptor, without SAM.
_base_ = './replaced_attention.py'

model = dict(
    type='RADSeg',
    clip=dict(type='RADIO', model='c-radio_v3-b'),
    encoder=dict(_delete_=True, last_block='radseg'),
    aggregation=dict(beta=1.0, gamma=10.0),
    refiners=[dict(type='ScoreSoftmax', scale=100)],
    denoise_below=0.5,
    test_cfg=dict(mode='splice', crop_size=(336, 336), stride=(224, 224), upsampling='direct'),
)
