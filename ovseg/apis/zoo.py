"""The model zoo: names for models, what their weights are, and where their configs lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ovseg
from ovseg.errors import UserError, nearest

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
_OVSEG_SOURCE = 'OVSeg (CVPR 2023), with an ensemble weight chosen for each data set'
_SAM_LICENCE = 'SAM: Apache-2.0 (facebookresearch/segment-anything)'
_LAION_LICENCE = 'MIT (laion/CLIP-ViT-B-16-laion2B-s34B-b88K)'
_LAION_H14_LICENCE = 'MIT (laion/CLIP-ViT-H-14-laion2B-s32B-b79K)'


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be called by name.

    Attributes:
        name: what users write.
        config: path of its config below ``configs/``.
        weights: where the weights come from.
        licence: of the weights.
        published: mIoU by data set as its authors (or others) published it; not measured here.
        source: who published these numbers.
        note: what a user should know before choosing it.
        file: name of the weights that users fetch themselves and give as the checkpoint; '' where
            ovseg ships or fetches them.
    """

    name: str
    config: str
    weights: str
    licence: str
    published: Mapping[str, float] = field(default_factory=dict)
    source: str = ''
    note: str = ''
    file: str = ''

    @property
    def needs_download(self) -> bool:
        """Whether ovseg fetches weights at first use (others ship with it, or users give them)."""
        return not self.file and not self.weights.startswith('shipped')

    @property
    def config_path(self) -> Path:
        """Where the config lies on this machine.

        Raises:
            FileNotFoundError: neither in a checkout nor in an installed package.
        """
        return find_config(self.config)


def _maskclip(backbone: str, clip: str, note: str, **published: float) -> ModelEntry:
    return ModelEntry(
        name=f'maskclip-{backbone}',
        config=f'maskclip/maskclip_{backbone}_openai_images.py',
        weights=f'OpenAI CLIP {clip}, fetched by open_clip (tag openai)',
        licence=_OPENAI_LICENCE,
        published=published,
        source=_MASKCLIP_README if published else '',
        note=note,
    )


def _replaced_attention(method: str, source: str, note: str, **published: float) -> ModelEntry:
    return ModelEntry(
        name=f'{method}-vit-b16',
        config=f'{method}/{method}_vit-b16_openai_images.py',
        weights='OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai)',
        licence=_OPENAI_LICENCE,
        published=published,
        source=source,
        note=note,
    )


def _trident(
    backbone: str, clip: str, weights: str, licence: str, note: str, **published: float
) -> ModelEntry:
    return ModelEntry(
        name=f'trident-{backbone}',
        config=f'trident/trident_{backbone}_{weights}_images.py',
        weights=f'{clip}; DINO ViT-B/16 and SAM ViT-B, fetched from dl.fbaipublicfiles.com',
        licence=f'{licence}; DINO: Apache-2.0 (facebookresearch/dino); {_SAM_LICENCE}',
        published=published,
        source=_TRIDENT_README if published else '',
        note=note,
    )


def _ovseg(backbone: str, clip: str, file: str, note: str, **published: float) -> ModelEntry:
    return ModelEntry(
        name=f'ovseg-{backbone}',
        config=f'ovseg/ovseg_{backbone.replace("-vit", "_vit")}_images.py',
        weights=(
            f"{file} (a MaskFormer and an adapted CLIP {clip}) from the authors' Google Drive, "
            'linked in GETTING_STARTED.md of facebookresearch/ov-seg'
        ),
        licence='CC BY-NC 4.0 (facebookresearch/ov-seg): not for commercial use',
        published=published,
        source=_OVSEG_SOURCE,
        note=note,
        file=file,
    )


_DINO_LICENCE = 'DINO: Apache-2.0 (facebookresearch/dino)'
_UNPUBLISHED = 'The method publishes no number for this backbone.'
_ENTRIES = (
    ModelEntry(
        name=DEFAULT_MODEL,
        config='maskclip/maskclip_tiny_images.py',
        weights='shipped with ovseg: a tiny CLIP trained on procedural scenes',
        licence='Apache-2.0 (part of ovseg)',
        note='Runs at once on any machine; knows its small world only, no photographs.',
    ),
    _maskclip(
        'vit-b16',
        'ViT-B/16',
        'The first choice for photographs.',
        voc20=49.5,
        context59=21.7,
        coco_stuff164k=12.5,
    ),
    _maskclip('vit-b32', 'ViT-B/32', _UNPUBLISHED + ' Coarse masks: patches of 32 pixels.'),
    _maskclip('vit-l14', 'ViT-L/14', _UNPUBLISHED + ' Users report poorer masks than with B/16.'),
    _maskclip('rn50', 'RN50', '', voc20=41.5, context59=18.5, coco_stuff164k=10.2),
    _maskclip('rn101', 'RN101', _UNPUBLISHED),
    _maskclip('rn50x4', 'RN50x4', _UNPUBLISHED),
    _maskclip(
        'rn50x16',
        'RN50x16',
        'Slow on a CPU.',
        voc20=50.9,
        context59=20.3,
        coco_stuff164k=13.6,
    ),
    ModelEntry(
        name='maskclip-vit-b16-laion',
        config='maskclip/maskclip_vit-b16_laion2b_images.py',
        weights='OpenCLIP ViT-B-16, fetched by open_clip (tag laion2b_s34b_b88k)',
        licence=_LAION_LICENCE,
        published={
            'voc20': 61.8,
            'cityscapes': 25.0,
            'context59': 25.5,
            'ade20k': 14.2,
            'coco_stuff164k': 17.5,
        },
        source=_FLOSS_README,
        note="The MaskCLIP inside CLIP-DINOiser: LAION weights, CLIP's own normalisation.",
    ),
    ModelEntry(
        name='clip-dinoiser-tiny',
        config='clip_dinoiser/clip_dinoiser_tiny_images.py',
        weights='shipped with ovseg: the tiny CLIP and two layers taught by the tiny DINO',
        licence='Apache-2.0 (part of ovseg)',
        note='Smoother masks than maskclip-tiny, slower: windows every 4 pixels.',
    ),
    ModelEntry(
        name='clip-dinoiser-vit-b16',
        config='clip_dinoiser/clip_dinoiser_vit-b16_laion2b_images.py',
        weights=(
            'OpenCLIP ViT-B-16, fetched by open_clip (tag laion2b_s34b_b88k), and two layers '
            "(7 MB) from the authors' repository"
        ),
        licence=f'{_LAION_LICENCE}; two layers: Apache-2.0 (wysoczanska/clip_dinoiser)',
        published={
            'voc20': 80.9,
            'cityscapes': 31.7,
            'context59': 35.9,
            'ade20k': 20.0,
            'coco_stuff164k': 24.6,
        },
        source='CLIP-DINOiser (ECCV 2024)',
        note='Smooth masks for the price of MaskCLIP.',
    ),
    _replaced_attention(
        'sclip',
        _SCLIP_README,
        'Residual and MLP of the last block are kept; runs in small windows.',
        voc21=59.63,
        context60=31.74,
        coco_object=33.52,
        voc20=81.54,
        context59=34.46,
        coco_stuff164k=22.77,
        cityscapes=32.34,
        ade20k=16.45,
    ),
    _replaced_attention(
        'clearclip',
        _CLEARCLIP_README,
        'Simplest last block; also published for OpenCLIP and MetaCLIP weights.',
        voc20=80.9,
        context59=35.9,
        coco_stuff164k=23.9,
        cityscapes=30.0,
        ade20k=16.7,
    ),
    _replaced_attention(
        'naclip',
        _NACLIP_README,
        'The best numbers without a second model; masks follow colour edges (PAMR).',
        voc21=64.07,
        context60=34.99,
        coco_object=36.19,
        voc20=83.03,
        context59=38.35,
        coco_stuff164k=25.69,
        cityscapes=38.27,
        ade20k=19.05,
    ),
    ModelEntry(
        name='proxyclip-tiny',
        config='proxyclip/proxyclip_tiny_images.py',
        weights='shipped with ovseg: the tiny CLIP and the tiny DINO',
        licence='Apache-2.0 (part of ovseg)',
        note='How a second encoder helps, on drawings; clip-dinoiser-tiny is better there.',
    ),
    ModelEntry(
        name='proxyclip-vit-b16',
        config='proxyclip/proxyclip_vit-b16_openai_images.py',
        weights=(
            'OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai), and DINO ViT-B/8 (343 MB) '
            'from its authors'
        ),
        licence=f'{_OPENAI_LICENCE}; {_DINO_LICENCE}',
        published={
            'voc21': 61.3,
            'context60': 35.3,
            'coco_object': 37.5,
            'voc20': 80.3,
            'context59': 39.1,
            'coco_stuff164k': 26.5,
            'cityscapes': 38.1,
            'ade20k': 20.2,
        },
        source=_PROXYCLIP_SOURCE,
        note='Masks follow what DINO finds alike, on a grid of 8 pixels. Slow on a CPU.',
    ),
    ModelEntry(
        name='corrclip-vit-b16',
        config='corrclip/corrclip_vit-b16_metaclip_images.py',
        weights=(
            'MetaCLIP ViT-B/16, fetched by open_clip (tag metaclip_fullcc), DINO ViT-B/8 (343 MB) '
            'and SAM ViT-H (2.6 GB) from their authors'
        ),
        licence=f'CC-BY-NC 4.0 (facebookresearch/MetaCLIP); {_DINO_LICENCE}; {_SAM_LICENCE}',
        published={
            'voc21': 74.8,
            'context60': 44.2,
            'coco_object': 43.7,
            'voc20': 88.8,
            'context59': 48.8,
            'coco_stuff164k': 31.6,
            'cityscapes': 49.4,
            'ade20k': 26.9,
        },
        source=_CORRCLIP_README,
        note=(
            'One label a region of SAM: outlines as sharp as its masks. Wants a GPU; the numbers '
            "are with SAM 2's masks."
        ),
    ),
    ModelEntry(
        name='trident-tiny',
        config='trident/trident_tiny_images.py',
        weights='shipped with ovseg: the tiny CLIP, the tiny DINO and the tiny SAM',
        licence='Apache-2.0 (part of ovseg)',
        note='The best masks on drawings, with sharp outlines.',
    ),
    _trident(
        'vit-b16',
        'OpenAI CLIP ViT-B/16, fetched by open_clip (tag openai)',
        'openai',
        _OPENAI_LICENCE,
        'The sharpest masks: DINO and SAM decide what belongs together. Slow on a CPU.',
        voc21=67.1,
        context60=38.6,
        coco_object=41.1,
        voc20=84.5,
        context59=42.2,
        coco_stuff164k=28.3,
        cityscapes=42.9,
        ade20k=21.9,
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
        voc21=70.8,
        context60=40.1,
        coco_object=42.2,
        voc20=88.7,
        context59=44.3,
        coco_stuff164k=28.6,
        cityscapes=47.6,
        ade20k=26.7,
    ),
    ModelEntry(
        name='denseclip-tiny',
        config='denseclip/denseclip_fpn_tiny_scenes.py',
        weights='shipped with ovseg: a tiny CLIP with a Semantic FPN, trained on labels of scenes',
        licence='Apache-2.0 (part of ovseg)',
        note='Knows the 17 classes of its training only: call it without words.',
    ),
    ModelEntry(
        name='ovseg-tiny',
        config='ovseg/ovseg_tiny_images.py',
        weights='shipped with ovseg: a tiny MaskFormer, the tiny CLIP adapted to masked regions',
        licence='Apache-2.0 (part of ovseg)',
        note='Masks first, then names, on drawings: the one to try --task instance with.',
    ),
    _ovseg(
        'swin-b-vit-l14',
        'ViT-L/14',
        'ovseg_swinbase_vitL14_ft_mpt.pth',
        'Its MaskFormer was trained on COCO-Stuff; also gives panoptic and instance segments.',
        voc20=94.5,
        context59=55.7,
        context459=12.4,
        ade20k=29.6,
        ade847=9.0,
    ),
    _ovseg(
        'r101c-vit-b16',
        'ViT-B/16',
        'ovseg_R101c_vitB16_ft_mpt.pth',
        'The smaller one.',
        voc20=92.6,
        context59=53.3,
        context459=11.0,
        ade20k=24.8,
        ade847=7.1,
    ),
    ModelEntry(
        name='ovseg-sam-vit-l14',
        config='ovseg/ovseg_sam_vit-l14_images.py',
        weights=(
            'OpenAI CLIP ViT-L/14, fetched by open_clip (tag openai), and SAM ViT-H (2.6 GB) from '
            'its authors'
        ),
        licence=f'{_OPENAI_LICENCE}; {_SAM_LICENCE}',
        note="SAM's masks, each named by plain CLIP; no number is published. Wants a GPU.",
    ),
)


def check_weights(
    config: Path, checkpoint: str | Path | None, option: str = '--checkpoint FILE'
) -> None:
    """Stops where users have to bring the weights of a model and give none.

    Args:
        config: path of the model's config; one that is not of the zoo passes.
        checkpoint: what the user gave.
        option: how the weights are given, with FILE for their name.

    Raises:
        UserError: the file to fetch, from where, and under which licence.
    """
    if checkpoint is not None:
        return
    for entry in _ENTRIES:
        if entry.file and entry.config_path.resolve() == config.resolve():
            raise UserError(
                f'ovseg cannot fetch the weights of {entry.name}: get {entry.weights}, and give it '
                f'as {option.replace("FILE", entry.file)}; its licence is {entry.licence}.'
            )


def list_models() -> list[ModelEntry]:
    """All models that can be called by name, the default first.

    Example:
        >>> [entry.name for entry in list_models()][:2]
        ['maskclip-tiny', 'maskclip-vit-b16']
    """
    return list(_ENTRIES)


def find_model(name: str) -> ModelEntry:
    """The entry of a name.

    Raises:
        UserError: no model has that name (the nearest one is suggested).
    """
    for entry in _ENTRIES:
        if entry.name == name:
            return entry
    names = [entry.name for entry in _ENTRIES]
    raise UserError(
        f'There is no model {name!r}: use one of {", ".join(names)}, or the path of a config.'
        + nearest(name, names)
    )


def resolve_model(model: str | Path) -> tuple[str, Path]:
    """Name and config path of what a user calls a model: a zoo name or a config's path.

    Args:
        model: a name of ``list_models()``, a path to a ``.py`` config, or such a path relative to
            ``configs/``.

    Raises:
        UserError: unknown name.
        FileNotFoundError: there is no such config.
    """
    text = str(model)
    if not text.endswith('.py'):
        entry = find_model(text)
        return entry.name, entry.config_path
    path = Path(text).expanduser()
    if path.is_file():
        return path.stem, path
    try:
        return path.stem, find_config(text.removeprefix('configs/'))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'There is no config {text}: name an existing file, or a model of ovseg.list_models().'
        ) from error


def find_config(relative: str) -> Path:
    """A config of ovseg's own: beside the package in a checkout, inside it once installed.

    Args:
        relative: path below ``configs/``.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    package = Path(ovseg.__file__).parent
    folders = (package.parent / 'configs', package / '.mim' / 'configs')
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    raise FileNotFoundError(
        f'The config {relative} is neither in {folders[0]} nor in {folders[1]}: '
        'the installation of ovseg is incomplete.'
    )
