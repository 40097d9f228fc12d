"""Models in half, bfloat16 or double precision: what stays in float32 all the same.

Images are float32 until a network takes them in the precision of its weights. Constants such as
pixel statistics, and small parts in which half a digit moves labels, stay as exact as they are.

A model is cast in one of two ways. ``model.half()`` and its like are torch's: all weights take the
precision. :func:`set_precision` casts the weights of the matrix products in its image encoders
alone, which are nearly all of the arithmetic: norms, positions, what products are added to, and
all that follows the encoders stay in float32, and so does the text tower, whose vectors are kept
under the fingerprint of its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ovseg.errors import UserError
from ovseg.nested_tensors import map_tensors
from ovseg.precision_choice import choose_precision
from ovseg.tensor_cores import put_channels_last, tf32_is_allowed

# Statistics of pixels, ours, mmengine's and segment-anything's; they are in no checkpoint.
_CONSTANTS = ('mean', 'std', 'pixel_mean', 'pixel_std')
_MARK = 'keeps_precision'
# On each module of a network whose products were cast.
_PRODUCTS = 'precision_of_products'
# What holds the weights of products.
_WITH_PRODUCTS = (nn.Linear, _ConvNd, nn.MultiheadAttention)

_Part = TypeVar('_Part', bound=nn.Module)
_Given = ParamSpec('_Given')
_Found = TypeVar('_Found')


def keep_precision(part: nn.Module) -> None:
    """Marks a part of a model whose weights stay in float32 where the model is cast."""
    setattr(part, _MARK, True)


@contextmanager
def exact_parts_kept(model: nn.Module) -> Iterator[None]:
    """What is exact in a model moves in here, but keeps its precision: for ``nn.Module._apply``.

    Args:
        model: which the body casts or moves.
    """
    marked = (part for part in model.modules() if getattr(part, _MARK, False))
    whole = {id(inner) for part in marked for inner in part.modules()}
    before = [
        (part, name, value.detach())
        for part in model.modules()
        for values in (part.named_parameters(recurse=False), part.named_buffers(recurse=False))
        for name, value in values
        if value.is_floating_point() and (id(part) in whole or name in _CONSTANTS)
    ]
    yield
    for part, name, kept in before:
        now = getattr(part, name)
        if now.dtype != kept.dtype:
            now.data = kept.to(now.device)


def dtype_of(part: nn.Module) -> torch.dtype:
    """The precision that a network computes in: of its first weight, float32 without any."""
    weights = (value.dtype for value in part.parameters() if value.is_floating_point())
    return next(weights, torch.float32)


def casts(model: nn.Module, fn: object) -> bool:
    """Whether a function of ``nn.Module._apply`` gives weights another precision.

    Args:
        model: to whose weights it will be applied.
        fn: takes a tensor.
    """
    present = {value.dtype: value for value in model.parameters() if value.is_floating_point()}
    return callable(fn) and any(
        fn(value.detach().new_empty(0)).dtype != dtype for dtype, value in present.items()
    )


def set_precision(model: nn.Module, precision: str | torch.dtype) -> None:
    """Casts the products of a model's image encoders, once and for good.

    Encoders whose class says ``casts_products = True``, wherever they are in the model, and the
    networks of other packages that the model names in ``networks`` are cast; on a CUDA GPU their
    convolutions are laid out with channels last. Weights that lost
    digits are saved by no one: a ``state_dict`` with such ones raises.

    Args:
        model: a segmentor with its weights, in float32, on the device that will compute.
        precision: of the products from now on; see
            :func:`~ovseg.precision_choice.choose_precision`. With float32 nothing is done, and a
            model without such encoders stays in it under ``'auto'``.

    Raises:
        UserError: the products have another precision already, there is nothing to cast, or the
            device has no such precision.
    """
    dtype = choose_precision(precision, next(model.parameters()).device)
    present = precision_of(model)
    if str(dtype) == f'torch.{present}':
        return
    if present != 'float32':
        raise UserError(
            f'the weights of this model were rounded to {present}; build it anew for '
            f'{str(dtype).removeprefix("torch.")}'
        )
    networks = list(encoders_of(model))
    if not networks and precision == 'auto':
        return
    if not networks:
        raise UserError(
            f'{type(model).__name__} has no encoder that computes in another precision than '
            "'float32': choose that, or 'auto'"
        )
    on_gpu = computes_on_cuda(model)
    for network in networks:
        _cast_products(network, dtype)
        if on_gpu:
            put_channels_last(network)
    setattr(model, _PRODUCTS, dtype)
    model.register_state_dict_post_hook(_refuse_rounded)


def precision_of(model: nn.Module) -> str:
    """The name of the precision that a model's encoders multiply in, such as ``'float32'``.

    Args:
        model: a segmentor, cast in either way or in none.
    """
    dtype = getattr(model, _PRODUCTS, None) or dtype_of(model)
    return str(dtype).removeprefix('torch.')


def precision_told(model: nn.Module) -> str:
    """:func:`precision_of`, and what else moves last digits: TF32, compiled encoders.

    Args:
        model: a segmentor, cast in either way or in none.
    """
    device = next((value.device for value in model.parameters()), torch.device('cpu'))
    rounded = ' (TF32 allowed)' if tf32_is_allowed(device) else ''
    compiled = any(part._compiled_call_impl is not None for part in encoders_of(model))
    return f'{precision_of(model)}{rounded}{", compiled" if compiled else ""}'


def computes_on_cuda(model: nn.Module) -> bool:
    """Whether a model's weights are on an NVIDIA or AMD GPU."""
    return next(model.parameters()).device.type == 'cuda'


def encoders_of(model: nn.Module) -> Iterator[nn.Module]:
    """The image encoders of a model, ours and other packages': what nearly all arithmetic is in.

    Args:
        model: a segmentor.
    """
    named = getattr(model, 'networks', ())
    parts = dict(model.named_modules())
    yield from (parts[name] for name in named if name in parts)
    yield from (part for part in parts.values() if getattr(part, 'casts_products', False))


def _cast_products(network: nn.Module, dtype: torch.dtype) -> None:
    marked = (part for part in network.modules() if getattr(part, _MARK, False))
    exact = {id(inner) for part in marked for inner in part.modules()}
    for part in network.modules():
        if id(part) in exact:
            continue
        setattr(part, _PRODUCTS, dtype)
        if isinstance(part, _WITH_PRODUCTS):
            for value in part.parameters(recurse=False):
                value.data = value.data.to(dtype)


def ids_of_products(model: nn.Module) -> set[int]:
    """The ``id`` of each parameter that :func:`set_precision` may cast.

    Args:
        model: the others of it are in float32 whatever the precision.
    """
    return {
        id(value)
        for part in model.modules()
        if isinstance(part, _WITH_PRODUCTS)
        for value in part.parameters(recurse=False)
    }


def forget_products(model: nn.Module) -> None:
    """Has a model compute in whatever precision torch gives all its weights.

    Args:
        model: which is being cast as a whole.
    """
    for part in model.modules():
        part.__dict__.pop(_PRODUCTS, None)


def _refuse_rounded(model: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Stops before weights that lost digits are taken for a model's own; frozen ones are not."""
    rounded = getattr(model, _PRODUCTS, None)
    values = (value for name, value in state.items() if name.startswith(prefix))
    if rounded is not None and any(getattr(value, 'dtype', None) == rounded for value in values):
        raise UserError(
            f'the weights of this model were rounded to {precision_of(model)}; build it with '
            "precision='float32' to load or save weights"
        )


def products_of(network: nn.Module) -> AbstractContextManager[object]:
    """The context in which a network computes: none unless :func:`set_precision` cast it.

    Args:
        network: an encoder, or one of a model's ``networks``.
    """
    dtype = getattr(network, _PRODUCTS, None)
    if dtype is None:
        return nullcontext()
    # The weights have this precision already, so autocast has nothing to cast at every call but
    # what goes into the products; between them blocks of any package compute as they are written.
    return torch.autocast(next(network.parameters()).device.type, dtype)


def as_summed_by(network: nn.Module, tokens: Tensor) -> Tensor:
    """Tokens to which a network's products will be added: in float32 if these were cast.

    Args:
        network: see :func:`products_of`.
        tokens: the first of them, a product themselves.
    """
    return tokens if getattr(network, _PRODUCTS, None) is None else tokens.float()


def in_own_precision(
    method: Callable[Concatenate[_Part, _Given], _Found],
) -> Callable[Concatenate[_Part, _Given], _Found]:
    """Has a method of an encoder compute under :func:`products_of` the encoder.

    Args:
        method: of a module.
    """

    @wraps(method)
    def computed(part: _Part, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        with products_of(part):
            return method(part, *args, **kwargs)

    return computed


def computed_by(network: nn.Module, inputs: Any) -> Any:
    """What a network of another package makes of inputs; in float32, if its products are not.

    Args:
        network: one of a model's ``networks``.
        inputs: as it takes them.
    """
    with products_of(network):
        found = network(inputs)
    if getattr(network, _PRODUCTS, None) is None:
        return found
    return map_tensors(found, lambda value: value.float())
