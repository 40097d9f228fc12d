"""CorrCLIP: patches are mixed within regions, and regions vote on their label."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from ovseg.affinity.region_scope import PADDING_REGION, resize_regions
from ovseg.budget import MemoryBudget
from ovseg.encoders import DenseFeatures, load_clip
from ovseg.encoders.companions import resize_to_patches
from ovseg.errors import UserError, notify
from ovseg.guides.mixed_clip import MixedCLIPEncoder
from ovseg.guides.mixer import Look
from ovseg.images import Images
from ovseg.images.windows import cut_windows
from ovseg.input_files import read_json
from ovseg.refiners.mask_vote import majority_labels
from ovseg.regions.region_maps import RegionSource
from ovseg.regions.retrieval import RetrievalBank, support_embeddings
from ovseg.regions.sampled_features import SampledFeatures
from ovseg.registry import MODELS, build_part
from ovseg.scores.decide import Decision
from ovseg.scores.encoding import ImageEncoding, encode_windows, image_boxes, window_maps
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import Painted, RowMap, resized
from ovseg.segmentors.text_rows import text_cache_of
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.text import Classifier, build_classifier
from ovseg.text.encoder import SentenceEncoder
from ovseg.text.experts import refuse_experts
from ovseg.vocabulary import Vocabulary

# What "ovseg bank" writes beside its tensors: who made them.
BANK_MANIFEST = 'bank.json'


@dataclass(frozen=True)
class Support:
    """What a bank says of the regions of an image.

    Attributes:
        regions: (height, width) int64 of the network's input, numbers 0 to R - 1.
        embeddings: (R, D) unit vectors in the text space.
        auxiliary: (R, D2) in the text space of another CLIP, or None.
    """

    regions: Tensor
    embeddings: Tensor
    auxiliary: Tensor | None


@dataclass(frozen=True)
class CorrCLIPEncoding(ImageEncoding):
    """An encoded image with its regions.

    Attributes:
        regions: (H, W) int64, at the image's own size.
        support: of a bank, or None.
    """

    regions: Tensor = field(kw_only=True)
    support: Support | None = None


@dataclass(frozen=True)
class RegionRows:
    """What a bank keeps of the R regions of an image, those with id 0 (unclaimed) left out.

    Attributes:
        keys: (R, C) float16, unit means of the companion's unit features at the image's own size.
        embeddings: (R, D) float16, unit means of the encoder's features.
    """

    keys: Tensor
    embeddings: Tensor


@dataclass(frozen=True, eq=False)
class TwoModelClassifier(Classifier):
    """A classifier with rows of a second CLIP for the same queries.

    Attributes:
        auxiliary: (P, D2), float32, of unit length.
    """

    auxiliary: Tensor = field(kw_only=True)

    def to(self, device: torch.device | str) -> TwoModelClassifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        return replace(super().to(device), auxiliary=self.auxiliary.to(device))


@MODELS.register_module()
class CorrCLIP(TrainingFreeSegmentor):
    """Segments with regions: within them CLIP's values are mixed, and each votes on its label.

    Args:
        regions: config of a :class:`~ovseg.regions.region_maps.RegionSource`, or such an object.
        encoder: config of a :class:`~ovseg.guides.mixed_clip.CorrCLIPEncoder`, or of another
            encoder with a mixer.
        bank: arguments of :class:`~ovseg.regions.retrieval.RetrievalBank` (version 2), or None;
            with it no examples of classes are taken, since regions are also compared with words.
        auxiliary_clip: arguments of :func:`~ovseg.encoders.load_clip` for the CLIP of the bank's
            auxiliary embeddings; its text tower is asked, too.
        kwargs: as in :class:`TrainingFreeSegmentor`; guides and refiners have no place here.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: CorrCLIP (arXiv 2411.10086); version 2 as in its repository.
    """

    # How much the bank's word counts beside the image's own (1 - the released alpha, which is 0.5).
    support_share = 0.5
    frozen_prefixes: ClassVar[tuple[str, ...]] = (
        'clip.',
        'encoder.',
        'region_source.',
        'auxiliary_clip.',
    )
    encoder: MixedCLIPEncoder

    def __init__(
        self,
        regions: Mapping[str, Any] | RegionSource,
        encoder: Mapping[str, Any],
        bank: Mapping[str, Any] | None = None,
        auxiliary_clip: Mapping[str, Any] | None = None,
        vocabulary: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder=encoder, **kwargs)
        if not isinstance(self.encoder, MixedCLIPEncoder):
            raise UserError(
                "model.encoder of CorrCLIP must have type='CorrCLIPEncoder', got "
                f'{type(self.encoder).__name__}'
            )
        if self.inference_settings.mode == 'splice':
            raise UserError("test_cfg.mode of CorrCLIP must be 'slide' or 'whole', got 'splice'")
        if self.guide is not None or self.refiners or self.pixel_refiner is not None:
            raise UserError(
                'CorrCLIP refines by its regions; leave out model.guide, model.refiners and '
                'model.pixel_refiner'
            )
        self.region_source: RegionSource = (
            build_part(regions) if isinstance(regions, Mapping) else regions
        )
        looks_up = {'names'} if self.region_source.needs_names else set()
        self.reads = frozenset({'originals'} | looks_up)
        self.bank = None if bank is None else RetrievalBank(**bank)
        self._check_bank(auxiliary_clip)
        if bank is not None:
            self._doubt_bank(bank)
            self.text.refuse_examples("CorrCLIP's bank of regions (model.bank)")
        self.auxiliary_text: SentenceEncoder | None = None
        if auxiliary_clip is not None:
            cache = text_cache_of(kwargs.get('text'))
            loaded = load_clip(**{'text_cache': cache, **auxiliary_clip})
            self.auxiliary_clip = loaded.model
            self.auxiliary_text = loaded.text_encoder(cache)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def _check_bank(self, auxiliary_clip: Mapping[str, Any] | None) -> None:
        if self.bank is None:
            if auxiliary_clip is not None:
                raise UserError('model.auxiliary_clip goes with model.bank; give both or none')
            return
        if self.inference_settings.upsampling == 'direct':
            raise UserError("model.bank does not go with test_cfg.upsampling='direct'")
        if self.encoder.companion_sees != 'image':
            raise UserError("model.bank needs model.encoder.companion_sees='image'")
        if (self.bank.auxiliary is None) != (auxiliary_clip is None):
            raise UserError(
                'model.bank.auxiliary and model.auxiliary_clip go together; give both or none'
            )
        if auxiliary_clip is not None and self.text.settings.get('combine') != 'max':
            raise UserError(
                "model.auxiliary_clip needs model.text.combine='max': its queries are compared one "
                'by one'
            )

    def _doubt_bank(self, files: Mapping[str, Any]) -> None:
        """Says where another model made a bank; published ones do not say who did."""
        given = files['embeddings']
        path = None if isinstance(given, Tensor) else Path(given).parent / BANK_MANIFEST
        if path is None or not os.path.isfile(path):
            return
        said, own = read_json(path, 'manifest of a bank'), self.bank_facts()
        before = said if isinstance(said, Mapping) else {}
        for name, value in own.items():
            if before.get(name) not in (None, value):
                notify(
                    f'The bank in {path.parent} was built with {name} of {before[name]}, and here '
                    f'they are of {value}: what it finds means little unless both are the same '
                    'weights; build it again with ovseg bank.'
                )

    def bank_facts(self) -> dict[str, str]:
        """Who makes the vectors that a bank holds, as its manifest says it."""
        return {
            'companion': str(self.encoder.companion),
            'embeddings': f'{self.clip_name} {self.clip_weights}, {self.encoder.last_block}',
        }

    # Words -----------------------------------------------------------------------------------

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """See the parent; with an auxiliary CLIP, its rows are there, too."""
        classifier = super().build_classifier(vocabulary, rows)
        if self.auxiliary_text is None:
            return classifier
        refuse_experts(classifier, 'a model with an auxiliary CLIP')
        other = build_classifier(vocabulary, self.auxiliary_text, **self.text.settings)
        own = {each.name: getattr(classifier, each.name) for each in fields(Classifier)}
        return TwoModelClassifier(**own, auxiliary=other.weight)

    # Image -----------------------------------------------------------------------------------

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        """Finds the regions of images and encodes them; inputs stand for originals not given."""
        regions, in_input, seen = self._look(images)
        settings = self.inference_settings.with_window_batch(window_batch)
        encodings = self._encode_windows(images.inputs, in_input, seen, settings)
        return self.in_text_space(
            [
                CorrCLIPEncoding(
                    **vars(encoding),
                    regions=each,
                    support=None
                    if self.bank is None
                    else _support(self.bank, seen[i], in_input[i]),
                )
                for i, (encoding, each) in enumerate(zip(encodings, regions, strict=True))
            ]
        )

    def region_rows(self, images: Images, window_batch: int | None = None) -> list[RegionRows]:
        """What a bank keeps of the regions of images; see :class:`RegionRows`.

        Args:
            images: with their originals.
            window_batch: see :meth:`encode`.

        Raises:
            UserError: the companion does not see the whole image.
        """
        if self.encoder.companion_sees != 'image':
            raise UserError(
                "the keys of a bank need model.encoder.companion_sees='image', as version 2 of "
                'CorrCLIP has it'
            )
        regions, in_input, seen = self._look(images)
        settings = self.inference_settings.with_window_batch(window_batch)
        encodings = self._encode_windows(images.inputs, in_input, seen, settings)
        return [
            self._rows_of(*each, self.budget) for each in zip(regions, seen, encodings, strict=True)
        ]

    @staticmethod
    def _rows_of(
        regions: Tensor, seen: SampledFeatures, encoding: ImageEncoding, budget: MemoryBudget
    ) -> RegionRows:
        size = (regions.shape[0], regions.shape[1])
        ids, numbers = regions.unique(return_inverse=True)
        claimed = ids > 0
        keys = SampledFeatures(seen.features, size).region_means(numbers)
        # Linear all the way: the mean of what windows say of each pixel.
        maps = resized(window_maps(encoding, encoding.features.patch, size, 'input'), size)
        totals = maps.like.new_zeros(maps.channels, len(ids), dtype=torch.float32)
        for start, stop in maps.strips(budget):
            strip = maps.rows(start, stop).float().flatten(1)
            totals.index_add_(1, numbers[start:stop].flatten(), strip)
        return RegionRows(
            *(F.normalize(rows[claimed], dim=1).half().cpu() for rows in (keys, totals.T))
        )

    def _look(self, images: Images) -> tuple[list[Tensor], Tensor, list[SampledFeatures]]:
        """Regions at the images' own sizes and at the input's (B, H, W); maps of the companion.

        There are none where it sees windows.
        """
        inputs, size, originals = images.inputs, images.size, images.originals
        if originals is None:
            pixels = (inputs * self.pixel_std + self.pixel_mean).clamp(0, 1).mul(255).round()
            originals = list(pixels.permute(0, 2, 3, 1).byte().cpu().numpy())
        names = [None] * len(images) if images.names is None else images.names
        regions = [
            torch.from_numpy(self.region_source.regions(image, name)).to(inputs.device)
            for image, name in zip(originals, names, strict=True)
        ]
        seen: list[SampledFeatures] = []
        if self.encoder.companion_sees == 'image':
            seen = [self._see(image, size) for image in originals]
        return regions, torch.cat([resize_regions(each[None], size) for each in regions]), seen

    def _encode_windows(
        self,
        inputs: Tensor,
        regions: Tensor,
        seen: list[SampledFeatures],
        settings: InferenceSettings,
    ) -> list[ImageEncoding]:
        boxes = image_boxes((inputs.shape[2], inputs.shape[3]), settings)
        region_windows = cut_windows(regions[:, None], boxes)[:, 0]

        def compute(batch: Tensor, first: int) -> DenseFeatures:
            padded = self.encoder.pad(batch)
            margins = self.encoder.margins((batch.shape[2], batch.shape[3]))
            size = (padded.shape[2], padded.shape[3])
            ids = _filled_up(region_windows[first : first + len(batch)], size, margins)
            if not seen:
                look = replace(self.encoder.look(padded), regions=ids)
                return self.encoder(padded, look=look)
            # Twice CLIP's grid, whatever the companion's own.
            patch = self.encoder.clip.stride
            grid = (2 * (size[0] // patch[0]), 2 * (size[1] // patch[1]))
            windows = [divmod(first + i, len(boxes)) for i in range(len(batch))]
            maps = [seen[i].window(boxes[box], margins, grid) for i, box in windows]
            return self.encoder(padded, look=Look(torch.stack(maps), ids))

        return encode_windows(compute, self.encoder, inputs, settings)

    def _see(self, image: np.ndarray, size: tuple[int, int]) -> SampledFeatures:
        """The companion's map of a whole image, whose sides become whole patches."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(self.device).float() / 255
        stride = self.encoder.companion.stride
        if stride is not None:
            pixels = resize_to_patches(pixels, stride)
        return SampledFeatures(self.encoder.companion(pixels)[0].float(), size)

    # Labels ----------------------------------------------------------------------------------

    @override
    def with_regions(self, maps: RowMap, encoding: ImageEncoding, classifier: Classifier) -> RowMap:
        """With a bank, what it says of the regions is averaged in."""
        assert isinstance(encoding, CorrCLIPEncoding)  # of `encode`
        support = encoding.support
        if support is None:
            return maps
        of_regions = classifier.weight @ support.embeddings.T
        if support.auxiliary is not None:
            assert isinstance(classifier, TwoModelClassifier)  # of `build_classifier`
            of_regions = (of_regions + classifier.auxiliary @ support.auxiliary.T) / 2
        return Painted(maps, of_regions, support.regions, self.support_share)

    @property
    @override
    def moves_pixels(self) -> bool:
        return True

    @override
    def finish(self, decision: Decision, encoding: CorrCLIPEncoding) -> Decision:
        """One label a region; probabilities stay those of the pixels."""
        size = (decision.labels.shape[0], decision.labels.shape[1])
        regions = resize_regions(encoding.regions[None], size)[0]
        return replace(decision, labels=majority_labels(decision.labels, regions), own=None)

    @override
    def protocol(self) -> dict[str, Any]:
        return {
            **super().protocol(),
            'regions': str(self.region_source),
            'bank': 'none' if self.bank is None else str(self.bank),
        }


def _support(bank: RetrievalBank, seen: SampledFeatures, regions: Tensor) -> Support:
    numbers = regions.unique(return_inverse=True)[1]
    rows = bank.nearest(seen.region_means(numbers))
    auxiliary = bank.auxiliary
    return Support(
        numbers,
        support_embeddings(bank.embeddings, rows).to(regions.device),
        None if auxiliary is None else support_embeddings(auxiliary, rows).to(regions.device),
    )


def _filled_up(regions: Tensor, size: tuple[int, int], margins: tuple[int, ...]) -> Tensor:
    """Region windows (b, H, W) as the encoder pads its windows; what is added is a region too."""
    filled = regions.new_full((len(regions), *size), PADDING_REGION)
    top, _, left, _ = margins
    rows, columns = min(regions.shape[1], size[0] - top), min(regions.shape[2], size[1] - left)
    filled[:, top : top + rows, left : left + columns] = regions[:, :rows, :columns]
    return filled
