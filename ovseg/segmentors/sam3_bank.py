"""ConceptBank: one prompt a class, made of several phrases by how well they find examples.

Source: ConceptBank (arXiv 2602.06333), its release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.sam3_concepts import ConceptModel, Phrases, square_pixels
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.folders import walk_files
from ovseg.images.reading import load_rgb
from ovseg.scores.phrase_answers import answers_of, heads_of
from ovseg.scores.phrase_maps import Fusion, PhraseAnswer, fused_rows
from ovseg.weight_files import read_tensors

# Crops: padding of the box, smallest side in pixels, weights of the two views, grey of the masked.
_PADDING, _SMALLEST, _CONTEXT, _GREY = 0.2, 128, 0.9, 127
# Examples that a class is judged by; phrases within a margin of the best share the prompt.
_SUPPORTS, _PASSES, _MARGIN, _TEMPERATURE = 10, 3, 0.3, 0.05
_JUDGED = Fusion(confidence=0.1, instance_presence=0, top_k=30)
_PARTS = ('tokens', 'mask', 'pooled')

Example = tuple[Tensor, Tensor]


def fuse_prompts(
    features: Tensor, is_padding: Tensor, embeddings: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Several phrases' tokens as one prompt, averaged place by place over those that have a token.

    Args:
        features: (P, L, C), tokens.
        is_padding: (P, L) bool.
        embeddings: (P, L, T), of the tokens before the text transformer.
        weights: (P,), at least 0.

    Returns:
        (L, C), (L,) bool and (L, T); a place is padding where no phrase with a weight has a token.
    """
    share = weights[:, None] * (~is_padding).to(weights.dtype)
    total = share.sum(0)
    share = share / total.clamp_min(1e-12)
    fused = torch.einsum('pl,plc->lc', share, features)
    return fused, total <= 0, torch.einsum('pl,plt->lt', share, embeddings)


def prompt_weights(scores: Tensor) -> Tensor:
    """Weights (P,) of phrases that sum to 1: a softmax of those near the best, 0 for the others.

    Args:
        scores: (P,) mean soft Dice on the examples.

    Example:
        >>> prompt_weights(torch.tensor([0.9, 0.2, 0.9])).tolist()
        [0.5, 0.0, 0.5]
    """
    near = scores >= scores.max() - _MARGIN
    return (scores / _TEMPERATURE).masked_fill(~near, float('-inf')).softmax(0)


def soft_dice(scores: Tensor, mask: Tensor) -> float:
    """Overlap in [0, 1] of a score map in [0, 1] and a mask, both (H, W)."""
    wanted = mask.to(scores.dtype)
    both = 2 * float((scores * wanted).sum())
    return both / max(float(scores.sum() + wanted.sum()), 1e-6)


def square_crop(image: Tensor, mask: Tensor, padding: float = _PADDING) -> Example:
    """The square around a mask, as far as the image goes.

    Args:
        image: (3, H, W) uint8 RGB.
        mask: (H, W) bool, not empty.
        padding: of the box, as a share of its longer side, on each side.
    """
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    box = [int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1]
    side = max(_SMALLEST, round(max(box[1] - box[0], box[3] - box[2]) * (1 + 2 * padding)))
    spans = []
    for low, high, length in ((box[0], box[1], mask.shape[0]), (box[2], box[3], mask.shape[1])):
        start = max(0, min((low + high - side) // 2, length - side))
        spans.append(slice(start, min(length, start + side)))
    return image[:, spans[0], spans[1]], mask[spans[0], spans[1]]


@torch.no_grad()
def crop_vector(model: ConceptModel, crop: Example, side: int) -> Tensor:
    """A unit vector (C,) of an example: the mean of its features, seen whole and cut out.

    Args:
        model: looks.
        crop: of :func:`square_crop`.
        side: of the model's image in pixels.
    """
    image, mask = crop
    cut = torch.where(mask, image, torch.tensor(_GREY, dtype=torch.uint8, device=image.device))
    seen = model.look(square_pixels(torch.stack([image, cut]), side)).levels[2].float()
    whole, alone = F.normalize(seen.mean((2, 3)), dim=1)
    return F.normalize(_CONTEXT * whole + (1 - _CONTEXT) * alone, dim=0)


def choose_supports(vectors: Tensor) -> Tensor:
    """Indices of the examples that are nearest to their own mean, found in up to three passes.

    Args:
        vectors: (E, C) unit vectors.
    """
    chosen = torch.arange(min(len(vectors), _SUPPORTS))
    for _ in range(_PASSES):
        prototype = F.normalize(vectors[chosen].mean(0), dim=0)
        nearest = (vectors @ prototype).topk(min(len(vectors), _SUPPORTS)).indices.sort().values
        if torch.equal(nearest, chosen):
            break
        chosen = nearest
    return chosen


@torch.no_grad()
def class_prompt(
    model: ConceptModel, phrases: Phrases, examples: Sequence[Example], side: int
) -> tuple[Phrases, Tensor]:
    """The prompt of a class, and the weights of its phrases.

    Args:
        model: is asked.
        phrases: P candidates, on the model's device.
        examples: images (3, H, W) uint8 RGB with masks (H, W) bool of the class.
        side: of the model's image in pixels.

    Raises:
        UserError: no example has a pixel of the class.
    """
    crops = [square_crop(image, mask) for image, mask in examples if bool(mask.any())]
    if not crops:
        raise UserError('a class has no example with a pixel of it; give at least one mask')
    vectors = torch.stack([crop_vector(model, crop, side) for crop in crops])
    dice = torch.zeros(len(phrases))
    chosen = choose_supports(vectors).tolist()
    for number in chosen:
        image, mask = crops[number]
        features = model.look(square_pixels(image[None], side))
        for row in range(len(phrases)):
            heads = model.ask(
                features, phrases[row : row + 1], heads_of(_JUDGED), _JUDGED.confidence
            )
            answer: PhraseAnswer = answers_of(heads, _JUDGED)[0]
            size = (mask.shape[0], mask.shape[1])
            dice[row] += soft_dice(fused_rows(answer, _JUDGED, 0, size[0], size), mask)
    weights = prompt_weights(dice / len(chosen)).to(phrases.tokens)
    pooled = phrases.pooled[:, None].expand(-1, phrases.tokens.shape[1], -1)
    tokens, is_padding, means = fuse_prompts(phrases.tokens, ~phrases.mask, pooled, weights)
    return Phrases(tokens[None], ~is_padding[None], means[:1]), weights


def read_supports(folder: str | Path) -> dict[str, list[Example]]:
    """Examples of classes from a folder: ``CLASS/NAME.jpg`` with its mask ``CLASS/NAME.png``.

    Args:
        folder: with one folder a class; pixels of a mask that are not black are of the class.

    Raises:
        UserError: no class, or an image without a mask of its size.
    """
    found: dict[str, list[Example]] = {}
    files = set(walk_files(folder))
    for file in sorted(files):
        mask = file.with_suffix('.png')
        if file.suffix.lower() == '.png' or mask not in files:
            continue
        image, drawn = load_rgb(file), load_rgb(mask)
        if image.shape != drawn.shape:
            raise UserError(f'{mask} has another size than {file}; draw it on that image')
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        examples = found.setdefault(file.parent.name, [])
        examples.append((pixels, torch.from_numpy(drawn).amax(2) > 0))
    if not found:
        raise UserError(
            f'{folder} holds no examples: it takes CLASS/NAME.jpg with the mask CLASS/NAME.png'
        )
    return found


def save_bank(prompts: Mapping[str, Phrases], path: str | Path, space: str) -> None:
    """Writes the prompts of classes, at once or not at all.

    Args:
        prompts: by class name.
        path: of a ``.safetensors`` file.
        space: fingerprint of the text tower.
    """
    tensors = {
        f'{part}.{name}': getattr(prompt, part).cpu().contiguous()
        for name, prompt in prompts.items()
        for part in _PARTS
    }
    with written_whole(path) as temporary:
        save_file(tensors, str(temporary), metadata={'text_space': space})


def read_bank(path: str | Path, model: ConceptModel) -> dict[str, Phrases]:
    """The prompts of classes by name.

    Args:
        path: of :func:`save_bank`.
        model: whose text tower made them, by their sizes.

    Raises:
        UserError: no such file, or prompts of another size.
        FileNotFoundError: there is no such file.
    """
    tensors = read_tensors(path)
    names = [key.removeprefix('tokens.') for key in tensors if key.startswith('tokens.')]
    length, width, _ = model.tower.sizes
    prompts = {}
    for name in names:
        parts = [tensors.get(f'{part}.{name}') for part in _PARTS]
        if any(part is None for part in parts) or tuple(parts[0].shape) != (1, length, width):
            raise UserError(
                f'{path} holds no prompt of {length} tokens of {width} numbers for {name!r}; make '
                'the bank with the model in use'
            )
        prompts[name] = Phrases(*parts)
    if not prompts:
        raise UserError(f'{path} holds no prompts; give a file of save_bank')
    return prompts
