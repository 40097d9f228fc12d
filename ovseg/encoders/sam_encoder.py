"""SAM's image encoder, opened at its last attention, without hooks and without patches.

Its attentions over the whole frame (4096 x 4096 in every head) are made in blocks of queries, so
that the memory of a block is all they take. What a block of the last one holds is handed out while
it is there: a guide reads it, and the encoder goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn

from ovseg.encoders.prompted_sam import Decoded, Prompts, SAMImage
from ovseg.encoders.sam import LoadedSAM
from ovseg.encoders.sam_decoder import decode
from ovseg.precision import dtype_of, exact_parts_kept, in_own_precision, keep_precision

# On the CPU and elsewhere.
_BLOCK_MEGABYTES = (6.0, 256.0)


@dataclass(frozen=True)
class SAMFrame:
    """An image as SAM's encoder takes it.

    Attributes:
        pixels: (1, 3, S, S), normalised, zeros beyond the image at the right and bottom.
        input_size: (height, width) of the image inside the frame.
        image_size: (height, width) of the image before it was resized to the frame.
    """

    pixels: Tensor
    input_size: tuple[int, int]
    image_size: tuple[int, int]


class GlobalAttention:
    """One attention over the whole frame, given out in blocks of queries.

    Args:
        attention: segment-anything's ``Attention`` of a block without windows; like those of all
            published SAMs it has relative positions.
        tokens: (1, g, g, C), normed.

    Attributes:
        values: (heads, N, d), N = g * g, row-major.
    """

    def __init__(self, attention: Attention, tokens: Tensor) -> None:
        grid = tokens.shape[1:3]
        heads = attention.num_heads
        qkv = attention.qkv(tokens).flatten(0, 2).unflatten(1, (3, heads, -1))
        queries, keys, values = qkv.permute(1, 2, 0, 3)
        self._grid = tuple(grid)
        self._scaled = queries * attention.scale
        # Read by every block of queries: bfloat16 products would copy them each time.
        self._keys, self.values = keys.transpose(1, 2).contiguous(), values.contiguous()
        # Decomposed relative positions read the queries before they are scaled.
        plane = queries.unflatten(1, self._grid)
        rows = get_rel_pos(grid[0], grid[0], attention.rel_pos_h)
        columns = get_rel_pos(grid[1], grid[1], attention.rel_pos_w)
        self._row_bias = torch.einsum('nhwc,hkc->nhwk', plane, rows).flatten(1, 2)
        self._column_bias = torch.einsum('nhwc,wkc->nhwk', plane, columns).flatten(1, 2)

    def weights(self, queries: Tensor | slice) -> Tensor:
        """Attention of some queries over all keys.

        Args:
            queries: indices of n queries, row-major on the grid.

        Returns:
            (heads, n, N), rows summing to 1.
        """
        scaled = self._scaled[:, queries]
        rows, columns = self._row_bias[:, queries, :, None], self._column_bias[:, queries, None, :]
        bias = (rows + columns).flatten(2).to(scaled.dtype)
        return bias.baddbmm_(scaled, self._keys).softmax(dim=-1)

    def apply(self, queries_at_once: int) -> Tensor:
        """What the attention gives for all queries, heads side by side.

        Args:
            queries_at_once: bounds the memory.

        Returns:
            (N, C).
        """
        parts = [
            self.weights(queries) @ self.values
            for queries in _slices(self.values.shape[1], queries_at_once)
        ]
        return heads_joined(torch.cat(parts, dim=1))


def heads_joined(values: Tensor) -> Tensor:
    """(heads, n, d) -> (n, heads * d)."""
    return values.transpose(0, 1).flatten(1)


class FrameResize(ResizeLongestSide):
    """segment-anything's resize to its frame, which leaves at least one pixel of each side.

    A picture so thin that its shorter side would vanish is segment-anything's error otherwise.

    Example:
        >>> FrameResize(1024).get_preprocess_shape(1, 3000, 1024)
        (1, 1024)
    """

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """(height, width) in the frame of an image of that (height, width)."""
        height, width = ResizeLongestSide.get_preprocess_shape(oldh, oldw, long_side_length)
        return max(1, height), max(1, width)


class SAMEncoder(nn.Module):
    """SAM, its image side opened; a :class:`~ovseg.encoders.prompted_sam.PromptedSAM`.

    Args:
        sam: from :func:`~ovseg.encoders.sam.load_sam`. It is read, never written or hooked.
        block_megabytes: how much memory a block of attention weights may take; by default what
            stays in a processor's caches, on a GPU more, so that it has work.
    """

    casts_products = True

    def __init__(self, sam: LoadedSAM, block_megabytes: float | None = None) -> None:
        super().__init__()
        self.sam = sam.model
        self.name, self.weights = sam.name, sam.weights
        self.block_megabytes = block_megabytes
        encoder = self.sam.image_encoder
        self.frame = encoder.img_size
        self.patch = encoder.patch_embed.proj.kernel_size[0]
        # Coordinates and logits want float32, as upstream runs these two small parts.
        keep_precision(self.sam.prompt_encoder)
        keep_precision(self.sam.mask_decoder)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SAMEncoder:
        with exact_parts_kept(self):
            return super()._apply(fn, recurse)

    def queries_at_once(self, dtype_bytes: int = 4) -> int:
        """How many rows of attention weights fit into ``block_megabytes``; at least one."""
        megabytes = self.block_megabytes or _BLOCK_MEGABYTES[self.sam.device.type != 'cpu']
        encoder = self.sam.image_encoder
        heads, tokens = encoder.blocks[-1].attn.num_heads, (self.frame // self.patch) ** 2
        return max(1, int(megabytes * 2**20 / (heads * tokens * dtype_bytes)))

    @property
    def mask_side(self) -> int:
        """Side of mask inputs and of the masks' logits."""
        side: int = self.sam.prompt_encoder.mask_input_size[0]
        return side

    @property
    def mask_threshold(self) -> float:
        """Logits above it belong to the mask."""
        return self.sam.mask_threshold

    def inside(self, image_size: tuple[int, int], side: int) -> tuple[int, int]:
        """See :class:`~ovseg.encoders.prompted_sam.PromptedSAM`: the long side fills the square."""
        return FrameResize.get_preprocess_shape(*image_size, side)

    def embed(self, image: np.ndarray) -> SAMImage:
        """See :class:`~ovseg.encoders.prompted_sam.PromptedSAM`."""
        frame = self.prepare(image)
        tokens = self.trunk(frame)
        mixed = self.last_attention(tokens).apply(self.queries_at_once())
        return self.image(frame, self.embedding(tokens, mixed))

    def image(self, frame: SAMFrame, embedding: Tensor) -> SAMImage:
        """What the prompt side needs of an image.

        Args:
            frame: from :meth:`prepare`.
            embedding: of it, from :meth:`embedding`.
        """
        canvas = (self.frame, self.frame)
        return SAMImage(embedding, frame.input_size, frame.image_size, canvas)

    def decode(self, image: SAMImage, prompts: Prompts, prompt_batch: int) -> Decoded:
        """See :class:`~ovseg.encoders.prompted_sam.PromptedSAM`."""
        return decode(self.sam, image.features, prompts, prompt_batch)

    def prepare(self, image: np.ndarray) -> SAMFrame:
        """An image resized to the frame as segment-anything's predictor does.

        Args:
            image: (H, W, 3) uint8 RGB, any size.
        """
        resized = FrameResize(self.frame).apply_image(image)
        pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].to(self.sam.device)
        pixels = self.sam.preprocess(pixels).to(dtype_of(self.sam.image_encoder))
        return SAMFrame(pixels, resized.shape[:2], image.shape[:2])

    @in_own_precision
    def trunk(self, frame: SAMFrame) -> Tensor:
        """Tokens that enter the last block, (1, g, g, C)."""
        encoder = self.sam.image_encoder
        tokens = encoder.patch_embed(frame.pixels)
        if encoder.pos_embed is not None:
            tokens = tokens + encoder.pos_embed
        for block in encoder.blocks[:-1]:
            if block.window_size:
                tokens = block(tokens)
            else:
                mixed = GlobalAttention(block.attn, block.norm1(tokens))
                tokens = _after_attention(block, tokens, mixed.apply(self.queries_at_once()))
        return tokens

    @in_own_precision
    def last_attention(self, tokens: Tensor) -> GlobalAttention:
        """The attention of the last block.

        Args:
            tokens: from :meth:`trunk`.
        """
        block = self.sam.image_encoder.blocks[-1]
        return GlobalAttention(block.attn, block.norm1(tokens))

    @in_own_precision
    def embedding(self, tokens: Tensor, mixed: Tensor) -> Tensor:
        """The image embedding that the mask decoder reads.

        Args:
            tokens: from :meth:`trunk`.
            mixed: (N, C), what the last attention gave, heads side by side.

        Returns:
            (1, D, g, g).
        """
        encoder = self.sam.image_encoder
        tokens = _after_attention(encoder.blocks[-1], tokens, mixed)
        return encoder.neck(tokens.permute(0, 3, 1, 2))

    def grid(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of patches that lie wholly inside the image, at least 1 x 1.

        Args:
            input_size: (height, width) of the image inside the frame.
        """
        return max(1, input_size[0] // self.patch), max(1, input_size[1] // self.patch)


def resize_to_multiple(image: np.ndarray, multiple: int) -> np.ndarray:
    """An image with its sides stretched up to a multiple, by OpenCV's bilinear rule.

    Args:
        image: (H, W, 3) uint8.
        multiple: in pixels.
    """
    height, width = (-(-side // multiple) * multiple for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def _after_attention(block: Block, tokens: Tensor, mixed: Tensor) -> Tensor:
    """The block's tokens (1, g, g, C) from what its attention gave (N, C)."""
    tokens = tokens + block.attn.proj(mixed).view_as(tokens)
    return tokens + block.mlp(block.norm2(tokens))


def _slices(count: int, at_once: int) -> Iterator[slice]:
    for start in range(0, count, at_once):
        yield slice(start, min(start + at_once, count))
