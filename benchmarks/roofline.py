"""What share of a model's time its matrix products alone would take: what limits float32.

    python benchmarks/roofline.py                               # eight methods, many minutes
    python benchmarks/roofline.py maskclip-vit-b16 --rounds 5 --json out.json

Full-size models with random weights encode noise of 600 x 512 pixels, resized by the method's rule;
OVSeg gets seeded blobs for masks, as in ovseg_stages.py. Every matrix product, convolution and
fused attention that encoding runs is written down with its shapes, strides and type. Then the model
and the same products bare, on random numbers, run in turn. A product that occurs twelve times runs
once a round and counts twelve times.

GFLOP are of these products, two for each multiplication with its addition. "bare" is the time of
the products alone; no rewriting of what lies between them can make the encoder faster than that, in
this type, on this machine, with this torch. Seconds are the processor's, of one thread: other work
on the machine disturbs them little, and they are not the clock's.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ovseg.cli import benchmark
from ovseg.cli.benchmark_models import Loaded, machine, spatial, synthetic_image
from ovseg.files import write_beside
from ovseg.tables import text_table

sys.path.insert(0, str(Path(__file__).parent))
from ovseg_stages import blob_logits  # noqa: E402

MODELS = (
    *('maskclip-vit-b16', 'clip-dinoiser-vit-b16', 'sclip-vit-b16', 'clearclip-vit-b16'),
    *('naclip-vit-b16', 'proxyclip-vit-b16', 'trident-vit-b16', 'ovseg-r101c-vit-b16'),
)
IMAGE = (600, 512)
CLASSES = 20
aten = torch.ops.aten
_ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu
# Products with their arguments as torch dispatches them, once everything else is taken apart.
PRODUCTS = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution, _ATTENTION)


@dataclass(frozen=True)
class Given:
    """A tensor that a product was given, without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def like(cls, value: Any) -> Any:
        """What stands for an argument: of a tensor its shape, else the argument."""
        if isinstance(value, Tensor):
            return cls(tuple(value.shape), value.stride(), value.dtype)
        return value

    def made(self) -> Tensor:
        """Random numbers that lie in memory as the tensor's did."""
        spans = (
            max(side - 1, 0) * step for side, step in zip(self.shape, self.stride, strict=True)
        )
        numbers = torch.randn(sum(spans) + 1).to(self.dtype)
        return numbers.as_strided(self.shape, self.stride)


@dataclass
class Product:
    """A matrix product that a model ran.

    Attributes:
        run: the operation.
        args: with :class:`Given` for tensors.
        kwargs: likewise.
        flop: of one run.
        count: how often it ran.
        seconds: of the bare product, once.
    """

    run: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    flop: int
    count: int = 1
    seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Notes the seconds of one bare run."""
        args, kwargs = tree_map(
            lambda value: value.made() if isinstance(value, Given) else value,
            (self.args, self.kwargs),
        )
        self.seconds.append(seconds_of(lambda: self.run(*args, **kwargs)))


class Recorder(TorchDispatchMode):
    """Writes down the matrix products that run inside of it.

    Attributes:
        products: each once, with its count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: dict[str, Product] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and notes it if it is a product."""
        kwargs = kwargs or {}
        if func.overloadpacket not in PRODUCTS:
            with self:  # what is made of other operations shows these
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        found = func(*args, **kwargs)
        if func.overloadpacket in PRODUCTS:
            given = tree_map(Given.like, (args, kwargs))
            key = f'{func} {given}'
            if key in self.products:
                self.products[key].count += 1
            else:
                flop = flop_of(func, args, kwargs, found)
                self.products[key] = Product(func, *given, flop)
        return found


def flop_of(func: Any, args: Any, kwargs: Any, found: Any) -> int:
    """Floating-point operations of a product, two for a multiplication with its addition."""
    if func.overloadpacket is _ATTENTION:
        return int(sdpa_flop_count(*(value.shape for value in args[:3])))
    return int(flop_registry[func.overloadpacket](*args, **kwargs, out_val=found))


def seconds_of(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


@dataclass
class Figures:
    """What was measured of a model, in seconds of the processor.

    Attributes:
        name: of the model.
        input: (height, width) that the encoder saw.
        gflop: of the encoder's products.
        products: of all of them, bare, by round.
        encoder: of encoding, by round.
        labels: of all that follows, by round.
    """

    name: str
    input: tuple[int, int]
    gflop: float
    products: list[float] = field(default_factory=list)
    encoder: list[float] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """The encoder's time, in times of its bare products, by round."""
        return [one / bare for one, bare in zip(self.encoder, self.products, strict=True)]

    def row(self) -> Sequence[str]:
        """A line of the table."""
        bare, encoder, labels = map(statistics.median, (self.products, self.encoder, self.labels))
        return (
            self.name,
            '{} x {}'.format(*self.input),
            f'{self.gflop:.0f}',
            f'{bare:.2f} s',
            f'{self.gflop / bare:.0f}',
            f'{encoder:.2f} s',
            f'{statistics.median(self.ratios):.2f} ({min(self.ratios):.2f} to '
            f'{max(self.ratios):.2f})',
            f'{labels:.2f} s',
            f'{100 * bare / (encoder + labels):.0f} %',
        )


_HEADER = (
    'model',
    'input',
    'GFLOP',
    'bare',
    'GFLOP/s',
    'encoder',
    'encoder / bare',
    'labels',
    'bare, of an image',
)


def measure(name: str, rounds: int, weights: Sequence[str] = ('--pretrained', 'random')) -> Figures:
    """Measures a model and its products in turn.

    Args:
        name: of a model or config.
        rounds: how often.
        weights: the words that name them, as for ``tools/benchmark.py``.
    """
    words = [name, *weights, '--templates', 'single', '--device', 'cpu']
    loaded = Loaded(name, 'float32', benchmark.build_parser().parse_args(words))
    loaded.set_classes(CLASSES)
    give_masks(loaded.model)
    image = synthetic_image(*IMAGE)
    inputs, size = loaded.batch([image], loaded.resize), spatial(image)
    recorder = Recorder()
    with torch.inference_mode():
        with recorder:  # which is the warm-up, too
            encodings = loaded.encode(inputs, [image])
        products = list(recorder.products.values())
        total = sum(each.count * each.flop for each in products)
        figures = Figures(name, (inputs.shape[2], inputs.shape[3]), total / 1e9)
        for product in products:
            product.measure()
            product.seconds.clear()
        for _ in range(rounds):
            figures.encoder.append(seconds_of(lambda: loaded.encode(inputs, [image])))
            # No product twice in a row, so that the caches do not know its weights.
            for product in random.Random(0).sample(products, len(products)):
                product.measure()
            figures.products.append(sum(each.count * each.seconds[-1] for each in products))
            figures.labels.append(seconds_of(lambda: loaded.label(encodings, size)))
    return figures


def give_masks(model: nn.Module) -> None:
    """Has a random MaskFormer propose blobs: what it proposes itself is everything or nothing.

    Args:
        model: left as it is if it has none.
    """
    proposals = getattr(model, 'proposals', None)
    if hasattr(proposals, 'classify'):

        def with_blobs(_: nn.Module, __: Any, found: Any) -> Any:
            logits = found.mask_logits
            blobs = blob_logits(logits.shape[1], tuple(logits.shape[2:])).to(logits)
            return replace(found, mask_logits=blobs.expand_as(logits))

        proposals.register_forward_hook(with_blobs)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', nargs='*', help=f'names or configs (default: {" ".join(MODELS)})')
    parser.add_argument('--rounds', type=int, default=3, help='default: %(default)s')
    parser.add_argument('--json', metavar='FILE', help='also write the figures there')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = []
    for name in args.model or MODELS:
        found.append(measure(name, args.rounds))
        print(text_table(_HEADER, [found[-1].row()]), flush=True)
    print('\n' + text_table(_HEADER, [each.row() for each in found]))
    if args.json:
        content = {'machine': machine(), 'results': [asdict(each) for each in found]}
        write_beside(Path(args.json), json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()
