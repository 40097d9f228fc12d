"""What there is on this machine, and whether it works: nothing here trusts an import to succeed."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

import ovseg
from ovseg.compat import EXTENSION
from ovseg.compat.mmcv_extension import MMCVExtension
from ovseg.input_files import cause_of

# By which other names a distribution gives the same packages.
_OTHER_NAMES = {
    'onedl-mmengine': ('mmengine', 'mmengine-lite'),
    'onedl-mmcv': ('mmcv', 'mmcv-lite'),
    'onedl-mmsegmentation': ('mmsegmentation',),
    'onedl-mmdetection': ('mmdet',),
    'opencv-python': ('opencv-python-headless', 'opencv-contrib-python'),
}
# What the tiny run needs, in the order in which one builds on the other.
_IMPORTED = ('numpy', 'cv2', 'torch', 'torchvision', 'open_clip', 'mmengine', 'mmcv', 'mmseg')
_REQUIREMENT = re.compile(r'([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?')
SCENE = 'a drawn scene'
# The tiny model is right on 91 % of this scene's pixels; noise would be on 6 %.
_SCENE_NUMBER = 1
_ENOUGH = 0.7


@dataclass(frozen=True)
class Package:
    """A package that ovseg asks for.

    Attributes:
        name: of the distribution that is there, or else of the one that is asked for.
        version: of it; None: it is missing.
        at_least: the lowest version that ovseg was tested with; '' where any one does.
    """

    name: str
    version: str | None
    at_least: str = ''

    @property
    def fits(self) -> bool:
        """Whether it is there and not too old."""
        return self.version is not None and _numbers(self.version) >= _numbers(self.at_least)


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        name: of the check.
        fine: whether all is as it should be.
        said: one sentence.
    """

    name: str
    fine: bool
    said: str


def place() -> dict[str, str]:
    """Where this is: ovseg and its folder, Python, the system."""
    return {
        'ovseg': f'{ovseg.__version__} in {Path(ovseg.__file__).parent}',
        'python': f'{platform.python_version()} ({sys.executable})',
        'system': f'{platform.platform()}, {os.cpu_count()} cores',
    }


def versions() -> list[Package]:
    """The packages that ovseg asks for, as the installed distribution says.

    Of a checkout on the path that was not installed, nothing is known.
    """
    try:
        asked = metadata.requires('ovseg') or []
    except metadata.PackageNotFoundError:
        return []
    return [package_of(line) for line in asked if 'extra ==' not in line]


def package_of(requirement: str) -> Package:
    """The package that serves a requirement.

    Args:
        requirement: as a distribution declares it, without a marker.

    Example:
        >>> package_of('no-such-thing>=1.2')
        Package(name='no-such-thing', version=None, at_least='1.2')
    """
    found = _REQUIREMENT.match(requirement)
    assert found is not None  # every declaration begins with a name
    name, at_least = found[1], found[2] or ''
    for one in (name, *_OTHER_NAMES.get(name, ())):
        try:
            # Numbers of the maintained MM packages say nothing about their originals.
            return Package(one, metadata.version(one), at_least if one == name else '')
        except metadata.PackageNotFoundError:
            continue
    return Package(name, None, at_least)


def all_checks(packages: Sequence[Package], device: str | None = None) -> list[Finding]:
    """Checks everything, the run of a tiny model last.

    Args:
        packages: see :func:`versions`.
        device: of the run; None for the usual one.
    """
    return [
        _packages(packages),
        _finding('imports', _imports),
        _finding('devices', _devices),
        _finding('cache of texts', _cache),
        _finding(SCENE, lambda: _scene(device)),
    ]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Exception as error:  # whatever it is, the report goes on
        return Finding(name, False, f'{type(error).__name__}: {cause_of(error)}')


def _packages(packages: Sequence[Package]) -> Finding:
    amiss = [package for package in packages if not package.fits]
    if not packages:
        said = 'ovseg was not installed by pip, so what it asks for is not known'
    elif amiss:
        wanted = ' '.join(f'"{each.name}>={each.at_least}"' for each in amiss)
        said = f'missing or too old: pip install {wanted}'
    else:
        said = f'all {len(packages)} are there'
    return Finding('packages', not amiss, said)


def _imports() -> str:
    for name in _IMPORTED:
        try:
            import_module(name)
        except Exception as error:
            raise ImportError(
                f'{name} cannot be imported: {type(error).__name__}: {cause_of(error)}'
            ) from error
    by_us = isinstance(sys.modules.get(EXTENSION), MMCVExtension)
    ops = 'torch and torchvision' if by_us else 'its own extension'
    return f'{", ".join(_IMPORTED)}; ops of mmcv by {ops}'


def _devices() -> str:
    import torch

    from ovseg.devices import present_devices

    said = []
    for name in present_devices():
        square = torch.eye(8, device=name)
        if not torch.equal((square @ square).cpu(), torch.eye(8)):
            raise RuntimeError(f'{name} multiplies matrices wrongly')
        about = f'{torch.get_num_threads()} threads' if name == 'cpu' else ''
        if name.startswith('cuda'):
            facts = torch.cuda.get_device_properties(name)
            about = f'{facts.name}, {facts.total_memory / 2**30:.0f} GB'
        said.append(f'{name} ({about})' if about else name)
    return ', '.join(said)


def _cache() -> str:
    from ovseg.file_names import existing_part
    from ovseg.text.cache import default_cache_dir

    folder = default_cache_dir()
    with tempfile.TemporaryFile(dir=existing_part(folder)):
        return f'{folder} can be written'


def _scene(device: str | None) -> str:
    from ovseg import OpenVocabSegmenter
    from ovseg.scenes.datasets import CLASSES, class_labels
    from ovseg.scenes.draw import draw, whole
    from ovseg.scenes.world import CANVAS, sample_scene
    from ovseg.zoo import DEFAULT_MODEL

    scene = sample_scene('val', _SCENE_NUMBER, 0, (CANVAS, CANVAS))
    picture = draw(scene, whole(scene))
    segmenter = OpenVocabSegmenter(DEFAULT_MODEL, device=device)
    start = time.perf_counter()
    result = segmenter(picture.image, list(CLASSES))
    seconds = time.perf_counter() - start
    share = float((result.labels == class_labels(scene, picture)).mean())
    said = f'{DEFAULT_MODEL} on {segmenter.device} is right on {100 * share:.0f} % of its pixels'
    if share < _ENOUGH:
        raise RuntimeError(f'{said}, where {100 * _ENOUGH:.0f} % would be the least')
    return f'{said}, in {seconds:.1f} s with its words'


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing.

    Example:
        >>> _numbers('2.11.0+cu130') > _numbers('2.5')
        True
    """
    match = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(part) for part in match[0].split('.')) if match else ()
