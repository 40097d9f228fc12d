"""MVTec AD, or folders of yours like it: OBJECT/test/DEFECT/x.png, OBJECT/ground_truth/DEFECT."""

on = 'mvtec'
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DefectFolderDataset',
        data_root='data/mvtec',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadDefectMask'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_evaluator = dict(type='AnomalyMetric')
test_cfg = dict(type='TestLoop')
