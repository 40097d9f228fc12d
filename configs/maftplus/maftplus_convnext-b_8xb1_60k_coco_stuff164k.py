# The same with CLIP's ConvNeXt-B, 60000 iterations.
_base_ = './maftplus_convnext-l_8xb1_55k_coco_stuff164k.py'

model = dict(clip=dict(model='convnext_base_w_320', pretrained='laion_aesthetic_s13b_b82k_augreg'))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=60001)]
train_cfg = dict(max_iters=60000)
