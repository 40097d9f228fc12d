"""MaskCLIP+: any network of mmseg's, trained with the pseudo labels of a frozen MaskCLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmengine.model import ModuleList
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.encoders.maskclip_plus_format import from_maskclip_plus, to_maskclip_plus
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.precision import computed_by, dtype_of
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding, encode_images, window_maps
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import RowMap, WindowMaps, resized
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.mmseg_doors import refuse_pretrained
from ovseg.segmentors.trained_encoder import LEAST_SIDE, TrainedEncoder
from ovseg.segmentors.trained_words import (
    has_words,
    trained_classifier,
    with_learned_background,
)
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.segmentors.words import Words
from ovseg.text import Classifier
from ovseg.training.heads.decode_loss import decode_loss
from ovseg.training.heads.two_classes import two_classes_welcome
from ovseg.training.pseudo_labels import (
    PseudoLabelSettings,
    assign_labels,
    distillation_loss,
)
from ovseg.vocabulary import Rejection, Vocabulary, VocabularySource, build_vocabulary
from ovseg.weight_files import drop_frozen


@MODELS.register_module()
class MaskCLIPPlusSegmentor(Segmentor):
    """A closed-vocabulary student in CLIP's text space, and the teacher that labels its images.

    The student is a backbone, a neck if wanted, and a
    :class:`~ovseg.training.heads.MaskCLIPPlusHead` around the decoder of any mmseg head. The
    teacher sees the same augmented images; it is frozen, and not saved in checkpoints.

    Args:
        backbone: config, as in mmseg.
        decode_head: config of a ``MaskCLIPPlusHead``; ``num_classes`` comes from the vocabulary.
        vocabulary: the classes, anything :func:`~ovseg.vocabulary.build_vocabulary` takes. With
            ``decode_head.cls_bg`` the words of the other classes only: a class ``background`` is
            put first.
        teacher: config of a :class:`TrainingFreeSegmentor` (its refiners and windows apply; its
            words are the student's). None for a trained student that needs neither CLIP's weights
            nor new words.
        pseudo_labels: fields of :class:`PseudoLabelSettings`.
        neck: config, as in mmseg.
        auxiliary_head: config or configs of mmseg heads, trained with the same labels.
        test_cfg: fields of :class:`InferenceSettings`.
        data_preprocessor: as in mmseg; labels must be padded with 255.
        init_cfg: as in mmseg.
        pretrained: None, which mmseg's interfaces set.
        train_cfg: unused, likewise.

    Attributes:
        iterations: int64 scalar, training iterations so far: saved, so a resumed training goes on
            in its phase.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: MaskCLIP (arXiv 2112.01071) section 3.3.
    """

    frozen_prefixes: ClassVar[tuple[str, ...]] = ('teacher.',)
    networks: ClassVar[tuple[str, ...]] = ('backbone', 'neck')

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        vocabulary: VocabularySource | None,
        teacher: Mapping[str, Any] | None = None,
        pseudo_labels: Mapping[str, Any] | None = None,
        neck: Mapping[str, Any] | None = None,
        auxiliary_head: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        pretrained: None = None,
        train_cfg: Any = None,
    ) -> None:
        refuse_pretrained(pretrained)
        preprocessor = None if data_preprocessor is None else build_part(data_preprocessor)
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.pseudo_labels = PseudoLabelSettings.from_config(pseudo_labels)
        self.inference_settings = InferenceSettings.from_config(test_cfg)
        if vocabulary is None:
            raise UserError(
                'a MaskCLIPPlusSegmentor learns fixed classes; set model.vocabulary, such as '
                '"cat; sofa; wall"'
            )
        source = with_learned_background(vocabulary) if decode_head.get('cls_bg') else vocabulary
        self.teacher: TrainingFreeSegmentor | None = None
        if teacher is not None:
            _check_colours(data_preprocessor, teacher.get('data_preprocessor'))
            if teacher.get('pixel_refiner') is not None:
                raise UserError(
                    'model.teacher.pixel_refiner would not be applied: pseudo labels are taken '
                    'from score maps on the patch grid; remove it'
                )
            self.teacher = build_part({**teacher, 'vocabulary': source})
            self.teacher.requires_grad_(False).eval()
        trained = build_vocabulary(source)
        self.words = Words(self, keeps=False)
        self.words.vocabulary = trained
        self._trained_words = [item for item in trained if has_words(item)]
        self.backbone = build_part(backbone)
        if neck is not None:
            self.neck = build_part(neck)
        with two_classes_welcome():
            self.decode_head = build_part({**decode_head, 'num_classes': len(self._trained_words)})
        if auxiliary_head is not None:
            heads = auxiliary_head if isinstance(auxiliary_head, Sequence) else [auxiliary_head]
            classes = self.decode_head.num_classes
            self.auxiliary_head = ModuleList(
                [build_part({**head, 'num_classes': classes}) for head in heads]
            )
        self.register_buffer('iterations', torch.zeros((), dtype=torch.int64))
        self._check_categories()
        self._take_rows()
        self.register_state_dict_post_hook(drop_frozen)

    def _check_categories(self) -> None:
        classes = self.decode_head.num_classes
        wrong = [c for c in self.pseudo_labels.categories or () if c >= classes]
        if wrong:
            raise UserError(
                f'pseudo_labels.categories has the class {wrong[0]}, but there are {classes} '
                'classes, counted from 0'
            )
        if (
            self.pseudo_labels.clip_guided
            and self.decode_head.bg_embeddings is not None
            and 0 in (self.pseudo_labels.categories or ())
        ):
            raise UserError(
                'pseudo_labels.categories has 0, the learned background, which a teacher cannot '
                'label: leave it out'
            )

    def _take_rows(self) -> None:
        """Copies the teacher's text rows; without a teacher a checkpoint brings them."""
        if self.teacher is None:
            return
        rows = self.teacher.classifier.folded()
        if rows.aggregation != 'linear' or len(rows.weight) != len(self._trained_words):
            raise UserError(
                "a student learns one text row a class: set model.teacher.text.combine to 'mean'"
            )
        if rows.weight.shape[1] != self.decode_head.channels:
            raise UserError(
                f'decode_head.channels is {self.decode_head.channels}, but the text space of '
                f'{self.teacher.clip_name} has {rows.weight.shape[1]} dimensions: set it to that'
            )
        self.decode_head.text_embeddings.copy_(rows.weight)

    # Words -----------------------------------------------------------------------------------

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """The classifier of a vocabulary on the student's features.

        Classes with the words of a trained class get its row, others a row of the teacher's text
        tower. A learned background takes part where class 0 is a background without words.

        Raises:
            UserError: new words, but no teacher that could encode them.
        """
        head = self.decode_head
        return trained_classifier(
            vocabulary,
            self._trained_words,
            head.text_embeddings,
            None if head.bg_embeddings is None else head.rows()[:1],
            None if self.teacher is None else self.teacher.build_classifier,
        )

    @property
    @override
    def device(self) -> torch.device:
        return self.decode_head.text_embeddings.device

    # Images ----------------------------------------------------------------------------------

    @property
    def _least_side(self) -> int:
        # Networks of mmseg round up, and their published numbers include it; ours round down.
        return LEAST_SIDE if type(self.backbone).__module__.startswith('ovseg.') else 1

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """The backbone's maps, after the neck if there is one."""
        maps = computed_by(self.backbone, inputs)
        return computed_by(self.neck, maps) if self.with_neck else maps

    def _features(self, inputs: Tensor) -> Tensor:
        """Of the student, in the text space, (B, D, h, w)."""
        return self.decode_head.features(self.extract_feat(inputs.to(dtype_of(self.backbone))))

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        """Runs the student."""
        encoder = TrainedEncoder(self._features, self.decode_head.channels, self._least_side)
        settings = self.inference_settings.with_window_batch(window_batch)
        return encode_images(encoder, images.inputs, settings)

    @override
    def scores(
        self,
        encoding: ImageEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        scores = classifier.row_scores(
            encoding.features.patch, normalize=self.decode_head.norm_feat
        )
        upsampling = self.inference_settings.upsampling
        return resized(window_maps(encoding, scores, size, upsampling), size)

    @override
    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self.decode_head(self.extract_feat(inputs))

    # Training --------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> MaskCLIPPlusSegmentor:
        """Sets the student's mode; the teacher never trains."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of one training iteration.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            data_samples: with ``gt_sem_seg``, -1 where unlabelled and 255 where ignored.

        Raises:
            UserError: settings that need a teacher and there is none, or labels that give away a
                category which is to be found out.
        """
        if self.teacher is None and not bool(self.decode_head.text_embeddings.any()):
            raise UserError(
                'the student has no text rows to learn: name a model.teacher, or start from a '
                'checkpoint (load_from)'
            )
        self.iterations += 1
        maps = self.extract_feat(inputs)
        features = self.decode_head.features(maps)
        scores = self.decode_head.score(features)
        given = _labels_of(data_samples)
        labels = self._pseudo_labels(inputs, features, given)
        ignored = labels.masked_fill(labels < 0, self.decode_head.ignore_index)
        losses = self.decode_head.loss_by_feat(scores, ignored)
        distill = self.pseudo_labels.distill
        if distill is not None:
            losses['loss_distill'] = distillation_loss(
                features, self._teach(inputs), given, distill, self.decode_head.ignore_index
            )
        losses = add_prefix(losses, 'decode')
        if self.with_auxiliary_head:
            samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in ignored]
            for number, head in enumerate(self.auxiliary_head):
                losses.update(add_prefix(decode_loss(head, maps, samples, None), f'aux_{number}'))
        return losses

    @torch.no_grad()
    def _pseudo_labels(self, inputs: Tensor, features: Tensor, given: Tensor) -> Tensor:
        """(B, H, W) labels, -1 where none could be found."""
        settings = self.pseudo_labels
        categories = self._categories(given)
        phase = settings.phase(int(self.iterations))
        if phase is None or not bool((given < 0).any()):
            return given
        size = (inputs.shape[2], inputs.shape[3])
        maps: list[RowMap]
        if phase == 'self_training':
            scores = self.decode_head.score(features, categories)
            maps = [WindowMaps(part[None], [(0, 0, *size)], size) for part in scores]
        else:
            rows = self.decode_head.classifier(categories)
            teacher = self._need_teacher()
            maps = [teacher.scores(found, rows, size) for found in self._teach(inputs)]
        return assign_labels(given, maps, categories, settings.conf_thresh)

    def _categories(self, given: Tensor) -> Tensor:
        head = self.decode_head
        categories = self.pseudo_labels.categories
        if categories is None:
            categories = tuple(range(head.bg_embeddings is not None, head.num_classes))
        wanted = torch.tensor(categories, device=given.device)
        if self.pseudo_labels.distill is None:
            leaked = given[torch.isin(given, wanted)]
            if len(leaked):
                raise UserError(
                    f'the labels give away class {int(leaked[0])}, which pseudo_labels.categories '
                    'says is unlabelled; suppress it in the train pipeline (SuppressLabels) or '
                    'take it out of the categories'
                )
        return wanted

    def _need_teacher(self) -> TrainingFreeSegmentor:
        if self.teacher is None:
            raise UserError(
                'pseudo_labels asks a teacher, but model.teacher is None: name a frozen MaskCLIP'
            )
        return self.teacher

    @torch.no_grad()
    def _teach(self, inputs: Tensor) -> list[ImageEncoding]:
        """The teacher's features of the student's images, normalised as the teacher wants them."""
        teacher = self._need_teacher()
        own, wanted = self.data_preprocessor, teacher.data_preprocessor
        if not hasattr(own, 'mean') or not hasattr(wanted, 'mean'):
            return teacher.encode(Images(inputs))
        if not (torch.equal(own.mean, wanted.mean) and torch.equal(own.std, wanted.std)):
            inputs = (inputs * own.std + own.mean - wanted.mean) / wanted.std
        return teacher.encode(Images(inputs))

    # Checkpoints and protocols ---------------------------------------------------------------

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our keys for a checkpoint of the published format; one of ours passes as it is.

        Args:
            state: tensors by name.
        """
        return from_maskclip_plus(state, None if self.teacher is None else 'teacher.clip.')

    def to_published(self) -> dict[str, Tensor]:
        """The state dict in the published format, with the frozen teacher if there is one."""
        if self.teacher is None:
            return to_maskclip_plus(self.state_dict(), None)
        visual = self.teacher.clip.get_submodule('visual')
        return to_maskclip_plus(self.state_dict(), visual.state_dict())

    @override
    def protocol(self) -> dict[str, Any]:
        settings = self.inference_settings
        said = {} if self.teacher is None else self.teacher.protocol()
        return {
            'backbone': type(self.backbone).__name__,
            'decode_module': type(self.decode_head.decode_module).__name__,
            'trained_iterations': int(self.iterations),
            'mode': settings.mode,
            'window': settings.crop_size,
            'stride': settings.stride,
            'vocabulary': said.get('vocabulary', f'{self.num_classes} trained classes'),
            'templates': said.get('templates'),
            'synonyms': said.get('synonyms'),
            'background': 'learned row'
            if self.decode_head.bg_embeddings is not None
            else (self.words.rejection or Rejection()).describe(),
        }


def _labels_of(samples: Sequence[SegDataSample]) -> Tensor:
    """(B, H, W) int64."""
    if any('gt_sem_seg' not in sample for sample in samples):
        raise UserError(
            'a training image has no label map: add dict(type="SuppressLabels") to the train '
            'pipeline, before the crop, which marks images without labels'
        )
    return torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in samples])


def _check_colours(own: Mapping[str, Any] | None, teacher: Mapping[str, Any] | None) -> None:
    # A teacher without a setting of its own takes RGB.
    is_rgb = [bool((part or {}).get('bgr_to_rgb')) for part in (own, teacher or {'bgr_to_rgb': 1})]
    if own is not None and is_rgb[0] != is_rgb[1]:
        raise UserError(
            'model.data_preprocessor and that of model.teacher differ in bgr_to_rgb: the teacher '
            'would see other colours than it knows'
        )
