_base_ = '../datasets/voc20.py'

vocabulary = dict(dataset='voc20', protocol='clearclip')
crop_size = (448, 448)
test_dataloader = dict(dataset=dict(resize=dict(scale=(2048, 448), keep_ratio=True)))
