"""The models of the zoo as a table for people."""

from __future__ import annotations

import re

from ovseg.tables import text_table
from ovseg.zoo.entry import ModelEntry

# What the methods call themselves, by the folder of their configs.
METHODS = {
    'maskclip': 'MaskCLIP',
    'encoders': 'MaskCLIP',
    'clip_dinoiser': 'CLIP-DINOiser',
    'sclip': 'SCLIP',
    'clearclip': 'ClearCLIP',
    'naclip': 'NACLIP',
    'resclip': 'ResCLIP',
    'proxyclip': 'ProxyCLIP',
    'corrclip': 'CorrCLIP',
    'trident': 'Trident',
    'tipsv2': 'TIPSv2',
    'radseg': 'RADSeg',
    'dinotxt': 'dino.txt',
    'sam3': 'SAM 3',
    'denseclip': 'DenseCLIP',
    'ovseg': 'OVSeg',
    'fcclip': 'FC-CLIP',
    'maftplus': 'MAFT+',
}
_WHENCE = re.compile(
    r', (fetched by open_clip \(tag \w+\)|fetched from \S+|linked in .*)'
    r'| from (\w+ authors.*|the Hugging Face hub)'
)
_LICENCES = re.compile(
    r'MIT|Apache-2\.0|CC[- ]BY-NC 4\.0|Apple(?= Machine)|NVIDIA(?= Open)|DINOv3(?= licence)|'
    r'SAM License'
)


class ModelList(list[ModelEntry]):
    """A list of models that shows itself as a table."""

    def __repr__(self) -> str:
        """One line a model: its method, where its weights come from, what they are."""
        header = ('model', 'method', 'weights', 'licence', 'what they are')
        table = text_table(header, [_row(entry) for entry in self], left=len(header))
        return '\n'.join(line.rstrip() for line in table.splitlines())

    __str__ = __repr__


def short_facts(entry: ModelEntry) -> tuple[str, str, str, str]:
    """A model in four cells: its name, its method, where its weights come from, their licences."""
    come = 'downloaded' if entry.needs_download else 'in ovseg'
    return (
        entry.name,
        METHODS[entry.config.split('/')[0]],
        'you bring them' if entry.file else come,
        ', '.join(dict.fromkeys(_LICENCES.findall(entry.licence))),
    )


def _row(entry: ModelEntry) -> tuple[str, ...]:
    what = _WHENCE.sub('', entry.weights).removeprefix('shipped with ovseg: ')
    return (*short_facts(entry), what)
