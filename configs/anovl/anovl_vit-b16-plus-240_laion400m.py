_base_ = [
    '../_base_/models/anovl.py',
    '../_base_/datasets/mvtec.py',
    '../_base_/default_runtime.py',
]

model = dict(
    clip=dict(model='ViT-B-16-plus-240', pretrained='laion400m_e32'),
    adapter=dict(steps=5, rate=1e-3),
)
# As published: 240 x 240, the aspect not kept.
resize = dict(scale=(240, 240), keep_ratio=False)
test_dataloader = dict(dataset=dict(resize=resize))
