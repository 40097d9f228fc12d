# Version 2 of CorrCLIP: the companion sees the whole image, regions are not merged. Its release
# takes C-RADIOv3-L by default and DINOv2-L as one of the others; model.bank adds the retrieval.
_base_ = './corrclip.py'

model = dict(
    encoder=dict(
        companion=dict(_delete_=True, type='DINOv2Companion', model='dinov2_vitl14_reg'),
        companion_sees='image',
        merge_distance=None,
    ),
)
