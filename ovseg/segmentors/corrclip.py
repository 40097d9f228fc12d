"""CorrCLIP: patches are mixed within regions, and regions vote on their label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.affinity.region_scope import PADDING_REGION, resize_regions
from ovseg.encoders import DenseFeatures, load_clip
from ovseg.errors import UserError
from ovseg.guides.corr_clip import CorrCLIPEncoder
from ovseg.images.windows import cut_windows
from ovseg.refiners.mask_vote import majority_labels
from ovseg.regions.region_maps import RegionSource
from ovseg.regions.retrieval import RetrievalBank, support_embeddings
from ovseg.regions.sampled_features import SampledFeatures
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding, encode_windows, image_boxes
from ovseg.scores.upsample import RegionScores, ScoreMaps
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.text import Classifier, TextEncoder, build_classifier
from ovseg.vocabulary import Vocabulary


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

    regions: Tensor | None = None
    support: Support | None = None


@dataclass(frozen=True, eq=False)
class TwoModelClassifier(Classifier):
    """A classifier with rows of a second CLIP for the same queries.

    Attributes:
        auxiliary: (P, D2), float32, of unit length.
    """

    auxiliary: Tensor | None = None

    def to(self, device: torch.device | str) -> Classifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        return replace(super().to(device), auxiliary=self.auxiliary.to(device))


@MODELS.register_module()
class CorrCLIP(TrainingFreeSegmentor):
    """Segments with regions: within them CLIP's values are mixed, and each votes on its label.

    Args:
        regions: config of a :class:`~ovseg.regions.region_maps.RegionSource`, or such an object.
        encoder: config of a :class:`~ovseg.guides.corr_clip.CorrCLIPEncoder`.
        bank: arguments of :class:`~ovseg.regions.retrieval.RetrievalBank` (version 2), or None.
        auxiliary_clip: arguments of :func:`~ovseg.encoders.load_clip` for the CLIP of the bank's
            auxiliary embeddings; its text tower is asked, too.
        kwargs: as in :class:`TrainingFreeSegmentor`; guides and refiners have no place here.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: CorrCLIP (arXiv 2411.10086); version 2 as in its repository.
    """

    reads_originals = True
    # How much the bank's word counts beside the image's own (the released alpha).
    support_share = 0.5
    frozen_prefixes = ('clip.', 'encoder.', 'region_source.', 'auxiliary_clip.')

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
        if not isinstance(self.encoder, CorrCLIPEncoder):
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
        self.reads_names = self.region_source.needs_names
        self.bank = None if bank is None else RetrievalBank(**bank)
        self._check_bank(auxiliary_clip)
        self.auxiliary_text: TextEncoder | None = None
        if auxiliary_clip is not None:
            loaded = load_clip(**auxiliary_clip)
            self.auxiliary_clip = loaded.model
            cache = dict(kwargs.get('text') or {}).get('cache_dir', 'default')
            self.auxiliary_text = TextEncoder(
                loaded.model, loaded.tokenizer, cache_dir=cache, name=loaded.name
            )
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def _check_bank(self, auxiliary_clip: Mapping[str, Any] | None) -> None:
        if self.bank is None:
            if auxiliary_clip is not None:
                raise UserError('model.auxiliary_clip goes with model.bank; give both or none')
            return
        if self.encoder.companion_sees != 'image':
            raise UserError("model.bank needs model.encoder.companion_sees='image'")
        if (self.bank.auxiliary is None) != (auxiliary_clip is None):
            raise UserError(
                'model.bank.auxiliary and model.auxiliary_clip go together; give both or none'
            )
        if auxiliary_clip is not None and self.text_settings.get('combine') != 'max':
            raise UserError(
                "model.auxiliary_clip needs model.text.combine='max': its queries are compared one "
                'by one'
            )

    # Words -----------------------------------------------------------------------------------

    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """See the parent; with an auxiliary CLIP, its rows are there, too."""
        classifier = super().build_classifier(vocabulary, rows)
        if self.auxiliary_text is None:
            return classifier
        other = build_classifier(vocabulary, self.auxiliary_text, **self.text_settings)
        own = {field.name: getattr(classifier, field.name) for field in fields(Classifier)}
        return TwoModelClassifier(**own, auxiliary=other.weight)

    # Image -----------------------------------------------------------------------------------

    def encode_images(
        self,
        inputs: Tensor,
        originals: Sequence[np.ndarray] | None = None,
        names: Sequence[str | None] | None = None,
    ) -> list[CorrCLIPEncoding]:
        """Finds the regions of images of one size and encodes them.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            originals: the same images at their own size, each (H', W', 3) uint8 RGB; None where
                that is the size of the inputs.
            names: their paths, for regions from files.
        """
        if originals is None:
            pixels = (inputs * self.pixel_std + self.pixel_mean).clamp(0, 1).mul(255).round()
            originals = list(pixels.permute(0, 2, 3, 1).byte().cpu().numpy())
        names = [None] * len(inputs) if names is None else names
        size = (inputs.shape[-2], inputs.shape[-1])
        regions = [
            torch.from_numpy(self.region_source.regions(image, name)).to(inputs.device)
            for image, name in zip(originals, names, strict=True)
        ]
        resized = torch.cat([resize_regions(each[None], size) for each in regions])
        looks = None
        if self.encoder.companion_sees == 'image':
            looks = [self._look(image, size) for image in originals]
        encodings = self._encode_windows(inputs, resized, looks)
        return [
            CorrCLIPEncoding(
                **vars(encoding),
                regions=each,
                support=None if self.bank is None else self._support(looks[i], resized[i]),
            )
            for i, (encoding, each) in enumerate(zip(encodings, regions, strict=True))
        ]

    def _encode_windows(
        self, inputs: Tensor, regions: Tensor, looks: list[SampledFeatures] | None
    ) -> list[ImageEncoding]:
        boxes = image_boxes(tuple(inputs.shape[-2:]), self.inference_settings)
        region_windows = cut_windows(regions[:, None], boxes)[:, 0]

        def compute(batch: Tensor, first: int) -> DenseFeatures:
            padded = self.encoder.pad(batch)
            margins = self.encoder.margins(tuple(batch.shape[-2:]))
            size = (padded.shape[-2], padded.shape[-1])
            ids = _filled_up(region_windows[first : first + len(batch)], size, margins)
            similar = None
            if looks is not None:
                # Twice CLIP's grid, whatever the companion's own.
                sides = zip(size, self.encoder.clip.stride, strict=True)
                grid = tuple(2 * (side // patch) for side, patch in sides)
                windows = [divmod(first + i, len(boxes)) for i in range(len(batch))]
                maps = [looks[i].window(boxes[box], margins, grid) for i, box in windows]
                similar = torch.stack(maps)
            return self.encoder(padded, regions=ids, similarity_features=similar)

        return encode_windows(compute, self.encoder, inputs, self.inference_settings)

    def _look(self, image: np.ndarray, size: tuple[int, int]) -> SampledFeatures:
        """The companion's map of a whole image, whose sides become whole patches."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(self.device).float() / 255
        stride = self.encoder.companion.stride
        if stride is not None:
            sides = zip(pixels.shape[-2:], stride, strict=True)
            whole = [max(1, round(side / patch)) * patch for side, patch in sides]
            pixels = F.interpolate(pixels, size=whole, mode='bilinear', align_corners=False)
        return SampledFeatures(self.encoder.companion(pixels)[0], size)

    def _support(self, look: SampledFeatures, regions: Tensor) -> Support:
        bank = self.bank
        numbers = regions.unique(return_inverse=True)[1]
        rows = bank.nearest(look.region_means(numbers))
        auxiliary = bank.auxiliary
        return Support(
            numbers,
            support_embeddings(bank.embeddings, rows).to(regions.device),
            None if auxiliary is None else support_embeddings(auxiliary, rows).to(regions.device),
        )

    # Labels ----------------------------------------------------------------------------------

    def score(self, encoding: CorrCLIPEncoding, classifier: Classifier) -> ScoreMaps:
        """See the parent; with a bank, what it says of the regions is averaged in."""
        scores = super().score(encoding, classifier)
        support = encoding.support
        if support is None:
            return scores
        of_regions = classifier.weight @ support.embeddings.T
        if support.auxiliary is not None:
            of_regions = (of_regions + classifier.auxiliary @ support.auxiliary.T) / 2
        return replace(
            scores, of_regions=RegionScores(of_regions, support.regions, self.support_share)
        )

    def segment_encoding(
        self,
        encoding: CorrCLIPEncoding,
        original_size: tuple[int, int],
        classifier: Classifier | None = None,
        with_scores: bool = False,
        strip_megabytes: float | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Labels of an encoded image, one a region.

        Args and returns as in the parent; the probabilities are those before the vote.
        """
        result = super().segment_encoding(
            encoding, original_size, classifier, with_scores, strip_megabytes
        )
        labels, probabilities = result if with_scores else (result, None)
        regions = resize_regions(encoding.regions[None], tuple(original_size))[0]
        labels = majority_labels(labels, regions)
        return (labels, probabilities) if with_scores else labels

    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""
        return {
            **super().protocol(),
            'regions': str(self.region_source),
            'bank': 'none' if self.bank is None else str(self.bank),
        }


def _filled_up(regions: Tensor, size: tuple[int, int], margins: tuple[int, ...]) -> Tensor:
    """Region windows (b, H, W) as the encoder pads its windows; what is added is a region too."""
    filled = regions.new_full((len(regions), *size), PADDING_REGION)
    top, _, left, _ = margins
    rows, columns = min(regions.shape[1], size[0] - top), min(regions.shape[2], size[1] - left)
    filled[:, top : top + rows, left : left + columns] = regions[:, :rows, :columns]
    return filled
