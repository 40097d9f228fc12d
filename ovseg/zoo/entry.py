"""One model of the zoo: its config, its weights and its published numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ovseg.config_files import find_config
from ovseg.zoo.worlds import SCENES

# What metafiles, which other tools read too, call our data sets.
DATA_SETS = {
    'PASCAL VOC20': 'voc20',
    'PASCAL VOC21': 'voc21',
    'PASCAL Context-59': 'context59',
    'PASCAL Context-60': 'context60',
    'PASCAL Context-459': 'context459',
    'COCO-Object': 'coco_object',
    'COCO-Stuff-164k': 'coco_stuff164k',
    'Cityscapes': 'cityscapes',
    'ADE20K': 'ade20k',
    'ADE-847': 'ade847',
}


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be called by name.

    Attributes:
        name: what users write.
        config: path of its config below ``configs/``.
        weights: where the weights come from.
        licence: of the weights.
        source: who published its numbers; '' where there are none.
        note: what a user should know before choosing it.
        file: name of the weights that users fetch themselves and give as the checkpoint; '' where
            ovseg ships or fetches them.
        on: the data set that its config is read for; None for a config of one data set.
    """

    name: str
    config: str
    weights: str
    licence: str
    source: str = ''
    note: str = ''
    file: str = ''
    on: str | None = 'images'

    @property
    def published(self) -> dict[str, float]:
        """MIoU by data set as its authors (or others) published it; not measured here."""
        results = _published(self.config_path) if self.source else {}
        return dict(results)

    @property
    def needs_download(self) -> bool:
        """Whether ovseg fetches weights at first use (others ship with it, or users give them)."""
        return not self.file and not self.weights.startswith('shipped')

    @property
    def world(self) -> str | None:
        """The small world whose words and pictures alone it knows; None for models of photographs.

        Whatever ships with ovseg was trained on Scenes.
        """
        return SCENES if self.weights.startswith('shipped') else None

    @property
    def config_path(self) -> Path:
        """Where the config lies on this machine.

        Raises:
            FileNotFoundError: neither in a checkout nor in an installed package.
        """
        return find_config(self.config)


@cache
def _published(config: Path) -> Mapping[str, float]:
    """Published mIoU of a config by data set, from the metafile beside it."""
    from mmengine.fileio import load  # names alone are answered without it

    models = {entry['Name']: entry for entry in load(config.parent / 'metafile.yaml')['Models']}
    return {
        DATA_SETS[result['Dataset']]: value
        for result in models[config.stem].get('Results', [])
        for metric, value in result['Metrics'].items()
        if metric.startswith('mIoU (published')  # others are of other settings
    }
