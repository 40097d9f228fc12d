"""Where OVSeg's time and memory go at full size, and two stages as the released code has them.

    python benchmarks/ovseg_stages.py                          # Swin-B + ViT-L/14: minutes on a CPU
    python benchmarks/ovseg_stages.py ovseg_r101c_vit-b16_ade20k --classes 150 847
    python benchmarks/ovseg_stages.py --original 640 853 --original 1500 2000 --device cuda

Networks have random weights; nothing is downloaded. A random MaskFormer proposes masks without
meaning, mostly everything or nothing. So it runs, and then its mask logits are replaced by seeded
blobs, one a query, the same in every run: all masks are valid (or as many as --masks says), and
their crops have the sizes that objects have. The image is noise at the network's size; reading and
resizing a file is left out.

The stages of an image are the backbone, the MaskFormer head (pixel decoder and transformer), what
makes regions of masks (full-size masks, boxes, crops), CLIP's image tower on all regions, scores of
both classifiers, and labels at the original size. The share of the encoders is that of backbone,
head and image tower. Words are encoded once for all images, so they stand apart: some classes are
encoded, and the time is given a class. The scores compare with random rows, for any number.

Memory is the peak above the loaded model, encoders and labels apart. Nothing is counted of a first
run with few masks, which sets up what is lazy.

"As released" is the plain way, written for this comparison, with equal results: each mask at full
size and cut out on its own with two bicubic resizes, one of which nobody reads; and score maps of
all classes, at the network's size and again at the original size (the first one given).

Run it where nothing else runs. On a CPU, --threads sets the cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.apis.building import build_model
from ovseg.apis.profiling import MemoryPeak, StageClock
from ovseg.cli.benchmark_models import class_names
from ovseg.config_files import place_of_config, read_config
from ovseg.images import Images
from ovseg.regions.mask_maps import WeighedMasks, mask_probabilities, masks_at
from ovseg.regions.region_crops import RegionSettings
from ovseg.regions.region_embeddings import crop_proposals
from ovseg.scores.decide import decide
from ovseg.scores.row_map import WindowMaps
from ovseg.segmentors import OVSeg
from ovseg.tables import text_table
from ovseg.text import Classifier, classifier_from_rows
from ovseg.text.decision_rule import DecisionRule
from ovseg.text.row_groups import RowGroups
from ovseg.vocabulary import Rejection, Vocabulary

# Stages of ovseg.segmentors, by the name that they have here.
ENCODERS = {
    'backbone': 'backbone',
    'MaskFormer head': 'proposals',
    'CLIP image tower': 'region encoder',
}
REGIONS = 'masks + region crops'
_MEGABYTE = 2**20
# A model warms up with so many masks.
_FEW = 2

Size = tuple[int, int]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config',
        nargs='*',
        default=['ovseg_swin-b_vit-l14_ade20k'],
        help='names or paths, a data set may follow (default: %(default)s)',
    )
    sizes = {'type': int, 'nargs': 2, 'metavar': ('H', 'W')}
    parser.add_argument('--image', **sizes, default=(640, 853), help="at the network's size")
    parser.add_argument('--original', **sizes, action='append', help='several (default: 640 853)')
    parser.add_argument('--masks', type=int, help='that are valid (default: all queries)')
    parser.add_argument('--classes', type=int, nargs='+', default=[150, 847])
    parser.add_argument('--text-classes', type=int, default=4, help='encoded (default: 4)')
    parser.add_argument('--repeat', type=int, default=1, help='images (default: 1)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--threads', type=int, help="of a CPU (default: torch's)")
    parser.add_argument('--json', metavar='FILE', help='also write the figures there')
    return parser.parse_args(argv)


def blob_logits(count: int, size: Size, seed: int = 0) -> Tensor:
    """Mask logits (Q, h, w) of blobs with wavy borders, a few to half of the map's sides wide.

    Args:
        count: Q.
        size: (h, w).
        seed: of places, sizes and borders.
    """
    random = torch.Generator().manual_seed(seed)
    y, x = (torch.linspace(0, 1, side) for side in size)
    center_y, center_x, radius, shape = torch.rand(4, count, 1, 1, generator=random)
    radius, shape = 0.05 + 0.3 * radius**2, 0.5 + 1.5 * shape
    offset = (y[:, None] - center_y) ** 2 * shape + (x - center_x) ** 2 / shape
    waves = torch.randn(count, 1, 6, 8, generator=random)
    waves = F.interpolate(waves, size=size, mode='bicubic', align_corners=False)[:, 0]
    logits = 8 * (1 - offset.sqrt() / radius) + 2 * waves
    return logits - logits.amax((1, 2), keepdim=True) + 8  # not one mask is empty


def random_classifier(classes: int, dims: int) -> Classifier:
    """Random unit rows (K, E) for K classes."""
    rows = torch.randn(classes, dims, generator=torch.Generator().manual_seed(1))
    vocabulary = Vocabulary.parse([[f'class {index}'] for index in range(classes)])
    return classifier_from_rows(vocabulary, F.normalize(rows, dim=1), 100.0, 'random rows')


@dataclass
class Figures:
    """What was measured of a model.

    Attributes:
        name: of the config.
        regions: valid masks, each a region.
        seconds: of each image by stage; scores and labels by classes and size.
        text_seconds: a class, once for all images.
        encoder_megabytes: peak while images are encoded.
        label_megabytes: peak of scores and labels, by classes and size.
        released: rows of the comparison: stage, seconds and megabytes as released, ours, and how
            far the results are apart, in words.
    """

    name: str
    regions: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    text_seconds: float = 0.0
    encoder_megabytes: float = 0.0
    label_megabytes: dict[str, float] = field(default_factory=dict)
    released: list[tuple[str, float, float, float, float, str]] = field(default_factory=list)

    def note(self, stage: str, seconds: float) -> None:
        """Adds a run of a stage."""
        self.seconds.setdefault(stage, []).append(seconds)

    def encoder_share(self, question: str) -> float:
        """Share of the encoders in an image that is asked one question (classes and size)."""
        stages = {*ENCODERS, REGIONS, f'scores, {question}', f'labels, {question}'}
        total = sum(statistics.median(self.seconds[stage]) for stage in stages)
        return sum(statistics.median(self.seconds[stage]) for stage in ENCODERS) / total

    def report(self) -> str:
        """The tables."""
        medians = {stage: statistics.median(runs) for stage, runs in self.seconds.items()}
        stages = [(stage, f'{seconds:.3f} s') for stage, seconds in medians.items()]
        stages.append(('text, a class, once', f'{self.text_seconds:.3f} s'))
        images = []
        for question, memory in self.label_megabytes.items():
            own = [medians[f'{stage}, {question}'] for stage in ('scores', 'labels')]
            total = sum(medians[stage] for stage in (*ENCODERS, REGIONS)) + sum(own)
            share = f'{100 * self.encoder_share(question):.1f} %'
            peaks = f'{self.encoder_megabytes:.0f} MB', f'{memory:.0f} MB'
            images.append((question, f'{total:.2f} s', share, *peaks))
        compared = [
            (stage, f'{theirs:.2f} s', f'{ours:.2f} s', f'{much:.0f} MB', f'{less:.0f} MB', apart)
            for stage, theirs, ours, much, less, apart in self.released
        ]
        heads = ('an image', 'seconds', 'encoders', 'peak, encoders', 'peak, labels')
        against = ('as released and ours', 'released', 'ours', 'peak', 'ours', 'apart')
        return '\n\n'.join(
            [
                f'{self.name}, {self.regions} regions',
                text_table(('stage', 'an image'), stages),
                text_table(heads, images),
                text_table(against, compared),
            ]
        )


class Subject:
    """A model under measurement, whose masks are replaced by blobs.

    Args:
        config: a name or a path, a data set may follow.
        args: the command line.
    """

    def __init__(self, config: str, args: argparse.Namespace) -> None:
        settings = read_config(config)
        # The words' real time is wanted, and random weights should leave no traces in the cache.
        settings.model.setdefault('text', {})['cache_dir'] = None
        torch.manual_seed(0)
        self.device = torch.device(args.device)
        self.model: OVSeg = build_model(settings, 'random').to(self.device).eval()
        self.clock = StageClock(self.device)
        self.figures = Figures(place_of_config(config).stem)
        random = torch.Generator().manual_seed(2)
        self._image = torch.randn(1, 3, *args.image, generator=random).to(self.device)
        self._masks: int = args.masks or self.model.proposals.num_queries
        # Random weights give no masks; these come in their place.
        self.model.proposals.register_forward_hook(lambda _, __, found: self._with_blobs(found))
        self._warm_up()

    def _with_blobs(self, found: Any) -> Any:
        batch, queries, *size = found.mask_logits.shape
        blobs = blob_logits(queries, tuple(size)).to(found.mask_logits)
        blobs[self._masks :] = -8  # nowhere above a threshold
        return replace(found, mask_logits=blobs.expand(batch, -1, -1, -1))

    def _warm_up(self) -> None:
        wanted, self._masks = self._masks, _FEW
        with torch.inference_mode():
            self.model.encode(Images(self._image))
        self._masks = wanted

    @torch.inference_mode()
    def encode(self) -> Any:
        """Encodes the image, and notes the stages."""
        self.clock.reset()
        clock = self.clock
        with MemoryPeak(self.device) as peak, clock.listening(), clock.measure('all'):
            (encoding,) = self.model.encode(Images(self._image))
        parts = {name: clock.seconds(stage) for name, stage in ENCODERS.items()}
        rest = self.clock.seconds('all') - sum(parts.values())
        for name in ('backbone', 'MaskFormer head'):
            self.figures.note(name, parts[name])
        self.figures.note(REGIONS, rest)
        self.figures.note('CLIP image tower', parts['CLIP image tower'])
        self.figures.regions = int(encoding.features.valid.sum())
        self.figures.encoder_megabytes = max(self.figures.encoder_megabytes, peak.bytes / _MEGABYTE)
        return encoding

    @torch.inference_mode()
    def label(self, encoding: Any, classes: int, size: Size) -> None:
        """Asks an encoded image for labels, and notes the stages."""
        question = f'{classes} classes, {size[0]} x {size[1]}'
        classifier = random_classifier(classes, self.model.clip.visual.output_dim)
        classifier = classifier.to(self.device)
        if question not in self.figures.label_megabytes:
            with MemoryPeak(self.device) as peak:
                self.model.segment(encoding, size, classifier)
            self.figures.label_megabytes[question] = peak.bytes / _MEGABYTE
        self.clock.reset()
        with self.clock.listening(), self.clock.measure('all'):
            self.model.segment(encoding, size, classifier)
        scores = self.clock.seconds('mask scores')
        self.figures.note(f'scores, {question}', scores)
        self.figures.note(f'labels, {question}', self.clock.seconds('all') - scores)

    @torch.inference_mode()
    def encode_text(self, classes: int) -> None:
        """Encodes the words of some classes, and notes the seconds of one."""
        words = Vocabulary.parse([[name] for name in class_names(classes)])
        with self.clock.measure('text'):
            self.model.build_classifier(words)
        self.figures.text_seconds = self.clock.seconds('text') / classes

    @torch.inference_mode()
    def compare(self, encoding: Any, classes: int, size: Size) -> None:
        """Makes regions and labels as released and as we do."""
        image, maps = self.model.pixels(self._image)[0], encoding.proposals.maps
        settings = self.model.region_settings
        theirs, *much = self._measured(lambda: crops_as_released(image, maps, settings))
        ours, *less = self._measured(lambda: crop_proposals(image, maps, settings).images)
        largest = f'{(theirs - ours).abs().max():.0e}'
        self._note_released(f'{len(ours)} regions', much, less, largest)
        scores = torch.rand(maps.maps.shape[1], classes, generator=torch.Generator().manual_seed(3))
        scores = scores.to(self.device)
        groups = RowGroups(torch.arange(classes), classes, torch.ones(classes), 'linear')
        rule = DecisionRule(groups, 1.0, Rejection(), None, are_probabilities=True)

        def labels_in_strips() -> Tensor:
            return decide(
                WeighedMasks(masks_at(maps, size), scores), rule, self.model.budget
            ).labels

        theirs, *much = self._measured(lambda: labels_as_released(maps, scores, size))
        ours, *less = self._measured(labels_in_strips)
        other = f'{(theirs != ours).float().mean():.0e} of labels'
        stage = f'labels, {classes} classes, {size[0]} x {size[1]}'
        self._note_released(stage, much, less, other)

    def _measured(self, run: Callable[[], Tensor]) -> tuple[Tensor, float, float]:
        """Result, seconds and peak megabytes."""
        self.clock.reset()
        with MemoryPeak(self.device) as peak, self.clock.measure('run'):
            result = run()
        return result, self.clock.seconds('run'), peak.bytes / _MEGABYTE

    def _note_released(
        self, stage: str, theirs: list[float], ours: list[float], apart: str
    ) -> None:
        row = (stage, theirs[0], ours[0], theirs[1], ours[1], apart)
        self.figures.released.append(row)


def crops_as_released(image: Tensor, maps: WindowMaps, settings: RegionSettings) -> Tensor:
    """Regions (N, 3, S, S), mask by mask, all masks at full size, two resizes a crop.

    Args:
        image: (3, H, W) RGB in [0, 255].
        maps: mask logits.
        settings: see :class:`RegionSettings`; masks are not widened.

    Source: facebookresearch/ov-seg, for what is made and in which order.
    """
    mean, std, fill = (
        torch.tensor(value, device=image.device).view(3, 1, 1)
        for value in (settings.mean, settings.std, settings.fill_colour)
    )
    resize = {'size': (settings.size,) * 2, 'mode': 'bicubic', 'align_corners': False}
    regions, of_pixels, of_masks = [], [], []
    for mask in mask_probabilities(maps) > settings.threshold:
        if not mask.any():
            continue
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        (y1, y2), (x1, x2) = ((int(ends[0]), int(ends[-1]) + 1) for ends in (rows, columns))
        shown = mask[y1:y2, x1:x2].float()
        crop = image[:, y1:y2, x1:x2] * shown + (1 - shown) * fill
        of_pixels.append(F.interpolate(crop[None], **resize)[0])
        regions.append(F.interpolate(((crop - mean) / std)[None], **resize)[0])
        of_masks.append(F.interpolate(shown[None, None], size=resize['size'], mode='nearest')[0])
    return torch.stack(regions)


def labels_as_released(maps: WindowMaps, class_scores: Tensor, size: Size) -> Tensor:
    """Labels (H, W) from score maps of all classes, at the network's size and at the original's.

    Args:
        maps: mask logits, M masks.
        class_scores: (M, K).
        size: (H, W).

    Source: facebookresearch/ov-seg, for what is made and in which order.
    """
    sums = torch.einsum('qk,qhw->khw', class_scores, mask_probabilities(maps))
    return F.interpolate(sums[None], size=size, mode='bilinear', align_corners=False)[0].argmax(0)


def measure(config: str, args: argparse.Namespace) -> Figures:
    """All figures of a model."""
    subject = Subject(config, args)
    originals = [tuple(size) for size in args.original or [(640, 853)]]
    for _ in range(args.repeat):
        encoding = subject.encode()
        for size in originals:
            for classes in args.classes:
                subject.label(encoding, classes, size)
    subject.encode_text(args.text_classes)
    subject.compare(encoding, max(args.classes), originals[0])
    return subject.figures


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.cuda.get_device_name() if args.device.startswith('cuda') else platform.machine()
    print(
        f'image of {args.image[0]} x {args.image[1]}, float32, median of {args.repeat}, '
        f'{device}, {torch.get_num_threads()} threads, torch {torch.__version__}',
        flush=True,
    )
    figures = []
    for config in args.config:
        figures.append(measure(config, args))
        print(f'\n{figures[-1].report()}', flush=True)
    if args.json:
        content = {'settings': vars(args), 'device': device, 'torch': torch.__version__}
        content['models'] = [asdict(each) for each in figures]
        Path(args.json).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
