"""AnoVL: what is damaged in an image, by sentences about whole and damaged objects alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.scores.anomaly import object_of, pooled_states, state_maps, state_probabilities
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.row_map import RowMap, WindowMaps, resized
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.settings import read_settings
from ovseg.text import Classifier
from ovseg.training.prompt_adapter import PromptAdapter, draw_noises
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.anomaly_words import STATES, anomaly_sentences
from ovseg.vocabulary.templates import fill_template

# Of an image whose object nobody named.
_ANY = 'object'


@dataclass(frozen=True)
class AdapterSettings:
    """How the layer is trained on each image.

    Attributes:
        steps: of AdamW; published 5.
        rate: its learning rate.
        seed: of the layer's start and of the noise, the same for every image, so that an image's
            map depends on nothing else.
    """

    steps: int = 5
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0:
            raise UserError(
                f'model.adapter takes steps from 1 and a rate above 0, got {self.steps} and '
                f'{self.rate}'
            )


@dataclass(frozen=True)
class ObjectEncoding(ImageEncoding):
    """An image after the encoder, and what it shows.

    Attributes:
        object_name: the object, as sentences name it.
    """

    object_name: str = _ANY


@MODELS.register_module()
class AnoVL(TrainingFreeSegmentor):
    """Two classes, normal and abnormal, with soft maps; the object is named, the defects are not.

    Scores are probabilities of both states without a temperature, near one half: their order counts
    (``test_cfg.save_logits`` gives them out), a threshold at one half is only a convention.

    Args:
        object_name: what images show; None for the folder of each image, ``OBJECT/test/DEFECT/x``,
            or else ``'object'``.
        states: sentences of both states with ``{}`` for the object where it is named, instead of
            AnoVL's 2 x 462: ``dict(normal=[...], abnormal=[...])``.
        adapter: fields of :class:`AdapterSettings`; None for no training at test time.
        vocabulary: None, or ``'normal; abnormal'`` in either order.
        kwargs: as in :class:`TrainingFreeSegmentor`.

    Raises:
        UserError: other words, windows, or states without sentences.

    Source: AnoVL (arXiv 2308.15939). The released code keeps the optimizer's state from image to
    image, so that its maps depend on their order; here each image starts anew.
    """

    reads = frozenset({'paths'})
    takes_templates: ClassVar[bool] = False

    def __init__(
        self,
        object_name: str | None = None,
        states: Mapping[str, Sequence[str]] | None = None,
        adapter: Mapping[str, Any] | None = None,
        vocabulary: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(vocabulary=None, **kwargs)
        if self.inference_settings.mode != 'whole':
            raise UserError("model.test_cfg.mode of AnoVL is 'whole': its maps are of whole images")
        if states is not None and (
            set(states) != set(STATES) or not all(map(len, states.values()))
        ):
            raise UserError(f'model.states gives sentences for {list(STATES)}, got {list(states)}')
        self.text.refuse_examples('AnoVL, whose rows are of sentences about two states')
        if self.text.settings or self.text.ready is not None:
            names = [*self.text.settings, *(['embeddings'] if self.text.ready else [])]
            raise UserError(
                f'model.text of AnoVL takes cache_dir alone, got {", ".join(names)}: sentences are '
                'set by model.states'
            )
        self.object_name, self.states = object_name, states
        self.adapter_settings = (
            None if adapter is None else read_settings(AdapterSettings, adapter, 'model.adapter')
        )
        self._encoded: dict[tuple[str, str], list[Tensor]] = {}
        self.set_vocabulary(list(STATES) if vocabulary is None else vocabulary)

    # Words ----------------------------------------------------------------------------------

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        names = tuple(vocabulary.names)
        if sorted(names) != sorted(STATES) or vocabulary.background_index is not None:
            raise UserError(
                f'AnoVL tells {" from ".join(STATES)} and takes no other words '
                f'({"; ".join(vocabulary.names)}): name the object as model.object_name'
            )
        if rows is not None:
            raise UserError('AnoVL makes its rows of sentences: remove text.embeddings')
        states = pooled_states(self.sentences_of(self.object_name or _ANY))
        return Classifier(
            weight=states[[STATES.index(name) for name in names]],
            class_index=torch.arange(len(STATES)),
            num_classes=len(STATES),
            logit_scale=1.0,
            origin=names,  # which state a row is, for `scores`
            fingerprint=self.text.space,
        )

    def sentences_of(self, name: str) -> list[Tensor]:
        """Raw encodings (P, D) of an object's sentences on the CPU, those of normal ones first."""
        key = (name, self.text.space)
        if key not in self._encoded:
            told = name.replace('_', ' ')
            found = [
                [fill_template(one, told) if '{}' in one else one for one in self.states[state]]
                if self.states is not None
                else anomaly_sentences(told, state)
                for state in STATES
            ]
            self._encoded[key] = [self.text.encoder.encode(sentences) for sentences in found]
        return self._encoded[key]

    # Images ---------------------------------------------------------------------------------

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        encodings = super().encode(images, window_batch)
        names = images.names or [None] * len(encodings)
        return [
            ObjectEncoding(
                **{field.name: getattr(encoding, field.name) for field in fields(ImageEncoding)},
                object_name=self.object_name or object_of(name) or _ANY,
            )
            for encoding, name in zip(encodings, names, strict=True)
        ]

    @override
    def scores(
        self,
        encoding: ImageEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        features = encoding.features.patch.float().movedim(1, -1)
        name = getattr(encoding, 'object_name', _ANY)
        raw = [sentences.to(features) for sentences in self.sentences_of(name)]
        rows = pooled_states(raw)
        order = [STATES.index(state) for state in classifier.origin]
        # Shares differ in the third digit.
        with torch.autocast(features.device.type, enabled=False):
            if self.adapter_settings is not None:
                features = self._adapted(features, raw, rows)
            shares = state_probabilities(features, rows)
            maps = state_maps(shares[..., order], encoding.input_size)
        whole = WindowMaps(maps, [(0, 0, *encoding.input_size)], encoding.input_size)
        return resized(whole, size)

    def _adapted(self, features: Tensor, raw: list[Tensor], rows: Tensor) -> Tensor:
        settings = self.adapter_settings
        assert settings is not None  # else nobody calls this
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            torch.manual_seed(settings.seed)
            generator = torch.Generator().manual_seed(settings.seed)
            features, rows = features.clone(), rows.clone()
            adapter = PromptAdapter(F.normalize(torch.cat(raw), dim=-1).clone())
            adapter = adapter.to(features)
            noises = draw_noises(features, settings.steps, generator)
            adapter.fit(features, rows, noises, settings.rate)
            return adapter(features).detach()

    @property
    @override
    def scores_are_probabilities(self) -> bool:
        return True

    @override
    def protocol(self) -> dict[str, Any]:
        said = 'AnoVL' if self.states is None else 'of the config'
        return {
            **super().protocol(),
            'vocabulary': f'{" and ".join(STATES)}, {self.object_name or "object by folder"}',
            'templates': f'states {said}',
            'adapter': 'none' if self.adapter_settings is None else str(self.adapter_settings),
        }
