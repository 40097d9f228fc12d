"""Parity with OVSeg."""

from parity.golden import GoldenSet
from parity.ovseg import finetune, maskformer, maskformer_training, regions, words

GOLDEN = GoldenSet(
    checks={
        'clip_visual.pt': regions.check_visual,
        'crop_preprocess.pt': regions.check_crops,
        'mask_clip_forward.pt': regions.check_forward,
        'adapter_semantic_inference.pt': regions.check_inference,
        'text_features.pt': words.check_text,
        'class_names.pt': words.check_class_names,
        'maskformer_weights.pt': maskformer.check_weights,
        'maskformer_forward.pt': maskformer.check_forward,
        'resnet_deeplab_backbone.pt': maskformer.check_resnet,
        'matcher_losses.pt': maskformer_training.check_matcher,
        'train_forward.pt': maskformer_training.check_training,
        'clip_finetune.pt': finetune.check_finetune,
    }
)
