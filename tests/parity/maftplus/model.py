"""The tiny FC-CLIPs and MAFT+s of golden files: any sizes that their configs state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.models import is_model, register_model
from timm.models.convnext import ConvNeXt
from torch import Tensor

from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.regions.mask_classifier import MaskView
from ovseg.regions.mask_maps import mask_maps
from ovseg.regions.mask_proposals import ImageProposals
from ovseg.segmentors import FCCLIP, MAFTPlus
from ovseg.segmentors.mask_segmentor import ProposalEncoding
from ovseg.text import Classifier
from ovseg.text.cosine import with_no_object
from parity.golden import read, saved
from parity.report import Tolerance

# Of the README of the golden data: logits and mask logits.
LOGITS = Tolerance(atol=1e-4, rtol=2e-5)


def clip_config(golden: Mapping[str, Any]) -> dict[str, Any]:
    """An open_clip model config of the ``clip`` of a golden config."""
    text = {key: golden[f'text_{key}'] for key in ('width', 'heads', 'layers')}
    if golden['kind'] == 'convnext':
        vision = {
            'timm_model_name': _registered(tuple(golden['dims']), tuple(golden['depths'])),
            'timm_pool': '',
            'timm_proj': golden['proj'],
            'timm_drop_path': golden['drop_path'],
        }
    else:
        vision = {'layers': list(golden['depths']), 'width': golden['dims'][0]}
    return {
        'embed_dim': golden['embed_dim'],
        'vision_cfg': {'image_size': golden['image_size'], **vision},
        'text_cfg': {'context_length': 77, 'vocab_size': 49408, **text},
        'quick_gelu': golden['quick_gelu'],
    }


def build(config: Mapping[str, Any], kind: type[FCCLIP] = FCCLIP, **settings: Any) -> FCCLIP:
    """A model with random weights, of the sizes of a golden config."""
    points = {
        'num_points': config.get('num_points', 112),
        'oversample_ratio': config.get('oversample_ratio', 3.0),
        'importance_sample_ratio': config.get('importance_sample_ratio', 0.75),
        'no_object_weight': config.get('no_object_weight', 0.1),
    }
    weights = config.get('weights', {'loss_ce': 2.0, 'loss_mask': 5.0, 'loss_dice': 5.0})
    return kind(
        clip={'model': clip_config(config['clip']), 'pretrained': 'random'},
        proposals={
            'type': 'MaskedAttentionHead',
            'num_queries': config['num_queries'],
            'channels': config['hidden_dim'],
            'num_heads': config['nheads'],
            'num_layers': config['decoder_layers'],
            'feedforward_channels': config['decoder_ffn'],
            'pixel_layers': config['pixel_decoder_layers'],
            'pixel_heads': config['pixel_decoder_nheads'],
            'pixel_points': config['pixel_decoder_points'],
            'pixel_feedforward': config['pixel_decoder_ffn'],
            'class_weight': weights['loss_ce'],
            'mask_weight': weights['loss_mask'],
            'dice_weight': weights['loss_dice'],
            **points,
        },
        ensemble={
            'weight': config['alpha'],
            'unseen_weight': config['beta'],
            'seen': [words(name) for name in config['train_classes']],
        },
        only_filled=config['ensemble_on_valid_mask'],
        test_cfg={
            'segments': {
                'score_threshold': config['object_mask_threshold'],
                'overlap_threshold': config['overlap_threshold'],
            }
        },
        text={'templates': 'vild-14', 'combine': 'max', 'cache_dir': None},
        vocabulary=[words(name) for name in config['train_classes']],
        **settings,
    ).eval()


def load(model: FCCLIP, *states: Mapping[str, Tensor]) -> FCCLIP:
    """Loads published weights as a user does; parts that the golden files leave out are ours.

    Args:
        model: of :func:`build`.
        states: published names; they may be float16.
    """
    whole = model.to_published()
    for state in states:
        whole.update(state)
    with saved(model={'model': whole}) as paths:
        load_checkpoint_strict(model, paths['model'])
    return model


def of_file(path: Path, config: Mapping[str, Any] | None = None, **settings: Any) -> FCCLIP:
    """The model whose weights lie beside a golden file.

    Args:
        path: the golden file, ``maftplus_*.pt`` or ``fcclip_*_*.pt``.
        config: instead of that of the weights.
        settings: of the model.
    """
    family = path.stem.rpartition('_')[0]
    content = read(path.with_name(f'{family}_weights.pt'))
    kind: Any = MAFTPlus if family == 'maftplus' else FCCLIP
    if kind is MAFTPlus:
        settings.setdefault(
            'transfer', {'num_heads': transfer_heads(path.parent, content['config'])}
        )
    return load(build(config or content['config'], kind, **settings), content['state_dict'])


def transfer_heads(folder: Path, config: Mapping[str, Any]) -> int:
    """Heads of the transfer: no config states them, but the unit of the same folder does."""
    units = folder / 'units.pt'
    return read(units)['cdt_semantic']['nhead'] if units.exists() else config['nheads']


def words(name: str) -> list[str]:
    """The synonyms of a class, by FC-CLIP's rule."""
    return name.replace(', ', ',').split(',')


def classifier_of(rows: Tensor, counts: Sequence[int], seen: Tensor | None = None) -> Classifier:
    """The classifier of golden text rows."""
    index = torch.arange(len(counts)).repeat_interleave(torch.tensor(list(counts)))
    return Classifier(
        weight=rows,
        class_index=index,
        num_classes=len(counts),
        logit_scale=100.0,
        aggregation='max',
        seen=None if seen is None else tuple(bool(each) for each in seen),
    )


def with_void(model: FCCLIP, classifier: Classifier) -> Classifier:
    """The classifier with void as one more class, as golden logits have it."""
    count = classifier.num_classes
    return replace(
        classifier,
        weight=with_no_object(classifier.weight, model.proposals.non_object_embedding),
        class_index=torch.cat([classifier.class_index, torch.tensor([count])]),
        num_classes=count + 1,
        row_weight=None,
        bias=None,
        origin=(),
        seen=None,
    )


def encodings_of(
    model: FCCLIP,
    levels: Sequence[Tensor],
    masks: Tensor,
    embeddings: Tensor | None,
    padded_size: tuple[int, int],
    images: Sequence[Tensor],
) -> list[ProposalEncoding]:
    """Encodings of images that were padded together.

    Args:
        model: the model.
        levels: its maps of the batch.
        masks: (B, Q, h, w) logits.
        embeddings: (B, Q, E), or None where class logits will be given.
        padded_size: (height, width) of the batch.
        images: (3, H, W), before that.
    """
    found = []
    for number, image in enumerate(images):
        size = (image.shape[1], image.shape[2])
        maps = mask_maps(masks[number], padded_size, size)
        view = MaskView(image, image, maps, [level[number] for level in levels])
        own = None if embeddings is None else embeddings[number]
        found.append(ProposalEncoding(ImageProposals(maps, own), model._look(view), size))
    return found


def _registered(dims: tuple[int, ...], depths: tuple[int, ...]) -> str:
    """The name under which timm builds a ConvNeXt of these sizes."""
    name = f'convnext_parity_{"_".join(map(str, (*dims, *depths)))}'
    if not is_model(name):

        def build(pretrained: bool = False, drop_path_rate: float = 0.0, **_: Any) -> ConvNeXt:
            trunk = ConvNeXt(dims=dims, depths=depths, drop_path_rate=drop_path_rate)
            trunk.default_cfg = {'pool_size': (1, 1)}
            return trunk

        build.__name__ = name
        register_model(build)
    return name
