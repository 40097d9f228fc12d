"""The module that takes the place of `mmcv._ext`, mmcv's compiled extension, where there is none.

When `mmcv.ops` is imported, mmcv asks its extension only for the presence of names. This module
says yes to every name; the op behind it is looked up in `ovseg.compat.mmcv_ops` at the first
question, so that importing ovseg loads neither torch nor mmcv.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn


class MMCVExtension(ModuleType):
    """A module that has every op: those served work, each other one raises when called."""

    def __init__(self, name: str) -> None:
        super().__init__(name, __doc__)
        # Without a spec `importlib.util.find_spec(name)` raises; without a loader in it
        # `mmcv.utils.ext_loader.check_ops_exist()` goes on saying False, which is the truth.
        self.__spec__ = ModuleSpec(name, loader=None)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith('_'):  # questions of the import system, inspect, pickle, ...
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        op = import_module('ovseg.compat.mmcv_ops').SERVED.get(name) or _unserved(name)
        setattr(self, name, op)
        return op


def not_available(op: str) -> RuntimeError:
    """The error for an op that nobody serves: names it, the reason and the remedy."""
    return RuntimeError(
        f"mmcv's op '{op}' is not available because this mmcv was installed without its compiled "
        'extension and ovseg.compat does not serve this op: build mmcv with its ops '
        '(pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
        'onedl-mmcv; see docs/install.md) or choose a model that does not need it.'
    )


def _unserved(name: str) -> Callable[..., NoReturn]:
    def raise_when_called(*args: Any, **kwargs: Any) -> NoReturn:
        raise not_available(name)

    raise_when_called.__name__ = raise_when_called.__qualname__ = name
    return raise_when_called
