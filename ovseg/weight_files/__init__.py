"""Weight files: one reader that runs nothing of a file, naming by tables, strict loading.

`places` finds a file, `reading` reads any format and says what is wrong with it, `naming` renames,
`loading` puts tensors into modules, which `unfilled` lets be built without a random start. The
other files know one format each.
"""

from ovseg.weight_files.arrays import read_array
from ovseg.weight_files.loading import check_finite, describe_mismatch, drop_frozen, load_strictly
from ovseg.weight_files.naming import inverse, rename, without_wrappers
from ovseg.weight_files.places import WEIGHTS, find_weights, is_there, shipped_file
from ovseg.weight_files.reading import (
    read_checkpoint,
    read_state_dict,
    read_tensors,
    state_of,
)
from ovseg.weight_files.unfilled import Unfilled

__all__ = [
    'WEIGHTS',
    'Unfilled',
    'check_finite',
    'describe_mismatch',
    'drop_frozen',
    'find_weights',
    'inverse',
    'is_there',
    'load_strictly',
    'read_array',
    'read_checkpoint',
    'read_state_dict',
    'read_tensors',
    'rename',
    'shipped_file',
    'state_of',
    'without_wrappers',
]
