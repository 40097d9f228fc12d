_base_ = './maskclip_plus_sgd.py'

train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=40000, by_epoch=False)]
