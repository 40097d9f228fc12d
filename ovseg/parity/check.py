"""Which golden file is checked by what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ovseg.errors import UserError
from ovseg.parity import (
    clip_dinoiser,
    corrclip,
    denseclip_backbones,
    denseclip_segmentation,
    denseclip_text_side,
    maskclip,
    maskclip_plus,
    ovseg_finetune,
    ovseg_maskformer,
    ovseg_maskformer_training,
    ovseg_regions,
    ovseg_words,
    proxy_clip,
    trident,
    trident_refinement,
)
from ovseg.parity import training_free_attention as attention
from ovseg.parity.report import Line, Report


def _detection(name: str) -> Callable[[Report, Path], None]:
    """A check of DenseCLIP's detectors; mmdet's models are imported when it runs."""

    def check(report: Report, folder: Path) -> None:
        from ovseg.parity import denseclip_detection

        getattr(denseclip_detection, name)(report, folder)

    return check


# file name -> check(report, folder)
CHECKS: dict[str, Callable[[Report, Path], None]] = {
    'preprocess.pt': maskclip.check_preprocess,
    'vit_dense.pt': maskclip.check_weights_and_text,
    'resnet_dense.pt': maskclip.check_weights_and_text,
    'vit_dense_cases.pt': maskclip.check_vit_cases,
    'resnet_dense_cases.pt': maskclip.check_resnet_cases,
    'maskclip_variants.pt': maskclip.check_variants,
    'maskclip_plus.pt': maskclip_plus.check_training_steps,
    'inference_cases.pt': clip_dinoiser.check_inference,
    'slide.pt': clip_dinoiser.check_slide,
    'teachers.pt': clip_dinoiser.check_teachers,
    'teacher_signals.pt': clip_dinoiser.check_teacher_signals,
    'dinoclip_teacher_model.pt': clip_dinoiser.check_teacher_model,
    'final_feats.pt': clip_dinoiser.check_final_features,
    'training.pt': clip_dinoiser.check_training,
    'imagenet_subset_indices.pt': clip_dinoiser.check_subset,
    'sclip.pt': attention.check_sclip,
    'naclip.pt': attention.check_naclip,
    'clearclip.pt': attention.check_clearclip,
    'proxyclip.pt': proxy_clip.check_proxy_clip,
    'corrclip_v1.pt': corrclip.check_version_1,
    'corrclip_v1_weights.pt': corrclip.check_weights,
    'corrclip_v2.pt': corrclip.check_version_2,
    'tokens.pt': denseclip_segmentation.check_tokens,
    'units.pt': trident.check_units,
    'stage_refine.pt': trident_refinement.check_stage_refine,
    'text_side.pt': denseclip_text_side.check_text_side,
    'backbones.pt': denseclip_backbones.check_backbones,
    'clip_mapping_rn.pt': denseclip_backbones.check_resnet_mapping,
    'clip_mapping_vit.pt': denseclip_backbones.check_vit_mapping,
    'clip_finetune.pt': ovseg_finetune.check_finetune,
    'det_attnpool.pt': denseclip_backbones.check_detection_pool,
    'det_seg_target.pt': _detection('check_box_target'),
    'maskformer_weights.pt': ovseg_maskformer.check_weights,
    'maskformer_forward.pt': ovseg_maskformer.check_forward,
    'matcher_losses.pt': ovseg_maskformer_training.check_matcher,
    'resnet_deeplab_backbone.pt': ovseg_maskformer.check_resnet,
    'train_forward.pt': ovseg_maskformer_training.check_training,
    'class_names.pt': ovseg_words.check_class_names,
    'clip_visual.pt': ovseg_regions.check_visual,
    'text_features.pt': ovseg_words.check_text,
    'crop_preprocess.pt': ovseg_regions.check_crops,
    'mask_clip_forward.pt': ovseg_regions.check_forward,
    'adapter_semantic_inference.pt': ovseg_regions.check_inference,
}
# How the names of files begin of which a method has any number.
NUMBERED_CHECKS: dict[str, Callable[[Report, Path], None]] = {
    'weights_clip': trident.check_clip_weights,
    'weights_dino': trident.check_dino_weights,
    'weights_sam': trident.check_sam_weights,
    'case_': trident.check_case,
    'rn_seg_': denseclip_segmentation.check_segmentor,
    'vit_seg_': denseclip_segmentation.check_segmentor,
    'retina_det_': _detection('check_detector'),
    'maskrcnn_det_': _detection('check_detector'),
}
# Several methods have a file of this name; a key that only one of them has tells whose it is.
SHARED_NAME = 'weights.pt'
SHARED_NAME_CHECKS: dict[str, Callable[[Report, Path], None]] = {
    'state_dict_clip': attention.check_weights,
    'class_embeddings': clip_dinoiser.check_weights,
}
# Files of methods that are not built yet. In a folder they are listed and do not fail it.
NOT_COVERED: dict[str, str] = {}


def check_path(path: str | Path) -> Iterator[Report]:
    """Checks a golden file, or every golden file of a folder.

    Args:
        path: a ``.pt`` file or a folder of them.

    Yields:
        A report a file.

    Raises:
        UserError: nothing to check there.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f'{path} does not exist; give a golden folder or files')
    files = sorted(path.glob('*.pt')) if path.is_dir() else [path]
    if not files:
        raise UserError(f'{path} holds no .pt file; give a golden folder or files')
    for file in files:
        if check := _find_check(file):
            report = Report(_load(file), str(file))
            check(report, file.parent)
            report.miss_unseen()
        else:
            report = Report({}, str(file))
            reason = NOT_COVERED.get(file.name, 'no check is known for a file of this name')
            known = file.name in NOT_COVERED and path.is_dir()
            report.lines.append(Line(file.name, 'ok' if known else 'missing', _note(reason)))
        yield report


def _find_check(file: Path) -> Callable[[Report, Path], None] | None:
    if file.name == SHARED_NAME:
        content = _load(file)
        return next((check for key, check in SHARED_NAME_CHECKS.items() if key in content), None)
    numbered = (check for start, check in NUMBERED_CHECKS.items() if file.name.startswith(start))
    return CHECKS.get(file.name) or next(numbered, None)


def _load(file: Path) -> dict:
    return torch.load(file, map_location='cpu', weights_only=True)


def _note(reason: str) -> str:
    return f'not covered: {reason}'
