"""What a training made as a file for others: a function a kind, whose docstring is its help."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args

from ovseg.config_files import read_config
from ovseg.errors import UserError
from ovseg.files import written_whole

# Words are read, and refused, before torch is imported: the functions import what they need.
if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor

_GUIDE = 'guide.'
_GUIDE_LAYERS = ('bkg_decoder.bias', 'bkg_decoder.weight', 'obj_proj.bias', 'obj_proj.weight')


def clip_dinoiser(args: argparse.Namespace) -> str:
    """CLIP-DINOiser's two layers, as published (OUT.pt) or as they ship (OUT.safetensors).

    CHECKPOINT is one that a training wrote for a CLIPDINOiser model, or the published last.pt.
    OUT.pt gets the published format (epoch, model_state_dict), OUT.safetensors the flat names in
    float16.
    """
    from ovseg.encoders.embedded import write_weights
    from ovseg.weight_files import read_checkpoint, state_of

    if args.out.suffix not in ('.pt', '.safetensors'):
        raise UserError(f'{args.out} must end in .pt or .safetensors')
    content = read_checkpoint(args.checkpoint)
    state = {
        name.removeprefix(_GUIDE): value.cpu()
        for name, value in state_of(content, args.checkpoint).items()
    }
    if sorted(state) != list(_GUIDE_LAYERS):
        raise UserError(
            f'{args.checkpoint} holds {", ".join(sorted(state)[:4])}, not the two layers of '
            f'CLIP-DINOiser ({", ".join(_GUIDE_LAYERS)})'
        )
    if args.out.suffix == '.pt':
        # Upstream counts the epochs from 0.
        epoch = content.get('epoch', content.get('meta', {}).get('epoch', 1) - 1)
        save(args.out, {'epoch': epoch, 'model_state_dict': state})
    else:
        write_weights(args.out, state)
    return f'{args.out.stat().st_size / 1e6:.2f} MB'


def denseclip(args: argparse.Namespace) -> str:
    """A trained DenseCLIP without its text tower.

    What the text tower says about the classes does not depend on the image, so it is stored in its
    place. OUT.safetensors is for the same config with model.text_encoder=None, such as

        ovseg test CONFIG OUT.safetensors --cfg-options model.text_encoder=None
    """
    import torch

    from ovseg.encoders.embedded import write_weights
    from ovseg.training.heads.pixel_text_matching import PixelTextMatching

    config = config_of(args.config, PixelTextMatching, 'DenseCLIP')
    if config.model.get('text_encoder') is None:
        raise UserError(
            f'{args.config} has no model.text_encoder: its model has no text tower to leave out'
        )
    model, _ = load_trained(config, args.checkpoint)
    state = model.eval().state_without_text_encoder()
    size = write_weights(args.out, state, getattr(torch, args.dtype))
    print(
        f'{args.checkpoint}: {megabytes(model.state_dict()):.1f} MB of weights, of which the text '
        f'tower has {megabytes(model.text_encoder.state_dict()):.1f} MB'
    )
    return f'{len(state)} tensors in {args.dtype}, {size / 1e6:.1f} MB'


def maskclip_plus(args: argparse.Namespace) -> str:
    """A trained MaskCLIP+ in the released format.

    CHECKPOINT is one that a training wrote; OUT.pth has the keys of the released checkpoints,
    with the frozen CLIP of the config's teacher.
    """
    from ovseg.segmentors import MaskCLIPPlusSegmentor

    config = config_of(args.config, MaskCLIPPlusSegmentor)
    model, _ = load_trained(config, args.checkpoint)
    state = model.to_published()
    meta = {'CLASSES': list(model.vocabulary.names), 'PALETTE': model.vocabulary.palette}
    save(args.out, {'meta': meta, 'state_dict': state})
    return f'{len(state)} tensors, {args.out.stat().st_size / 1e6:.1f} MB'


def ovseg_clip(args: argparse.Namespace) -> str:
    """A CLIP adapted to masked regions in the formats of OVSeg.

    CHECKPOINT is one that a training wrote. CONFIG names the CLIP that it was trained from: use
    the one that lies in the training's work folder, which has the options of the command line in
    it, too. OUT.pt gets the whole CLIP as OVSeg's fork of open_clip saves it. `OUT.pth --into
    OVSEG.pth` copies OVSEG.pth with this CLIP in place of its own: with mask prompts if they were
    tuned, else with those that OVSEG.pth has. OUT.safetensors gets the image tower, all that is not
    as it was, in half precision. `model.adapted=OUT` loads the first and the last, as it loads
    CHECKPOINT itself.
    """
    from ovseg.encoders.adapted_clip import PROMPTS, image_tower, put_into_ovseg
    from ovseg.encoders.embedded import write_weights
    from ovseg.training import MaskAdaptation
    from ovseg.weight_files import read_checkpoint

    if args.into is not None and args.out.suffix == '.safetensors':
        raise UserError('--into writes a checkpoint of OVSeg: call OUT .pth')
    config = config_of(args.config, MaskAdaptation)
    model, content = load_trained(config, args.checkpoint)
    state = model.to_published()
    prompts = 'with' if PROMPTS in state else 'without'
    if args.out.suffix == '.safetensors':
        size = write_weights(args.out, image_tower(state))
        return f'image tower, {prompts} mask prompts, {size / 1e6:.1f} MB'
    if args.into is None:
        exported = {
            'epoch': int(content.get('meta', {}).get('epoch', 0)),
            'name': Path(args.config).stem,
            'state_dict': {f'module.{key}': value for key, value in state.items()},
        }
    else:
        exported = read_checkpoint(args.into)
        put_into_ovseg(exported, state, args.into)
    save(args.out, exported)
    return f'CLIP of {len(state)} tensors, {prompts} mask prompts'


def tiny_clip(args: argparse.Namespace) -> str:
    """A trained tiny CLIP or SigLIP as it ships: OUT.safetensors and OUT.json.

    CHECKPOINT is one that a training wrote for a CLIPContrast model with words; OUT is such as
    ovseg/weights/tiny_clip_scenes.
    """
    from ovseg.encoders.embedded import write_embedded
    from ovseg.scenes import CLIPContrast

    config = config_of(args.config, CLIPContrast)
    if config.model.get('words') is None:
        raise UserError(f'{args.config} is no config of a CLIPContrast model with words')
    model, _ = load_trained(config, args.checkpoint)
    size = write_embedded(
        args.out,
        'clip',
        model.clip.state_dict(),
        model=model.architecture,
        mean=model.mean.flatten().tolist(),
        std=model.std.flatten().tolist(),
        token_ids=model.token_ids.tolist(),
        origin=origin(
            args.config,
            args.images or config.train_cfg.max_iters * config.train_dataloader.batch_size,
            model.supervision,
        ),
    )
    return f'{size / 1e6:.2f} MB'


def tiny_dino(args: argparse.Namespace) -> str:
    """A trained tiny DINO or FOUND as it ships: OUT.safetensors and OUT.json.

    CHECKPOINT is one that a training wrote for a SelfDistillation or a FoundTraining model; OUT
    is such as ovseg/weights/tiny_dino_scenes.
    """
    from ovseg.encoders.embedded import write_embedded
    from ovseg.scenes import FoundTraining, SelfDistillation

    config = config_of(args.config, SelfDistillation | FoundTraining)
    model, _ = load_trained(config, args.checkpoint)
    made = origin(
        args.config,
        int(model.step) * config.train_dataloader.batch_size,
        'pictures of Scenes alone, no labels and no captions',
    )
    if isinstance(model, FoundTraining):
        size = write_embedded(
            args.out,
            'found',
            model.found.state_dict(),
            channels=model.found.decoder.in_channels,
            dino=model.dino_name,
            origin=made,
        )
    else:
        size = write_embedded(
            args.out,
            'dino',
            model.teacher['backbone'].state_dict(),
            model=model.architecture,
            mean=model.mean.flatten().tolist(),
            std=model.std.flatten().tolist(),
            origin=made,
        )
    return f'{size / 1e6:.2f} MB'


def tiny_sam(args: argparse.Namespace) -> str:
    """A trained tiny SAM as it ships: OUT.safetensors and OUT.json.

    CHECKPOINT is one that a training wrote for a PromptableMasks model; OUT is such as
    ovseg/weights/tiny_sam_scenes.
    """
    from ovseg.encoders.embedded import write_embedded
    from ovseg.scenes import PromptableMasks

    config = config_of(args.config, PromptableMasks)
    model, _ = load_trained(config, args.checkpoint)
    sam = model.sam
    size = write_embedded(
        args.out,
        'sam',
        sam.state_dict(),
        model=model.architecture,
        mean=[round(value, 3) for value in sam.pixel_mean.flatten().tolist()],
        std=[round(value, 3) for value in sam.pixel_std.flatten().tolist()],
        origin=origin(
            args.config, args.images, 'masks of objects and regions of Scenes, without names'
        ),
    )
    return f'{size / 1e6:.2f} MB'


def tiny_sam3(args: argparse.Namespace) -> str:
    """A trained tiny SAM 3 as it ships: OUT.safetensors and OUT.json.

    CHECKPOINT is one that a training wrote for a ConceptTraining model; OUT is such as
    ovseg/weights/tiny_sam3_scenes.
    """
    from ovseg.encoders.embedded import write_embedded
    from ovseg.scenes import ConceptTraining

    config = config_of(args.config, ConceptTraining)
    model, _ = load_trained(config, args.checkpoint)
    supervision = 'phrases of Scenes with the masks of all that each names'
    if model.start is not None:
        supervision += f'; its towers started as those of {model.start}'
    size = write_embedded(
        args.out,
        'sam3',
        model.sam3.state_dict(),
        model=model.architecture,
        token_ids=model.token_ids.tolist(),
        origin=origin(args.config, args.images, supervision),
    )
    return f'{size / 1e6:.2f} MB'


def weights(args: argparse.Namespace) -> str:
    """The weights of a training's checkpoint alone, in half precision.

    A checkpoint also holds the optimizer's state and records. OUT.safetensors is for the same
    config.
    """
    import torch

    from ovseg.encoders.embedded import write_weights
    from ovseg.weight_files import read_checkpoint, state_of

    state = state_of(read_checkpoint(args.checkpoint), args.checkpoint)
    size = write_weights(args.out, state, getattr(torch, args.dtype))
    return f'{len(state)} tensors in {args.dtype}, {size / 1e6:.1f} MB'


def config_of(name: str, kinds: type | UnionType, called: str | None = None) -> Config:
    """The config of a name, if its model is of the kinds.

    Args:
        name: as :func:`~ovseg.config_files.place_of_config` takes it.
        kinds: what its ``model`` has to be.
        called: what people call that; the names of the classes by default.

    Raises:
        FileNotFoundError: there is no such config.
        UserError: its model is none of the kinds.
    """
    from mmengine.registry import DefaultScope

    from ovseg.registry import MODELS

    config = read_config(name)
    with DefaultScope.overwrite_default_scope('ovseg'):
        found = MODELS.get(str(config.get('model', {}).get('type')))
    if not (isinstance(found, type) and issubclass(found, kinds)):
        names = [kind.__name__ for kind in get_args(kinds) or (kinds,)]
        raise UserError(f'{name} is no config of a {called or " or ".join(names)}')
    return config


def load_trained(config: Config, checkpoint: Path) -> tuple[Any, dict[str, Any]]:
    """The model of a config with the weights of a checkpoint, and the content of the file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the weights do not fit.
    """
    from mmengine.registry import DefaultScope

    from ovseg.engine.checkpoint import load_checkpoint_strict
    from ovseg.registry import MODELS

    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(config.model)
    return model, load_checkpoint_strict(model, checkpoint)


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file for ``torch.load``, whole or not at all."""
    import torch

    with written_whole(path) as temporary:
        torch.save(content, temporary)


def origin(config: str, images: int, supervision: str) -> dict[str, Any]:
    """How embedded weights were made: the config's name, pictures seen, and what taught them."""
    return {'config': Path(config).name, 'images': images, 'supervision': supervision}


def megabytes(state: Mapping[str, Tensor]) -> float:
    """Size of tensors in 10^6 bytes."""
    return sum(value.numel() * value.element_size() for value in state.values()) / 1e6
