"""The models of the zoo: what their weights are and under which licence they stand."""

from __future__ import annotations

from ovseg.zoo.entry import ModelEntry

DEFAULT_MODEL = 'maskclip-tiny'

_MASKCLIP_README = 'MaskCLIP (ECCV 2022), README of chongzhou96/MaskCLIP, no refinement'
_FLOSS_README = "CLIP-DINOiser's MaskCLIP, README of yasserben/FLOSS"
_SCLIP_README = 'SCLIP (ECCV 2024), README of wangf3014/SCLIP, default settings'
_CLEARCLIP_README = 'ClearCLIP (ECCV 2024), README of mc-lan/ClearCLIP'
_NACLIP_README = 'NACLIP (WACV 2025), README of sinahmr/NACLIP, with PAMR'
_PROXYCLIP_SOURCE = "ProxyCLIP (ECCV 2024), quoted by Trident's main table"
_CORRCLIP_README = 'CorrCLIP (ICCV 2025), README of zdk258/CorrCLIP, with region maps by SAM 2'
_TRIDENT_README = 'Trident (ICCV 2025), README of YuHengsss/Trident'
_OPENAI_LICENCE = 'MIT (openai/CLIP); its model card advises against untested deployment'
_MAFTPLUS_README = 'MAFT+ (ECCV 2024), README of jiaosiyu1999/MAFT-Plus'
_OVSEG_SOURCE = 'OVSeg (CVPR 2023), with an ensemble weight chosen for each data set'
_DINO_LICENCE = 'DINO: Apache-2.0 (facebookresearch/dino)'
_SAM_LICENCE = 'SAM: Apache-2.0 (facebookresearch/segment-anything)'
_SAM2 = 'SAM 2.1 Hiera-L (0.9 GB) from the Hugging Face hub'
_SAM2_LICENCE = 'SAM 2: Apache-2.0 (facebookresearch/sam2)'
_METACLIP_LICENCE = 'CC-BY-NC 4.0 (facebookresearch/MetaCLIP)'
_LAION_LICENCE = 'MIT (laion/CLIP-ViT-B-16-laion2B-s34B-b88K)'
_LAION_H14_LICENCE = 'MIT (laion/CLIP-ViT-H-14-laion2B-s32B-b79K)'
_TIPSV2_README = 'TIPSv2 (arXiv 2604.12012), README of google-deepmind/tips'
_TIPSV2_NOTEBOOK = 'TIPSv2 (arXiv 2604.12012), zero-shot notebook of google-deepmind/tips'
_TIPSV2_LICENCE = 'Apache-2.0 by its model card (the README of google-deepmind/tips says CC-BY)'
_APPLE_LICENCE = 'Apple Machine Learning Research Model licence: for research only'
_RADIO_LICENCE = 'C-RADIO: NVIDIA Open Model License (nvidia/C-RADIOv3-{})'
_SIGLIP2_LICENCE = 'SigLIP 2: Apache-2.0 (google/siglip2-so400m-patch16-naflex)'
_DINOTXT_V3_SOURCE = 'DINOv3 (arXiv 2508.10104), quoted at second hand'
_UNPUBLISHED = 'The method publishes no number for this backbone.'


def _maskclip(backbone: str, clip: str, note: str, source: str = '') -> ModelEntry:
    return ModelEntry(
        name=f'maskclip-{backbone}',
        config=f'maskclip/maskclip_{backbone}_openai.py',
        weights=f'OpenAI CLIP {clip}, fetched by open_clip (tag openai)',
        licence=_OPENAI_LICENCE,
        source=source,
        note=note,
    )


def _encoder(name: str, config: str, clip: str, tag: str, licence: str, note: str) -> ModelEntry:
    return ModelEntry(
        name=name,
        config=f'encoders/maskclip_{config}.py',
        weights=f'{clip}, fetched by open_clip (tag {tag})',
        licence=licence,
        note=note,
    )


def _replaced_attention(method: str, source: str, note: str) -> ModelEntry:
    return ModelEntry(
        name=f'{method}-vit-b16',
        config=f'{method}/{method}_vit-b16_openai.py',
        weights='OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai)',
        licence=_OPENAI_LICENCE,
        source=source,
        note=note,
    )


def _tipsv2(size: str, model: str, note: str, source: str) -> ModelEntry:
    return ModelEntry(
        name=f'tipsv2-{size}',
        config=f'tipsv2/tipsv2_{size}.py',
        weights=f'TIPSv2 {model} (google/tipsv2-{size}) from the Hugging Face hub',
        licence=_TIPSV2_LICENCE,
        source=source,
        note=f'{note} Words need the extra transformers.'.strip(),
    )


def _radseg(size: str, letter: str, note: str) -> ModelEntry:
    return ModelEntry(
        name=f'radseg-{size}',
        config=f'radseg/radseg_{size}.py',
        weights=(
            f'C-RADIO v3-{letter} (nvidia/C-RADIOv3-{letter}) and words of SigLIP 2 SO400M '
            '(4.5 GB) from the Hugging Face hub'
        ),
        licence=f'{_RADIO_LICENCE.format(letter)}; {_SIGLIP2_LICENCE}',
        note=f'{note} Words need the extra transformers.',
    )


def _sam3(rule: str, note: str, source: str = '') -> ModelEntry:
    dense = ''
    if rule == 'preselected':
        dense = '; OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai)'
    return ModelEntry(
        name=f'sam3-{rule}',
        config=f'sam3/sam3_{rule}.py',
        weights=f'SAM 3 (facebook/sam3, 3.4 GB) from the Hugging Face hub, gated{dense}',
        licence=(
            'SAM License (facebook/sam3): access by request, no open-source licence'
            + (f'; {_OPENAI_LICENCE}' if dense else '')
        ),
        source=source,
        note=f'{note} Needs the extra transformers. Wants a GPU.',
    )


def _trident(
    backbone: str, clip: str, weights: str, licence: str, note: str, source: str = ''
) -> ModelEntry:
    return ModelEntry(
        name=f'trident-{backbone}',
        config=f'trident/trident_{backbone}_{weights}.py',
        weights=f'{clip}; DINO ViT-B/16 and SAM ViT-B, fetched from dl.fbaipublicfiles.com',
        licence=f'{licence}; {_DINO_LICENCE}; {_SAM_LICENCE}',
        source=source,
        note=note,
    )


def _ovseg(backbone: str, clip: str, file: str, note: str) -> ModelEntry:
    return ModelEntry(
        name=f'ovseg-{backbone}',
        config=f'ovseg/ovseg_{backbone.replace("-vit", "_vit")}.py',
        weights=(
            f"{file} (a MaskFormer and an adapted CLIP {clip}) from the authors' Google Drive, "
            'linked in GETTING_STARTED.md of facebookresearch/ov-seg'
        ),
        licence='CC BY-NC 4.0 (facebookresearch/ov-seg): not for commercial use',
        source=_OVSEG_SOURCE,
        note=note,
        file=file,
    )


def _fcclip(backbone: str, clip: str, file: str, note: str = '') -> ModelEntry:
    return ModelEntry(
        name=f'fcclip-{backbone}',
        config=f'fcclip/fcclip_{backbone}.py',
        weights=(
            f"{file} (a Mask2Former and CLIP's {clip}) from the authors' links, in the README of "
            'bytedance/fc-clip'
        ),
        licence='Apache-2.0 (bytedance/fc-clip)',
        source='FC-CLIP (NeurIPS 2023), README of bytedance/fc-clip',
        note=note,
        file=file,
    )


def _maftplus(backbone: str, file: str, note: str, source: str) -> ModelEntry:
    return ModelEntry(
        name=f'maftplus-{backbone.replace("_", "-")}',
        config=f'maftplus/maftplus_{backbone}.py',
        weights=(
            f"{file} (a Mask2Former and a tuned CLIP) from the authors' links, in the README of "
            'jiaosiyu1999/MAFT-Plus'
        ),
        licence='MIT (jiaosiyu1999/MAFT-Plus)',
        source=source,
        note=note,
        file=file,
    )


def _tiny_siglip(method: str, others: str, note: str) -> ModelEntry:
    return ModelEntry(
        name=f'{method}-tiny-siglip',
        config=f'{method}/{method}_tiny_siglip.py',
        weights=f'shipped with ovseg: a tiny SigLIP trained on procedural scenes{others}',
        licence='Apache-2.0 (part of ovseg)',
        note=note,
    )


ENTRIES = (
    ModelEntry(
        name=DEFAULT_MODEL,
        config='maskclip/maskclip_tiny.py',
        weights='shipped with ovseg: a tiny CLIP trained on procedural scenes',
        licence='Apache-2.0 (part of ovseg)',
        note='Runs at once on any machine; knows its small world only, no photographs.',
    ),
    _maskclip(
        'vit-b16',
        'ViT-B/16',
        'The first choice for photographs.',
        _MASKCLIP_README,
    ),
    _maskclip('vit-b32', 'ViT-B/32', _UNPUBLISHED + ' Coarse masks: patches of 32 pixels.'),
    _maskclip('vit-l14', 'ViT-L/14', _UNPUBLISHED + ' Users report poorer masks than with B/16.'),
    _maskclip('rn50', 'RN50', '', _MASKCLIP_README),
    _maskclip('rn101', 'RN101', _UNPUBLISHED),
    _maskclip('rn50x4', 'RN50x4', _UNPUBLISHED),
    _maskclip(
        'rn50x16',
        'RN50x16',
        'Slow on a CPU.',
        _MASKCLIP_README,
    ),
    ModelEntry(
        name='maskclip-vit-b16-laion',
        config='maskclip/maskclip_vit-b16_laion2b.py',
        weights='OpenCLIP ViT-B-16, fetched by open_clip (tag laion2b_s34b_b88k)',
        licence=_LAION_LICENCE,
        source=_FLOSS_README,
        note="The MaskCLIP inside CLIP-DINOiser: LAION weights, CLIP's own normalisation.",
    ),
    _tipsv2('b14', 'B/14', 'The quickest of the four.', _TIPSV2_README),
    _tipsv2('l14', 'L/14', 'The best published of the four.', _TIPSV2_NOTEBOOK),
    _tipsv2('so400m14', 'SO400M/14', '', _TIPSV2_README),
    _tipsv2('g14', 'g/14', 'The largest, and below L/14 in dense numbers.', _TIPSV2_README),
    _encoder(
        'siglip2-b16',
        'vit-b16_siglip2',
        'SigLIP 2 ViT-B/16-512',
        'webli',
        'Apache-2.0 (timm/ViT-B-16-SigLIP2-512)',
        'Words of many languages, lower-cased without punctuation; wants ovseg[transformers].',
    ),
    _encoder(
        'pe-core-l14',
        'vit-l14_pe-core',
        'Perception Encoder Core L/14-336',
        'meta',
        'Apache-2.0 (timm/PE-Core-L-14-336)',
        'Sentences of at most 32 tokens.',
    ),
    _encoder(
        'metaclip2-h14',
        'vit-h14_metaclip2',
        'MetaCLIP 2 worldwide ViT-H/14',
        'metaclip2_worldwide',
        _METACLIP_LICENCE,
        'Words of 300 languages, half of its weights for them; wants ovseg[transformers].',
    ),
    _encoder(
        'eva02-l14',
        'vit-l14_eva02',
        'EVA-02-CLIP L/14',
        'merged2b_s4b_b131k',
        'MIT (baaivision/EVA)',
        'Positions by a table and by rotation.',
    ),
    _encoder(
        'mobileclip2-b16',
        'vit-b16_mobileclip2',
        'MobileCLIP2-B',
        'dfndr2b',
        _APPLE_LICENCE,
        'A ViT-B/16 behind a convolutional stem.',
    ),
    _encoder(
        'mobileclip2-s2',
        'mobileclip2-s2_dfndr2b',
        'MobileCLIP2-S2',
        'dfndr2b',
        _APPLE_LICENCE,
        'Small and quick; a coarse map of 32 pixels a place.',
    ),
    _encoder(
        'dfn-b16',
        'vit-b16_dfn2b',
        'DFN ViT-B/16',
        'dfn2b',
        _APPLE_LICENCE,
        "OpenAI's architecture on better filtered pictures.",
    ),
    _encoder(
        'clipa-l14',
        'vit-l14_clipa',
        'CLIPA ViT-L/14',
        'datacomp1b',
        'Apache-2.0 (UCSC-VLAA/ViT-L-14-CLIPA-datacomp1B)',
        'Sentences of at most 32 tokens; wants ovseg[transformers].',
    ),
    ModelEntry(
        name='longclip-b16',
        config='encoders/maskclip_vit-b16_longclip.py',
        weights='longclip-B.pt of BeichenZhang/LongCLIP-B from the Hugging Face hub',
        licence='Apache-2.0 (BeichenZhang/LongCLIP-B)',
        note='Descriptions of up to 248 tokens.',
        file='longclip-B.pt',
    ),
    ModelEntry(
        name='sam3-tiny',
        config='sam3/sam3_tiny.py',
        weights='shipped with ovseg: a tiny SAM 3, trained on phrases and masks of scenes',
        licence='Apache-2.0 (part of ovseg)',
        note='Asked for each word, on drawings. Needs the extra transformers.',
    ),
    _sam3(
        'segearth',
        'Both heads of SAM 3 and its presence, every phrase asked; numbers of a re-run.',
        'ActiveSAM (arXiv 2606.16996), table 1, a re-run of SegEarth-OV3',
    ),
    _sam3(
        'activesam',
        'Asked for the phrases that a small image seems to hold; needs the extra nouns.',
        'ActiveSAM (arXiv 2606.16996), table 1',
    ),
    _sam3(
        'preselected',
        'Asked for the classes that MaskCLIP sees; ours, never measured with real weights.',
    ),
    _radseg('v3-b', 'B', 'One encoder for large images; published in a figure only.'),
    _radseg('v3-h', 'H', 'The larger one, and below v3-b in that figure.'),
    ModelEntry(
        name='dinotxt-v2-l14',
        config='dinotxt/dinotxt_v2-l14.py',
        weights='dino.txt on DINOv2 ViT-L/14, fetched from dl.fbaipublicfiles.com',
        licence='Apache-2.0 (facebookresearch/dinov2)',
        note='DINO with words, patches of its trained head; no number of it is known.',
    ),
    ModelEntry(
        name='dinotxt-v3-l16',
        config='dinotxt/dinotxt_v3-l16.py',
        weights=(
            'dino.txt on DINOv3 ViT-L/16, linked in an answer to a request on the page of '
            'facebookresearch/dinov3; its backbone comes from the Hugging Face hub, gated'
        ),
        licence='DINOv3 licence (facebookresearch/dinov3), accepted by name',
        source=_DINOTXT_V3_SOURCE,
        note='Patches of the head; configs/dinotxt/README.md says what the notebook takes.',
        file='dinov3_vitl16_dinotxt_vision_head_and_text_encoder-a442d8f5.pth',
    ),
    _tiny_siglip('maskclip', '', 'Attention pooling and a sigmoid loss, in the same small world.'),
    ModelEntry(
        name='clip-dinoiser-tiny',
        config='clip_dinoiser/clip_dinoiser_tiny.py',
        weights='shipped with ovseg: the tiny CLIP and two layers taught by the tiny DINO',
        licence='Apache-2.0 (part of ovseg)',
        note='Smoother masks than maskclip-tiny, slower: windows every 4 pixels.',
    ),
    ModelEntry(
        name='clip-dinoiser-vit-b16',
        config='clip_dinoiser/clip_dinoiser_vit-b16_laion2b.py',
        weights=(
            'OpenCLIP ViT-B-16, fetched by open_clip (tag laion2b_s34b_b88k), and two layers '
            "(7 MB) from the authors' repository"
        ),
        licence=f'{_LAION_LICENCE}; two layers: Apache-2.0 (wysoczanska/clip_dinoiser)',
        source='CLIP-DINOiser (ECCV 2024)',
        note='Smooth masks for the price of MaskCLIP.',
    ),
    _replaced_attention(
        'sclip',
        _SCLIP_README,
        'Residual and MLP of the last block are kept; runs in small windows.',
    ),
    _replaced_attention(
        'clearclip',
        _CLEARCLIP_README,
        'Simplest last block; also published for OpenCLIP and MetaCLIP weights.',
    ),
    _replaced_attention(
        'naclip',
        _NACLIP_README,
        'The best numbers without a second model; masks follow colour edges (PAMR).',
    ),
    _replaced_attention(
        'resclip',
        '',
        "ResCLIP's residual attention without its feedback; published only together.",
    ),
    ModelEntry(
        name='proxyclip-tiny',
        config='proxyclip/proxyclip_tiny.py',
        weights='shipped with ovseg: the tiny CLIP and the tiny DINO',
        licence='Apache-2.0 (part of ovseg)',
        note='How a second encoder helps, on drawings; clip-dinoiser-tiny is better there.',
    ),
    _tiny_siglip('proxyclip', ' and the tiny DINO', 'A second encoder on a pooling by attention.'),
    ModelEntry(
        name='proxyclip-vit-b16',
        config='proxyclip/proxyclip_vit-b16_openai.py',
        weights=(
            'OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai), and DINO ViT-B/8 (343 MB) '
            'from its authors'
        ),
        licence=f'{_OPENAI_LICENCE}; {_DINO_LICENCE}',
        source=_PROXYCLIP_SOURCE,
        note='Masks follow what DINO finds alike, on a grid of 8 pixels. Slow on a CPU.',
    ),
    ModelEntry(
        name='corrclip-vit-b16',
        config='corrclip/corrclip_vit-b16_metaclip.py',
        weights=(
            'MetaCLIP ViT-B/16, fetched by open_clip (tag metaclip_fullcc), DINO ViT-B/8 (343 MB) '
            'and SAM ViT-H (2.6 GB) from their authors'
        ),
        licence=f'{_METACLIP_LICENCE}; {_DINO_LICENCE}; {_SAM_LICENCE}',
        source=_CORRCLIP_README,
        note=(
            'One label a region of SAM: outlines as sharp as its masks. Wants a GPU; the numbers '
            "are with SAM 2's masks."
        ),
    ),
    ModelEntry(
        name='corrclip-vit-b16-sam2',
        config='corrclip/corrclip_vit-b16_metaclip_sam2.py',
        weights=(
            'MetaCLIP ViT-B/16, fetched by open_clip (tag metaclip_fullcc), DINO ViT-B/8 (343 MB) '
            'and SAM 2 Hiera-L (0.9 GB) from their authors'
        ),
        licence=f'{_METACLIP_LICENCE}; {_DINO_LICENCE}; {_SAM2_LICENCE}',
        source=_CORRCLIP_README,
        note=(
            'Regions by SAM 2, as the published numbers were made; needs the extra transformers. '
            'Wants a GPU.'
        ),
    ),
    ModelEntry(
        name='corrclip-v2-vit-l14',
        config='corrclip/corrclip_v2_vit-l14_metaclip.py',
        weights=(
            'MetaCLIP ViT-L/14, fetched by open_clip (tag metaclip_fullcc), C-RADIOv3-L '
            '(nvidia, 1.3 GB) from the Hugging Face hub and SAM ViT-H (2.6 GB) from '
            'its authors'
        ),
        licence=(f'{_METACLIP_LICENCE}; C-RADIO: NVIDIA Open Model License; {_SAM_LICENCE}'),
        source='CorrCLIPv2, README of zdk258/CorrCLIP, with region maps by EntitySeg and no bank',
        note=(
            "Version 2; the numbers are with EntitySeg's maps. A bank of regions makes it the best "
            'published here: configs/corrclip/README.md. Wants a GPU.'
        ),
    ),
    ModelEntry(
        name='trident-tiny',
        config='trident/trident_tiny.py',
        weights='shipped with ovseg: the tiny CLIP, the tiny DINO and the tiny SAM',
        licence='Apache-2.0 (part of ovseg)',
        note='The best masks on drawings, with sharp outlines.',
    ),
    _tiny_siglip('trident', ', the tiny DINO and the tiny SAM', 'Sharp outlines on drawings.'),
    _trident(
        'vit-b16',
        'OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai)',
        'openai',
        _OPENAI_LICENCE,
        'The sharpest masks: DINO and SAM decide what belongs together. Slow on a CPU.',
        _TRIDENT_README,
    ),
    ModelEntry(
        name='trident-vit-b16-sam2',
        config='trident/trident_vit-b16_openai_sam2.py',
        weights=(
            f'OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai); {_SAM2}; DINO ViT-B/16 and '
            'SAM ViT-B, fetched from dl.fbaipublicfiles.com'
        ),
        licence=f'{_OPENAI_LICENCE}; {_DINO_LICENCE}; {_SAM_LICENCE}; {_SAM2_LICENCE}',
        note='Outlines by SAM 2.1; needs the extra transformers. No number is published.',
    ),
    _trident(
        'vit-l14',
        'OpenAI CLIP ViT-L/14, fetched by open_clip (tag openai)',
        'openai',
        _OPENAI_LICENCE,
        _UNPUBLISHED,
    ),
    _trident(
        'vit-h14',
        'OpenCLIP ViT-H-14, fetched by open_clip (tag laion2b_s32b_b79k)',
        'laion2b',
        _LAION_H14_LICENCE,
        'The best published numbers here; CLIP alone is 4 GB.',
        _TRIDENT_README,
    ),
    ModelEntry(
        name='denseclip-tiny',
        config='denseclip/denseclip_fpn_tiny_scenes.py',
        weights='shipped with ovseg: a tiny CLIP with a Semantic FPN, trained on labels of scenes',
        licence='Apache-2.0 (part of ovseg)',
        note='Knows the 17 classes of its training only: call it without words.',
        on=None,
    ),
    ModelEntry(
        name='ovseg-tiny',
        config='ovseg/ovseg_tiny.py',
        weights='shipped with ovseg: a tiny MaskFormer, the tiny CLIP adapted to masked regions',
        licence='Apache-2.0 (part of ovseg)',
        note='Masks first, then names, on drawings: the one to try --task instance with.',
    ),
    _ovseg(
        'swin-b-vit-l14',
        'ViT-L/14',
        'ovseg_swinbase_vitL14_ft_mpt.pth',
        'Its MaskFormer was trained on COCO-Stuff; also gives panoptic and instance segments.',
    ),
    _ovseg(
        'r101c-vit-b16',
        'ViT-B/16',
        'ovseg_R101c_vitB16_ft_mpt.pth',
        'The smaller one.',
    ),
    ModelEntry(
        name='fcclip-tiny',
        config='fcclip/fcclip_tiny.py',
        weights='shipped with ovseg: a tiny ConvNeXt CLIP, a Mask2Former of eleven classes on it',
        licence='Apache-2.0 (part of ovseg)',
        note='Things told apart on drawings: panoptic and instance segments.',
    ),
    _fcclip(
        'convnext-l',
        'ConvNeXt-L',
        'fcclip_cocopan.pth',
        'One pass an image; trained on COCO, also gives panoptic and instance segments.',
    ),
    _fcclip('rn50', 'RN50', 'fcclip_cocopan_r50.pth', 'The smallest one.'),
    _maftplus(
        'convnext-b',
        'maftp_b.pth',
        "FC-CLIP's network with a tuned CLIP.",
        _MAFTPLUS_README,
    ),
    _maftplus('convnext-l', 'maftp_l.pth', 'The larger one.', _MAFTPLUS_README),
    _maftplus('convnext-l_panoptic', 'maftp_l_pano.pth', 'For panoptic segments.', ''),
    ModelEntry(
        name='ovseg-sam-vit-l14',
        config='ovseg/ovseg_sam_vit-l14.py',
        weights=(
            'OpenAI CLIP ViT-L/14, fetched by open_clip (tag openai), and SAM ViT-H (2.6 GB) from '
            'its authors'
        ),
        licence=f'{_OPENAI_LICENCE}; {_SAM_LICENCE}',
        note="SAM's masks, each named by plain CLIP; no number is published. Wants a GPU.",
    ),
)
