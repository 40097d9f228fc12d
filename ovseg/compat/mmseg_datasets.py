"""Importing this module imports `mmseg.datasets` without the two lines it prints.

onedl-mmsegmentation prints 'Could not import OneDL' wherever the package `onedl` is not installed,
on the standard output of every tool that touches a data set. It can go when mmseg logs that line
at the level (DEBUG) which it asks for.
"""

from __future__ import annotations

from ovseg.compat.quiet_imports import import_without

import_without('Could not import OneDL', 'mmseg.datasets')
