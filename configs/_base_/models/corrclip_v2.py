# Version 2 of CorrCLIP: the companion sees the whole image, regions are not merged. C-RADIOv3-L is
# what its release takes; configs named _bank add the retrieval.
_base_ = './corrclip.py'

model = dict(
    encoder=dict(
        companion=dict(_delete_=True, type='RADIOCompanion', model='c-radio_v3-l'),
        companion_sees='image',
        merge_distance=None,
    ),
)
