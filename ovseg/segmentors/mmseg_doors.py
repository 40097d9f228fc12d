"""What mmseg's own interfaces ask of a model: ``init_model``, ``MMSegInferencer`` and their tools.

docs/mmseg_doors.md has the table of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ovseg.devices import choose_device
from ovseg.errors import UserError
from ovseg.images.config_rule import resize_rule_of
from ovseg.images.pipeline import name_of_step, resize_step
from ovseg.weight_files import read_state_dict
from ovseg.weight_files.places import SHIPPED

# For tools that want the name of a checkpoint where a method has none.
NO_CHECKPOINT = f'{SHIPPED}none'
_LOADER = 'LoadImageFromFile'


class MMSegDoors(nn.Module):
    """The part of a segmentor that mmseg's interfaces talk to.

    Attributes:
        reads: what the model looks at beside the inputs.
    """

    reads: frozenset[str]
    _given_config: Any = None
    _has_loaded = False

    @property
    def cfg(self) -> Any:
        """The config that mmseg's ``init_model`` or inferencer built the model from, or None."""
        return self._given_config

    @cfg.setter
    def cfg(self, config: Any) -> None:
        give_pipeline(config, keep_original='originals' in self.reads)
        self._given_config = config

    @property
    def dataset_meta(self) -> dict[str, Any]:
        """Names and colours of the present classes, whatever a checkpoint or tool wrote there."""
        vocabulary = getattr(self, 'vocabulary', None)
        if vocabulary is None:
            return {'classes': (), 'palette': []}
        palette = [list(map(int, colour)) for colour in vocabulary.palette]
        return {'classes': tuple(vocabulary.names), 'palette': palette}

    @dataset_meta.setter
    def dataset_meta(self, given: Any) -> None:
        """Labels mean the words of the model: others', such as Cityscapes', are not taken."""

    def check_weights_were_given(self) -> None:
        """Stops a trained model that mmseg built without its checkpoint.

        Raises:
            UserError: it would answer with random weights.
        """
        config = self._given_config
        if config is None or self._has_loaded:
            return
        needs_checkpoint = getattr(type(self), 'needs_checkpoint', None)
        if needs_checkpoint is not None and needs_checkpoint(config.model):
            wanted = config.get('load_from')
            raise UserError(
                f'this {type(self).__name__} has random weights, as no checkpoint was given'
                + (f' (its config names {wanted})' if wanted else '')
                + ': give it to init_model(config, FILE), MMSegInferencer(config, weights=FILE) or '
                'OpenVocabSegmenter(config, FILE), which also takes what a config names'
            )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        if not state_dict and self.state_dict():
            raise UserError(
                f'{type(self).__name__} needs trained weights and the checkpoint has none; give '
                'the file of its training'
            )
        self._has_loaded = True
        super()._load_from_state_dict(state_dict, *args)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """As ``torch.nn.Module.to``.

        Raises:
            UserError: this machine has no such device.
        """
        device = torch._C._nn._parse_to(*args, **kwargs)[0]
        if device is not None and device.type != 'meta':
            choose_device(device)
        return super().to(*args, **kwargs)

    def cuda(self, device: int | torch.device | None = None) -> Any:
        """As ``torch.nn.Module.cuda``.

        Raises:
            UserError: this machine has no such GPU.
        """
        chosen = f'cuda:{device}' if isinstance(device, int) else device or 'cuda'
        choose_device(chosen)
        return super().cuda(device)


def refuse_pretrained(pretrained: Any) -> None:
    """Stops at ``model.pretrained``, which mmseg's interfaces set to None for every model.

    Args:
        pretrained: its value.

    Raises:
        UserError: weights are named there.
    """
    if pretrained is not None:
        raise UserError(
            f'model.pretrained={pretrained!r} is read by no model of ovseg: name weights in '
            'model.clip.pretrained, or of a backbone in model.backbone'
        )


def give_pipeline(config: Any, keep_original: bool = False) -> None:
    """Gives a config the steps from a picture to the model's inputs where mmseg looks for them.

    That is ``test_pipeline`` and the pipeline of the test data, which then also resizes as the
    config says.

    Args:
        config: changed in place.
        keep_original: whether the model also reads images at their own size.
    """
    given = config.get('test_dataloader') or {}
    dataset = dict(given.get('dataset') or {})
    pipeline = dataset.get('pipeline') or [{'type': _LOADER}, {'type': 'PackSegInputs'}]
    if not any(name_of_step(step) == _LOADER for step in pipeline):
        pipeline = [{'type': _LOADER}, {'type': 'PackSegInputs'}]
    rule = resize_rule_of(config)
    steps: list[Any] = []
    for step in pipeline:
        name = name_of_step(step)
        if name in ('ResizeByRule', 'Resize', 'AntialiasedResize', 'KeepOriginalImage'):
            continue
        if keep_original and name == 'PackSegInputs':
            step = {**step, 'type': 'PackWithOriginal'}
        steps.append(step)
        if name == _LOADER:
            steps += [{'type': 'KeepOriginalImage'}] if keep_original else []
            if rule.scale is not None:
                steps.append(resize_step(vars(rule)))
    dataset.pop('keep_original', None)
    dataset.pop('resize', None)
    config['test_dataloader'] = {**given, 'dataset': {**dataset, 'pipeline': steps}}
    config['test_pipeline'] = [
        step for step in steps if not name_of_step(step).startswith('LoadAnno')
    ]


def _read_shipped(filename: str, *_: Any, **__: Any) -> dict[str, Any]:
    state = {} if filename == NO_CHECKPOINT else read_state_dict(filename)
    return {'state_dict': state, 'meta': {'dataset_meta': {}}}  # mmseg asks for names of classes


# Weights that ship with ovseg are read by mmengine's loaders, too.
CheckpointLoader.register_scheme(SHIPPED, _read_shipped, force=True)
