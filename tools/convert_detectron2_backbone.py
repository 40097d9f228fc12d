"""Write a pretrained backbone of detectron2 (.pkl) as a checkpoint for mmseg's backbones.

    python tools/convert_detectron2_backbone.py R-103.pkl pretrained/R-103.pth

OVSeg with R101c starts from R-103.pkl (detectron2's model zoo, DeepLab). The file is a pickle; only
arrays and plain data are read from it, nothing in it is run.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg.errors import UserError, run_cli
from ovseg.files import check_folder, written_whole
from ovseg.input_files import regular_file

if TYPE_CHECKING:
    import torch

# The classifier of the pretraining.
_CLASSIFIER = ('fc.', 'stem.fc.', 'linear.')
# What NumPy arrays are pickled as, by NumPy 1 and 2.
_ARRAYS = {
    *((f'numpy.{core}.multiarray', '_reconstruct') for core in ('core', '_core')),
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('_codecs', 'encode'),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}')
        return super().find_class(module, name)


def read_backbone(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a pickle of detectron2, under mmseg's names.

    Args:
        path: a mapping of arrays, or one under ``model``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: something else than arrays, or names of another backbone.
    """
    import numpy as np
    import torch

    from ovseg.encoders.ovseg_format import backbone_from_ovseg
    from ovseg.weight_files.pickles import check_operations

    with regular_file(path, 'weight file').open('rb') as file:
        try:
            check_operations(file)
            file.seek(0)
            content = _ArrayUnpickler(file, encoding='latin1').load()
        except Exception as error:
            raise UserError(
                f'{path} was not read, because it is damaged or would run code ({error}); give a '
                ".pkl of detectron2's model zoo"
            ) from error
    weights = content.get('model', content) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise UserError(f"{path} holds no weights; give a .pkl of detectron2's model zoo")
    kept = {name: value for name, value in weights.items() if not name.startswith(_CLASSIFIER)}
    strange = next((name for name, value in kept.items() if not isinstance(value, np.ndarray)), '')
    if strange:
        raise UserError(f"'{strange}' in {path} is no array; give a .pkl of detectron2's model zoo")
    return backbone_from_ovseg({name: torch.from_numpy(value) for name, value in kept.items()})


def main(argv: Sequence[str] | None = None) -> int:
    """Converts and says what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args(argv)
    regular_file(args.source, 'weight file')
    check_folder(args.out.parent)
    state = read_backbone(args.source)
    import torch

    with written_whole(args.out) as temporary:
        torch.save({'state_dict': state}, temporary)
    print(f'{args.out}: {len(state)} tensors')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
