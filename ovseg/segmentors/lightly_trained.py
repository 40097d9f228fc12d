"""A frozen vision-language model with something small that was learned on its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor
from typing_extensions import override

from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.scores.encoding import ImageEncoding
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.text import Classifier
from ovseg.training.feature_cache import CachedPatches, encoder_identity
from ovseg.training.learners import Teachings, build_learner
from ovseg.training.learners.files import ADAPTER, adapter_state
from ovseg.training.patch_labels import label_patches, patch_cross_entropy
from ovseg.vocabulary import Vocabulary, build_vocabulary

_OWN = 'learner.'
_NO_READY_ROWS = 'ready rows of text.embeddings have no place where rows are learned; remove them'


@MODELS.register_module()
class LightlyTrained(TrainingFreeSegmentor):
    """Segments as its parent does, with a classifier or features that a light training moved.

    The towers stay frozen. A training reads features from a cache on disk
    (:class:`~ovseg.engine.FrozenFeatureLoop`), so that an epoch takes seconds without a GPU.
    Checkpoints hold what was learned and nothing else; those of CoOp, CLIP-Adapter and VDT-Adapter
    load like ours.

    Args:
        clip: as in :class:`TrainingFreeSegmentor`.
        learner: ``kind``, a key of :data:`~ovseg.training.learners.LEARNERS`, and its arguments.
        vocabulary: the classes of the training.
        kwargs: as in :class:`TrainingFreeSegmentor`.

    Raises:
        UserError: no vocabulary, or a learner that does not fit the model.
    """

    frozen_prefixes: ClassVar[tuple[str, ...]] = ('clip.', 'encoder.', 'guide.')

    def __init__(
        self,
        clip: Mapping[str, Any],
        learner: Mapping[str, Any],
        vocabulary: Any = None,
        **kwargs: Any,
    ) -> None:
        if learner.get('kind') == 'contexts' and 'type' not in clip:
            # Sentences with learned tokens are no file's: the text tower cannot wait in its own.
            clip = {'text_cache': None, **clip}
        super().__init__(clip=clip, vocabulary=None, **kwargs)
        self.text.refuse_examples('a light training, whose classifier is learned')
        if self.text.ready is not None:
            raise UserError(_NO_READY_ROWS)
        learned_for = build_vocabulary(vocabulary)
        if learned_for is None:
            raise UserError(
                'a light training learns for classes: set model.vocabulary to their names in label '
                'order, such as "cat; sofa; wall"'
            )
        self.learned_for: Vocabulary = learned_for
        teachings = Teachings(
            learned_for,
            self.text.encoder,
            self.text.settings,
            self.clip,
            self.text.tokenizer,
            self.encoder.embed_dim,
        )
        self.learner = build_learner(learner, teachings)
        self.learner_kind = str(learner['kind'])
        self._absent: Tensor | None = None
        self.set_vocabulary(vocabulary)

    # Before a model is built ----------------------------------------------------------------

    @classmethod
    @override
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        return True

    @classmethod
    @override
    def place_checkpoint(cls, config: dict[str, Any], checkpoint: str | Path) -> str | Path | None:
        return checkpoint

    # Words and images -----------------------------------------------------------------------

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        if rows is not None:
            raise UserError(_NO_READY_ROWS)
        with torch.no_grad():
            made = self.learner.classifier(vocabulary)
        return replace(made, weight=made.weight.detach(), fingerprint=self.text.space)

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        encodings = self.encode_frozen(images, window_batch)
        with torch.no_grad():
            return [self.moved(encoding) for encoding in encodings]

    def encode_frozen(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        """As :meth:`encode`, before anything that was learned."""
        return super().encode(images, window_batch)

    def moved(self, encoding: ImageEncoding) -> ImageEncoding:
        """An encoding of :meth:`encode_frozen` with its features as they were learned to be."""
        patch = self.learner.moved(encoding.features.patch)
        return replace(encoding, features=replace(encoding.features, patch=patch))

    # Training -------------------------------------------------------------------------------

    @property
    def feature_identity(self) -> str:
        """What tells the features of this model from all others': weights and settings."""
        settings = [self.inference_settings.to_dict(), self.pixel_mean.tolist()]
        settings += [self.pixel_std.tolist(), str(self.guide)]
        return encoder_identity(self.encoder, settings)

    @torch.no_grad()
    def patches_of(self, inputs: Tensor, labels: Tensor) -> CachedPatches:
        """Features and labels of an image's patches, as a training reads them.

        Args:
            inputs: (1, 3, H, W), from the data preprocessor.
            labels: (H', W') integers.
        """
        (encoding,) = self.encode_frozen(Images(inputs))
        patch = encoding.features.patch
        found = label_patches(
            labels.to(patch.device),
            len(self.learned_for),
            encoding.boxes,
            encoding.input_size,
            (patch.shape[2], patch.shape[3]),
            encoding.margins,
        )
        return CachedPatches(patch.flatten(2).transpose(1, 2).flatten(0, 1), found).packed()

    def see_classes(self, pixels: Tensor) -> None:
        """Tells the learner which classes the images of a training show.

        Args:
            pixels: (K,), how much of each.

        Raises:
            UserError: none of them.
        """
        present = pixels > 0
        if not present.any():
            raise UserError(
                'no training image has a pixel of one of the classes; check the labels, and that '
                'model.vocabulary has the classes of train_dataloader'
            )
        self._absent = None if self.learner.absent_join else ~present
        self.learner.see(present)

    def patch_loss(self, patches: CachedPatches) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            patches: of one or more images.
        """
        classifier = self.learner.classifier(self.learned_for)
        features = self.learner.moved(patches.features.float().T[None, :, :, None])
        scores = classifier.logit_scale * classifier.scores(features)[0, :, :, 0].T
        absent = None if self._absent is None else self._absent.to(scores.device)
        return {'loss_patches': patch_cross_entropy(scores, patches.labels, absent)}

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """A step of a training.

        Args:
            data: a batch of cached patches.
            optim_wrapper: of the Runner.

        Raises:
            UserError: images instead.
        """
        if not isinstance(data, CachedPatches):
            self.loss(torch.empty(0), [])
        with optim_wrapper.optim_context(self):
            losses = self.patch_loss(data.to(self.device))
        parsed, log_vars = self.parse_losses(losses)
        optim_wrapper.update_params(parsed)
        self.learner.pull(float(next(iter(optim_wrapper.get_lr().values()))[0]))
        self.words.forget()
        return log_vars

    @override
    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """Refuses images.

        Raises:
            UserError: always.
        """
        raise UserError(
            "a light training reads features that are kept: set train_cfg.type='FrozenFeatureLoop'"
        )

    # Weights --------------------------------------------------------------------------------

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names for the keys of CoOp's and the adapters' checkpoints; ours stay as they are.

        Args:
            state: tensors by name.

        Raises:
            UserError: a checkpoint of other classes.
        """
        if any(name.startswith(_OWN) for name in state):
            own = {key.removeprefix(_OWN): value for key, value in state.items()}
            self.learner.check_state(own)
            return dict(state)
        if 'ctx' in state:
            found = {'ctx': state['ctx']}
        else:
            found = {f'{ADAPTER}{key}': value for key, value in adapter_state(state).items()}
        words = dict(self.learner.named_buffers()).get('words')
        if words is not None:
            found['words'] = words  # published files name no classes
        return {f'{_OWN}{key}': value for key, value in found.items()}

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        super()._load_from_state_dict(state_dict, *args)
        self.words.forget()

    @override
    def protocol(self) -> dict[str, Any]:
        return {
            **super().protocol(),
            'learned': f'{self.learner_kind}, {len(self.learned_for)} classes',
        }
