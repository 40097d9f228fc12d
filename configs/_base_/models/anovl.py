# AnoVL (arXiv 2308.15939): value-value attention in the last 12 blocks, two states, soft maps.
model = dict(
    type='AnoVL',
    encoder=dict(last_block='vv-all'),
    test_cfg=dict(mode='whole', save_logits=True),
)
