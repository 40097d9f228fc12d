# For any images. The learned background acts where the words have a background class.
_base_ = ['../_base_/models/clip_dinoiser_vit-b16_laion2b.py', '../_base_/default_runtime.py']

model = dict(refiners=[dict(type='ScoreSoftmax'), dict(type='LearnedBackground', certainty=0.99)])
resize = dict(scale=(2048, 448), keep_ratio=True)
