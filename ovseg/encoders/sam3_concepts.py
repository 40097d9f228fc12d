"""SAM 3 as a model that looks at an image once and is asked about phrases, some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.sam3 import LoadedSAM3
from ovseg.locks import Lock
from ovseg.precision import dtype_of, in_own_precision, keep_precision
from ovseg.text.encoder import TextEncoder

# Level of the pixel decoder's finest map, and of what phrases attend to.
_FINEST, _COARSEST = 0, 2
# Levels that are used; the neck makes a fourth one, of half the grid.
_LEVELS = 3
# Label of a box that is none.
_NO_BOX = -10
# Values alive a phrase and place: of the coarsest grid in the encoder and decoder, of the finest
# one in the pixel decoder; counted on the published sizes (0.42 GB a phrase in float32).
_COPIES_COARSE, _COPIES_FINE = 24, 4


@dataclass(frozen=True, eq=False)
class ConceptFeatures:
    """B square images after the vision encoder: all that phrases need to be asked about them.

    Attributes:
        levels: (B, C, s, s) each, the finest first: s = 4, 2 and 1 times the patch grid.
        position: (1, C, s, s) of the last level, float32 before it was cast.
        geometry: (B, 1, C), the prompt token that attended the image and no box.
    """

    levels: tuple[Tensor, ...]
    position: Tensor
    geometry: Tensor

    @property
    def is_finite(self) -> bool:
        """Whether the features are numbers."""
        return all(bool(level.sum().isfinite()) for level in (*self.levels, self.geometry))

    def __len__(self) -> int:
        return len(self.levels[0])

    def __getitem__(self, part: slice) -> ConceptFeatures:
        """Some of the images."""
        return replace(
            self, levels=tuple(each[part] for each in self.levels), geometry=self.geometry[part]
        )


@dataclass(frozen=True, eq=False)
class Phrases:
    """P phrases as SAM 3 reads them.

    Attributes:
        tokens: (P, L, C) float32, 0 where there is no token.
        mask: (P, L) bool, whether there is a token; context tokens of a method count as any.
        pooled: (P, T) float32, mean of the token embeddings before the text transformer, start and
            end included.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, part: slice | Tensor) -> Phrases:
        """Some of them."""
        return Phrases(self.tokens[part], self.mask[part], self.pooled[part])

    def to(self, device: torch.device | str) -> Phrases:
        """The same on a device."""
        return Phrases(self.tokens.to(device), self.mask.to(device), self.pooled.to(device))

    def with_context(self, tokens: Tensor, mask: Tensor) -> Phrases:
        """The same with more tokens, whose places mean nothing to SAM 3.

        Args:
            tokens: (P, M, C).
            mask: (P, M) bool.
        """
        tokens = torch.cat([self.tokens, tokens.to(self.tokens)], 1)
        return replace(self, tokens=tokens, mask=torch.cat([self.mask, mask], 1))


@dataclass(frozen=True, eq=False)
class ConceptHeads:
    """What SAM 3 says of P phrases in one image, logits all.

    Attributes:
        presence: (P,), whether the phrase is in the image; None if not asked for.
        scores: (P, N) of the queries; None if not asked for.
        boxes: (P, N, 4), x1, y1, x2, y2 in [0, 1] of the image; None likewise.
        masks: (P, M, s, s) of the queries :attr:`queries`; None likewise.
        queries: (P, M) int64, which of the N queries the masks belong to.
        semantic: (P, s, s); None if not asked for.
        encoded: (P, places, C), the encoder's output.
    """

    presence: Tensor | None = None
    scores: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None
    queries: Tensor | None = None
    semantic: Tensor | None = None
    encoded: Tensor | None = None


class PhraseTower(nn.Module):
    """The text half of SAM 3, a vector a phrase: tokens, their mask and the pooled embedding.

    Args:
        model: ``Sam3Model``, whose parts are shared.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.projection = model.text_encoder, model.text_projection
        self.end: int = model.config.text_config.eos_token_id
        self.context_length: int = model.config.text_config.max_position_embeddings

    @property
    def sizes(self) -> tuple[int, int, int]:
        """L, C and T."""
        embedding = self.encoder.get_input_embeddings()
        return self.context_length, self.projection.out_features, embedding.embedding_dim

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Vectors (P, L C + L + T) of tokens (P, L); see :meth:`phrases`.

        Args:
            tokens: int64, each phrase with one end.
            normalize: has no meaning here.
        """
        mask = token_mask(tokens, self.end)
        last = self.encoder(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        projected = self.projection(last) * mask[..., None]
        pooled = self.pooled(tokens, mask)
        return torch.cat([projected.flatten(1), mask.to(projected.dtype), pooled], 1)

    def pooled(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Mean token embeddings (P, T), start and end included.

        Args:
            tokens: (P, L) int64.
            mask: (P, L) bool.
        """
        embedded = self.encoder.get_input_embeddings()(tokens) * mask[..., None]
        return embedded.sum(1) / mask.sum(1, keepdim=True)

    def phrases(self, vectors: Tensor) -> Phrases:
        """What :meth:`encode_text` put into vectors (P, L C + L + T)."""
        length, width, pooled = self.sizes
        tokens, mask, mean = vectors.split([length * width, length, pooled], 1)
        return Phrases(tokens.unflatten(1, (length, width)), mask > 0.5, mean)


def token_mask(tokens: Tensor, end: int) -> Tensor:
    """Which places (P, L) of phrases hold a token: all up to the first end.

    Args:
        tokens: (P, L) int64.
        end: id of the end token. 0 fills up, but is a token, too ("!" of CLIP).

    Example:
        >>> token_mask(torch.tensor([[8, 0, 9, 0]]), 9).tolist()
        [[True, True, True, False]]
    """
    before = (tokens == end).int().cumsum(1) - (tokens == end).int()
    return before == 0


Wanted = Literal['presence', 'instances', 'semantic']


class ConceptModel(nn.Module):
    """``Sam3Model`` taken apart: an image once, then phrases block by block.

    Its outputs are those of ``Sam3Model.forward`` with one box of zeros and label -10 for every
    phrase: the authors' code always appends the token that this makes, transformers' only beside
    boxes. The token depends on the image alone and is made once.

    Args:
        loaded: the model.
    """

    casts_products = True

    def __init__(self, loaded: LoadedSAM3) -> None:
        super().__init__()
        self.model, self.name, self.weights = loaded.model, loaded.name, loaded.weights
        self._tokenizer = loaded.tokenizer
        self.tower = PhraseTower(loaded.model)
        # Kept on disk under their fingerprint; and boxes are coordinates.
        keep_precision(self.tower)
        keep_precision(self.model.geometry_encoder)
        config: Any = self.model.config
        backbone = config.vision_config.backbone_config
        self.patch: int = backbone.patch_size
        self.image_size: int = backbone.image_size
        self._side: int = self.image_size
        self._lock = Lock()

    def __repr__(self) -> str:
        return f'ConceptModel({self.name}, {self.weights})'

    def text_encoder(self, cache_dir: Path | str | Any = 'default') -> TextEncoder:
        """The text tower with the cache of phrases on disk.

        Args:
            cache_dir: as for :class:`~ovseg.text.TextEncoder`.
        """
        return TextEncoder(self.tower, self._tokenizer, cache_dir, self.name)

    # Images ----------------------------------------------------------------------------------

    def check_size(self, size: int) -> None:
        """Stops at a side that the patch grid or its windows do not divide.

        Args:
            size: in pixels.

        Raises:
            ValueError: says which sides go.
        """
        unit = self.patch
        if size < unit or size % unit:
            raise ValueError(f'{size} is no multiple of the patch of {unit} pixels')

    @in_own_precision
    def look(self, pixels: Tensor) -> ConceptFeatures:
        """Features of square images (B, 3, S, S), of any side that is a multiple of the patch.

        Args:
            pixels: of :func:`square_pixels`.
        """
        with self._lock:  # another thread may want another size
            self._move_to(pixels.shape[-1])
            seen = self.model.vision_encoder(pixels.to(dtype_of(self.model.vision_encoder)))
        levels = tuple(seen.fpn_hidden_states[:_LEVELS])
        coarse = levels[_COARSEST]
        exact = self._positions(coarse)
        none = coarse.new_zeros(len(coarse), 1, 4, dtype=torch.float32)
        labels = torch.full(none.shape[:2], _NO_BOX, device=coarse.device)
        geometry = self._geometry_tokens(coarse, exact, none, labels)[:, :1]
        return ConceptFeatures(levels, exact.to(coarse.dtype), geometry.to(coarse.dtype))

    def _positions(self, coarse: Tensor) -> Tensor:
        """Of the last level, in float32: in half precision the neck's are off by up to 0.03."""
        encode = self.model.vision_encoder.neck.position_encoding
        return encode(coarse[:1].shape, coarse.device, torch.float32)

    @in_own_precision
    def box_tokens(self, features: ConceptFeatures, boxes: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens (1, n + 1, C) of boxes in an image, in place of its geometry token.

        Args:
            features: of one image.
            boxes: (1, n, 4), centre x, centre y, width and height in [0, 1].
            labels: (1, n), 1 for what is meant, 0 for what is not.
        """
        coarse = features.levels[_COARSEST]
        tokens = self._geometry_tokens(coarse, self._positions(coarse), boxes, labels)
        return tokens.to(coarse.dtype)

    def _geometry_tokens(
        self, coarse: Tensor, position: Tensor, boxes: Tensor, labels: Tensor
    ) -> Tensor:
        """Tokens (B, n + 1, C) of boxes (B, n, 4) and of the image; those that are none go last."""
        with torch.autocast(coarse.device.type, enabled=False):
            found = self.model.geometry_encoder(
                box_embeddings=boxes,
                box_mask=labels != _NO_BOX,
                box_labels=labels.clamp_min(0),
                img_feats=(coarse.float(),),
                img_pos_embeds=(position.expand(len(coarse), -1, -1, -1),),
            )
        return found.last_hidden_state

    def _move_to(self, side: int) -> None:
        """Has the layers that see the whole image count their places on a grid of another size.

        The rotary positions of these layers are all that depends on it, so that one set of weights
        serves every size. Windows of the other layers stay.
        """
        if side == self._side:
            return
        self.check_size(side)
        backbone = self.model.vision_encoder.backbone
        config = copy_of(backbone.config, image_size=side)
        for layer in backbone.layers:
            if not layer.window_size:
                places = layer.precompute_positions(config, 0)
                layer.position_ids = places.to(layer.position_ids)
        self._side = side

    # Phrases ---------------------------------------------------------------------------------

    def bytes_a_phrase(self, side: int, masks: bool = True) -> float:
        """About what a phrase takes while it is asked.

        Args:
            side: of the image in pixels.
            masks: whether masks or the semantic map are asked for.
        """
        places, width = (side // self.patch) ** 2, self.tower.sizes[1]
        values = _COPIES_COARSE * places * width
        if masks:
            values += _COPIES_FINE * 16 * places * width
        return values * dtype_of(self.model.detr_encoder).itemsize

    @in_own_precision
    def ask(
        self,
        features: ConceptFeatures,
        phrases: Phrases,
        wanted: Sequence[Wanted] = ('presence', 'instances', 'semantic'),
        keep_above: float | None = None,
        shown: Tensor | None = None,
    ) -> ConceptHeads:
        """Asks one image about a block of phrases.

        Args:
            features: of one image.
            phrases: P of them; as many as memory takes.
            wanted: ``'presence'`` needs no mask decoder, ``'semantic'`` no decoder, ``'instances'``
                both.
            keep_above: masks are made only of queries whose score, presence included, is above;
                None for all. The number of masks is that of the phrase with most, and the others
                are filled up with queries below.
            shown: (1, n + 1, C) of :meth:`box_tokens`, for all phrases of the block; None for the
                image's own geometry token.
        """
        model, count = self.model, len(phrases)
        dtype = features.geometry.dtype
        geometry = (features.geometry if shown is None else shown).expand(count, -1, -1)
        prompt = torch.cat([phrases.tokens.to(dtype), geometry], 1)
        mask = F.pad(phrases.mask, (0, geometry.shape[1]), value=True)
        levels = [level.expand(count, -1, -1, -1) for level in features.levels]
        encoded = model.detr_encoder(
            vision_features=[levels[_COARSEST]],
            text_features=prompt,
            vision_pos_embeds=[features.position.expand(count, -1, -1, -1)],
            text_mask=mask,
        )
        found = ConceptHeads(encoded=encoded.last_hidden_state)
        queries = None
        if 'presence' in wanted or 'instances' in wanted:
            decoded = model.detr_decoder(
                vision_features=encoded.last_hidden_state,
                text_features=encoded.text_features,
                vision_pos_encoding=encoded.pos_embeds_flattened,
                text_mask=mask,
                spatial_shapes=encoded.spatial_shapes,
            )
            found = replace(found, presence=decoded.presence_logits[-1].flatten())
            queries = decoded.intermediate_hidden_states[-1]
            if 'instances' in wanted:
                found, queries = self._instances(found, decoded, encoded, mask, keep_above)
        if 'instances' in wanted or 'semantic' in wanted:
            if queries is None or 'instances' not in wanted:
                queries = prompt[:, :0]
            drawn = model.mask_decoder(
                decoder_queries=queries,
                backbone_features=levels,
                encoder_hidden_states=encoded.last_hidden_state,
                prompt_features=prompt,
                prompt_mask=mask,
            )
            found = replace(found, semantic=drawn.semantic_seg[:, 0])
            if 'instances' in wanted:
                found = replace(found, masks=drawn.pred_masks)
        return found

    def _instances(
        self,
        found: ConceptHeads,
        decoded: Any,
        encoded: Any,
        mask: Tensor,
        keep_above: float | None,
    ) -> tuple[ConceptHeads, Tensor]:
        """Scores and boxes of all queries, and the (P, M, C) queries whose masks are wanted."""
        from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy, inverse_sigmoid

        queries = decoded.intermediate_hidden_states[-1]
        scores = self.model.dot_product_scoring(
            decoder_hidden_states=queries[None], text_features=encoded.text_features, text_mask=mask
        )[0, ..., 0]
        offsets = self.model.detr_decoder.box_head(queries)
        centred = (inverse_sigmoid(decoded.reference_boxes[-1]) + offsets).sigmoid()
        index = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
        if keep_above is not None:
            assert found.presence is not None  # made before
            sure = scores.float().sigmoid() * found.presence.float().sigmoid()[:, None]
            most = int((sure > keep_above).sum(1).max())
            # In the order of the queries, so that equal products keep their place.
            index = sure.argsort(dim=1, descending=True, stable=True)[:, :most].sort(1).values
        queries = queries.gather(1, index[..., None].expand(-1, -1, queries.shape[-1]))
        found = replace(found, scores=scores, boxes=box_cxcywh_to_xyxy(centred), queries=index)
        return found, queries


def copy_of(config: Any, **changed: Any) -> Any:
    """A config of transformers with other values.

    Args:
        config: stays as it is.
        changed: by name.
    """
    fields = {**config.to_dict(), **changed}
    return type(config)(**{name: value for name, value in fields.items() if name != 'model_type'})


def square_pixels(image: Tensor, side: int) -> Tensor:
    """Inputs (B, 3, side, side) float32 of images, squashed to a square and normalised to [-1, 1].

    Bilinear with antialiasing on whole numbers, as the published preprocessor does it.

    Args:
        image: (B, 3, H, W) uint8 RGB.
        side: in pixels.
    """
    if image.device.type == 'cpu':
        resized = F.interpolate(
            image, size=(side, side), mode='bilinear', antialias=True, align_corners=False
        )
    else:
        exact = F.interpolate(
            image.float(), size=(side, side), mode='bilinear', antialias=True, align_corners=False
        )
        resized = exact.round().clamp(0, 255)
    return (resized.float() / 255 - 0.5) / 0.5
