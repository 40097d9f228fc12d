# ResCLIP's published settings: NACLIP's, and the share of the earlier blocks a data set.
_base_ = './naclip.py'

shares = dict(
    voc20=0.6,
    context59=0.4,
    coco_stuff164k=0.4,
    cityscapes=0.2,
    ade20k=0.3,
    voc21=0.3,
    context60=0.3,
    coco_object=0.4,
    images=0.4,
)
settings = dict(encoder=dict(last_block=dict(settings=dict(share=shares[_base_.on]))))
del shares
