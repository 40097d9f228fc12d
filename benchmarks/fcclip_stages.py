"""Where FC-CLIP's and MAFT+'s time and memory go at full size, and the same as upstream has it.

    python benchmarks/fcclip_stages.py                           # ConvNeXt-L: minutes on a CPU
    python benchmarks/fcclip_stages.py maftplus_convnext-b --image 800 1216 --classes 150 847

Networks have random weights; nothing is downloaded. Random masks are mostly everything or nothing,
so after the decoder has run, its mask logits are replaced by seeded blobs, one a query, the same in
every run. Class rows are random, too: no query is void, so all of them compete, which is the
most that any image asks for.

The stages of an image are the backbone, the pixel decoder, the decoder with its queries, and
CLIP's head on what lies under the masks: these are the networks. Then come the class scores (both
classifiers and their ensemble), and labels, segments or instances at the image's own size. How
often the backbone ran is counted.

"Upstream's formulas" are the plain way, written for this comparison: mmdet's decoder in one go with
torch's sampling, a cosine with each row for every layer, powers of probabilities, all masks at full
size, score maps of all classes, and segments in a loop over masks.

Seconds are those of the processor (--clock processor), which other work does not change much; wall
is what a clock shows. Memory is the peak above the loaded model.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.dense_heads import Mask2FormerHead
from ovseg_stages import blob_logits, random_classifier
from torch import Tensor
from torch.nn import functional as F

from ovseg.apis.building import build_model
from ovseg.apis.profiling import MemoryPeak, StageClock
from ovseg.config_files import place_of_config, read_config
from ovseg.images import Images
from ovseg.regions.void_ensemble import released_scores
from ovseg.segmentors import FCCLIP, MAFTPlus
from ovseg.tables import text_table
from ovseg.text import Classifier

NETWORKS = ('backbone', 'pixel decoder', 'decoder', "CLIP's head on masks")
_MEGABYTE = 2**20
# Of FC-CLIP's release.
_ALPHA, _OVERLAP, _MASK = 0.4, 0.8, 0.5


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config',
        nargs='?',
        default='fcclip_convnext-l',
        help='a name or a path (default: %(default)s)',
    )
    parser.add_argument('--image', type=int, nargs=2, metavar=('H', 'W'), default=(640, 640))
    parser.add_argument('--classes', type=int, nargs='+', default=[150, 847])
    parser.add_argument('--repeat', type=int, default=1, help='images (default: 1)')
    parser.add_argument('--threads', type=int, default=1, help='of a CPU (default: %(default)s)')
    parser.add_argument('--clock', choices=['processor', 'wall'], default='processor')
    parser.add_argument('--without-upstream', action='store_true', help='measure ours alone')
    parser.add_argument('--json', metavar='FILE', help='also write the figures there')
    return parser.parse_args(argv)


class ProcessorClock(StageClock):
    """Seconds that the processor worked for this process."""

    def _now(self) -> float:
        return time.process_time()


@dataclass
class Figures:
    """What was measured.

    Attributes:
        name: of the config.
        seconds: of each image by stage.
        backbone_passes: of an image, whatever it was asked.
        megabytes: peaks: of encoding, and of each question.
        upstream: the same stages by upstream's formulas: seconds, megabytes and how far the results
            are apart, in words.
    """

    name: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    backbone_passes: int = 0
    megabytes: dict[str, float] = field(default_factory=dict)
    upstream: dict[str, tuple[float, float, str]] = field(default_factory=dict)

    def median(self, stage: str) -> float:
        """Seconds of a stage."""
        return statistics.median(self.seconds[stage])

    def share(self, *asked: str) -> float:
        """The networks' share in an image that is asked some questions."""
        networks = sum(self.median(stage) for stage in NETWORKS)
        return networks / (networks + sum(self.median(stage) for stage in asked))

    def report(self) -> str:
        """The tables."""
        rows = []
        for stage in self.seconds:
            theirs = self.upstream.get(stage)
            memory = self.megabytes.get(stage)
            rows.append(
                (
                    stage,
                    f'{self.median(stage):.3f} s',
                    '' if memory is None else f'{memory:.0f} MB',
                    '' if theirs is None else f'{theirs[0]:.3f} s',
                    '' if theirs is None else f'{theirs[1]:.0f} MB',
                    '' if theirs is None else theirs[2],
                )
            )
        heads = ('stage', 'ours', 'peak', 'upstream', 'peak', 'apart')
        shares = []
        for stage in self.seconds:
            kind, _, classes = stage.partition(', ')
            if kind in ('labels', 'segments', 'instances'):
                scores = f'scores, {classes}'
                total = sum(self.median(each) for each in (*NETWORKS, scores, stage))
                share = f'{100 * self.share(scores, stage):.1f} %'
                shares.append((stage, f'{total:.2f} s', share))
        return '\n\n'.join(
            [
                f'{self.name}, {self.backbone_passes} backbone pass an image',
                text_table(heads, rows),
                text_table(('an image', 'seconds', 'networks'), shares),
            ]
        )


class Subject:
    """A model under measurement, whose masks are replaced by blobs.

    Args:
        args: the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        settings = read_config(args.config)
        settings.model.setdefault('text', {})['cache_dir'] = None
        for key in ('vocabulary', 'ensemble'):  # random rows have no names, so none is seen
            settings.model.pop(key, None)
        settings.model.ensemble = dict(weight=_ALPHA)
        torch.manual_seed(0)
        self.model: FCCLIP = build_model(settings, 'random').eval()
        kind = ProcessorClock if args.clock == 'processor' else StageClock
        self.clock = kind(torch.device('cpu'))
        self.figures = Figures(place_of_config(args.config).stem)
        self.size = tuple(args.image)
        random = torch.Generator().manual_seed(2)
        self._image = torch.randn(1, 3, *self.size, generator=random)
        self._passes = 0
        self.model.clip.visual.trunk.stem.register_forward_hook(self._count)
        self._levels: Sequence[Tensor] = ()
        self.model.proposals.register_forward_hook(self._with_blobs)
        with torch.inference_mode():
            self.model.encode(Images(self._image[..., :64, :64]))

    def _count(self, *_: Any) -> None:
        self._passes += 1

    def _with_blobs(self, _: Any, given: tuple[Any, ...], found: Any) -> Any:
        self._levels, masks = given[0], found.mask_logits
        blobs = blob_logits(masks.shape[1], (masks.shape[2], masks.shape[3]))
        return replace(found, mask_logits=blobs.expand_as(masks))

    @torch.inference_mode()
    def encode(self) -> Any:
        """Encodes the image, and notes the stages."""
        self.clock.reset()
        self._passes = 0
        clock, decoder = self.clock, self.model.proposals.pixel_decoder
        peak = MemoryPeak(torch.device('cpu'))
        with peak, clock.listening(), clock.measure('all'), _timed(decoder, clock):
            (encoding,) = self.model.encode(Images(self._image))
        self.figures.megabytes['decoder'] = peak.bytes / _MEGABYTE
        seconds = self.clock.seconds
        parts = (
            seconds('backbone'),
            seconds('pixel decoder'),
            seconds('proposals') - seconds('pixel decoder'),
            seconds('all') - seconds('backbone') - seconds('proposals'),
        )
        for name, took in zip(NETWORKS, parts, strict=True):
            self._note(name, took)
        self.figures.backbone_passes = self._passes
        return encoding

    @torch.inference_mode()
    def ask(self, encoding: Any, classifier: Classifier) -> dict[str, Any]:
        """Asks an encoded image for everything, and notes the stages."""
        model, size = self.model, self.size
        classes = f'{classifier.num_classes} classes'
        found = {
            'scores': self._measured(
                f'scores, {classes}', lambda: model.class_probabilities(encoding, classifier)
            )
        }
        # The scores are part of each of the others, and taken out.
        for kind, run in (
            ('labels', lambda: model.segment(encoding, size, classifier).labels),
            ('segments', lambda: model.find_segments(encoding, size, classifier).ids),
            ('instances', lambda: model.find_instances(encoding, size, classifier)),
        ):
            found[kind] = self._measured(f'{kind}, {classes}', run, f'scores, {classes}')
        assert self._passes == self.figures.backbone_passes, 'a question ran the backbone again'
        return found

    def _measured(self, stage: str, run: Callable[[], Any], less: str | None = None) -> Any:
        result, seconds, self.figures.megabytes[stage] = self._run(run)
        self._note(stage, seconds - (self.figures.seconds[less][-1] if less else 0.0))
        return result

    def _run(self, run: Callable[[], Any]) -> tuple[Any, float, float]:
        """Result, seconds and peak megabytes."""
        self.clock.reset()
        with MemoryPeak(torch.device('cpu')) as peak, self.clock.measure('run'):
            result = run()
        return result, self.clock.seconds('run'), peak.bytes / _MEGABYTE

    def _note(self, stage: str, seconds: float) -> None:
        self.figures.seconds.setdefault(stage, []).append(seconds)

    @torch.inference_mode()
    def compare(self, encoding: Any, classifier: Classifier, ours: dict[str, Any]) -> None:
        """Measures upstream's formulas for the questions about one number of classes."""
        model, classes = self.model, f'{classifier.num_classes} classes'
        logits = encoding.proposals.maps.maps[0]
        scores = ours['scores']
        if not isinstance(model, MAFTPlus):  # which has no ensemble
            scores = self._compared(
                f'scores, {classes}',
                lambda: scores_of_upstream(model, encoding, classifier),
                lambda found: f'{(found - ours["scores"]).abs().max():.0e}',
            )
        released = released_scores(scores)
        padded = tuple(-(-side // 32) * 32 for side in self.size)
        self._compared(
            f'labels, {classes}',
            lambda: labels_of_upstream(logits, released, padded, self.size),
            lambda found: f'{(found != ours["labels"]).float().mean():.0e} of labels',
        )
        self._compared(
            f'segments, {classes}',
            lambda: segments_of_upstream(logits, released, padded, self.size),
            lambda found: f'{((found > 0) != (ours["segments"] > 0)).float().mean():.0e} of pixels',
        )

    @torch.inference_mode()
    def compare_decoding(self) -> None:
        """Measures mmdet's decoder with torch's sampling, which upstream runs on a CPU, too."""
        head, levels = self.model.proposals, list(self._levels)
        with _plain_sampling(head), _timed(head.pixel_decoder, self.clock):
            (_, masks), seconds, peak = self._run(lambda: Mask2FormerHead.forward(head, levels, []))
        own = self.clock.seconds('pixel decoder')
        ours = head.decode(head.pixel_maps(levels)).mask_logits[-1]
        apart = (masks[-1] - ours).abs().max() / ours.abs().max()
        self.figures.upstream['pixel decoder'] = (own, peak, '')
        self.figures.upstream['decoder'] = (seconds - own, peak, f'{apart:.0e}')

    def _compared(
        self, stage: str, run: Callable[[], Tensor], apart: Callable[[Tensor], str]
    ) -> Tensor:
        found, seconds, peak = self._run(run)
        self.figures.upstream[stage] = (seconds, peak, apart(found))
        return found


@contextmanager
def _timed(module: torch.nn.Module, clock: StageClock) -> Iterator[None]:
    """Measures the pixel decoder's calls."""
    running: list[Any] = []

    def begin(*_: Any) -> None:
        running.append(clock.measure('pixel decoder'))
        running[-1].__enter__()

    def end(*_: Any) -> None:
        running.pop().__exit__(None, None, None)

    hooks = [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _plain_sampling(head: Any) -> Iterator[None]:
    """Has the pixel decoder use mmcv's own deformable attention in the pixel decoder."""
    parts = [layer.self_attn for layer in head.pixel_decoder.encoder.layers]
    kinds = [type(part) for part in parts]
    for part in parts:
        part.__class__ = MultiScaleDeformableAttention
    try:
        yield
    finally:
        for part, kind in zip(parts, kinds, strict=True):
            part.__class__ = kind


def scores_of_upstream(model: FCCLIP, encoding: Any, classifier: Classifier) -> Tensor:
    """Probabilities (Q, K + 1) by powers and logarithms, all classes weighed alike."""
    own = model.proposals.class_logits(encoding.proposals.embeddings, classifier)
    second = model.mask_logits(encoding, classifier).softmax(-1)
    first = own[:, :-1].softmax(-1)
    mixed = (first ** (1 - _ALPHA) * second**_ALPHA).log()
    void = own.softmax(-1)[:, -1:]
    return torch.cat([mixed.softmax(-1) * (1 - void), void], dim=1)


def _masks_at(logits: Tensor, padded: Sequence[int], size: Sequence[int]) -> Tensor:
    """All masks (Q, H, W) at full size: to the padded image, cut, to the image's own size."""
    resize = {'mode': 'bilinear', 'align_corners': False}
    full = F.interpolate(logits[None], tuple(padded), **resize)[..., : size[0], : size[1]]
    return F.interpolate(full, tuple(size), **resize)[0].sigmoid()


def labels_of_upstream(
    logits: Tensor, scores: Tensor, padded: Sequence[int], size: Sequence[int]
) -> Tensor:
    """Labels (H, W) from score maps of all classes."""
    masks = _masks_at(logits, padded, size)
    return torch.einsum('qk,qhw->khw', scores[:, :-1], masks).argmax(0)


def segments_of_upstream(
    logits: Tensor, scores: Tensor, padded: Sequence[int], size: Sequence[int]
) -> Tensor:
    """Ids (H, W) of segments, all of them things, mask by mask."""
    masks = _masks_at(logits, padded, size)
    best, labels = scores.max(1)
    kept = labels < scores.shape[1] - 1
    masks, best = masks[kept], best[kept]
    winners = (best[:, None, None] * masks).argmax(0)
    ids = torch.zeros(tuple(size), dtype=torch.int32)
    found = 0
    for number, mask in enumerate(masks):
        inside = mask >= _MASK
        won, area = (winners == number).sum().item(), inside.sum().item()
        own = (winners == number) & inside
        if won and area and own.sum().item() and won / area >= _OVERLAP:
            found += 1
            ids[own] = found
    return ids


def main(argv: Sequence[str] | None = None) -> None:
    """Measure a model, and print the tables."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    print(
        f'image of {args.image[0]} x {args.image[1]}, float32, median of {args.repeat}, '
        f'{platform.machine()} CPU, {args.threads} threads, {args.clock} seconds, '
        f'torch {torch.__version__}',
        flush=True,
    )
    subject = Subject(args)
    questions = [
        random_classifier(count, subject.model.pyramid.embed_dim) for count in args.classes
    ]
    for _ in range(args.repeat):
        encoding = subject.encode()
        answers = [subject.ask(encoding, each) for each in questions]
    if not args.without_upstream:
        subject.compare_decoding()
        for classifier, ours in zip(questions, answers, strict=True):
            subject.compare(encoding, classifier, ours)
    print(f'\n{subject.figures.report()}', flush=True)
    if args.json:
        content = {'settings': vars(args), 'torch': torch.__version__}
        content['model'] = asdict(subject.figures)
        Path(args.json).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
