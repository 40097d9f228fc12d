_base_ = [
    '../_base_/models/clip_dinoiser_vit-b16_laion2b.py',
    '../_base_/protocols/dinoiser_coco_object.py',
    '../_base_/default_runtime.py',
]
# The learned background (apply_found in the release) is on for VOC21 and COCO-Object only.
model = dict(
    vocabulary=dict(dataset='coco_object', protocol='clip_dinoiser'),
    refiners=[dict(type='ScoreSoftmax'), dict(type='LearnedBackground', certainty=0.99)],
)
