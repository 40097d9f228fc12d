"""A training loop over features that a frozen model is asked for once."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ovseg.consoles import is_quiet
from ovseg.engine.checkpoint import unwrap
from ovseg.engine.epoch_loop import EpochBasedTrainLoop
from ovseg.errors import UserError
from ovseg.registry import LOOPS
from ovseg.torch_modes import evaluating
from ovseg.training.feature_cache import CachedPatches, default_feature_dir, join

# Of a sample, what decides its features and labels; the rest is where it lies in a list.
_NOT_OF_SAMPLE = ('sample_idx',)
_ADDRESS = re.compile(r' at 0x[0-9a-f]+')


class PatchFiles(Dataset):
    """Cached patches, an image each.

    Args:
        files: of :meth:`~ovseg.training.feature_cache.CachedPatches.save`.
        metainfo: of the data set that they are of.
        in_memory: keep what was read.
    """

    def __init__(self, files: list[Path], metainfo: Any, in_memory: bool) -> None:
        self.files, self.metainfo = files, metainfo
        self._kept: dict[int, CachedPatches] | None = {} if in_memory else None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> CachedPatches:
        """Patches of an image."""
        if self._kept is None:
            return CachedPatches.load(self.files[index])
        if index not in self._kept:
            self._kept[index] = CachedPatches.load(self.files[index])
        return self._kept[index]


@LOOPS.register_module()
class FrozenFeatureLoop(EpochBasedTrainLoop):
    """Epochs over features and label shares of patches, made once an image and kept on disk.

    The data set's images are encoded before the first step, those whose features are kept already
    are not even read. A file belongs to an encoder (weights, last block, windows, statistics), to
    what its data set says of a sample, to the time and size of the image and of its labels, and to
    the classes: where one changes, it is made anew. Steps that change at random (crops, flips) are
    refused, since an image is asked for once.

    Args:
        runner: as in mmengine.
        dataloader: likewise; batches are of so many images.
        max_epochs: likewise.
        folder: where the files lie; None for ``$OVSEG_CACHE/features``.
        in_memory: keep features in memory, too; 0.2 to 0.8 megabytes an image.
        kwargs: as in mmengine.

    Raises:
        UserError: random steps, several processes, or a model that trains otherwise.
    """

    dataloader: DataLoader

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_epochs: int,
        folder: str | Path | None = None,
        in_memory: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        if get_world_size() > 1:
            raise UserError(
                'a light training takes seconds an epoch in one process: start it without '
                'torchrun and --launcher'
            )
        self._folder = default_feature_dir() if folder is None else Path(folder)
        self._in_memory = in_memory
        _refuse_random_steps(self.dataloader.dataset)

    def run(self) -> Any:
        """Encodes what is not kept yet, and trains."""
        model: Any = unwrap(self.runner.model)
        if not hasattr(model, 'patches_of'):
            raise UserError(
                f"train_cfg.type='FrozenFeatureLoop' trains LightlyTrained, not "
                f'{type(model).__name__}'
            )
        files = self._encoded(model)
        dataset: Any = self.dataloader.dataset
        images = PatchFiles(files, dataset.metainfo, self._in_memory)
        classes = len(model.learned_for)
        pixels = sum(images[n].labels.pixels(classes).double() for n in range(len(images)))
        model.see_classes(pixels)
        self.dataloader = DataLoader(
            images,
            batch_size=self.dataloader.batch_size,
            sampler=self.dataloader.sampler,
            collate_fn=join,
            drop_last=self.dataloader.drop_last,
            # Each epoch's iterator draws a number, which must not be one of the model's.
            generator=torch.Generator(),
        )
        return super().run()

    def _encoded(self, model: Any) -> list[Path]:
        """The files of all images; those that are not there are made."""
        dataset: Any = self.dataloader.dataset
        key = f'{model.feature_identity}-{len(model.learned_for)}'
        place = self._folder / key
        files = [
            place / f'{_sample_key(dataset, index)}.safetensors' for index in range(len(dataset))
        ]
        missing = [index for index, file in enumerate(files) if not os.path.exists(file)]
        self.runner.logger.info(
            f'{len(files) - len(missing)} of {len(files)} images have their features in {place}'
        )
        place.mkdir(parents=True, exist_ok=True)
        hidden = is_quiet() or None
        with evaluating(model), torch.no_grad():
            for index in tqdm(missing, desc='features', unit='image', disable=hidden, leave=False):
                sample = dataset[index]
                if sample is None or 'gt_sem_seg' not in sample['data_samples']:
                    raise UserError(
                        f'image {index} of train_dataloader has no labels; its pipeline must load '
                        'them'
                    )
                batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
                data = model.data_preprocessor(batch, False)
                labels = sample['data_samples'].gt_sem_seg.data[0]
                model.patches_of(data['inputs'], labels).save(files[index])
        return files


def _sample_key(dataset: Any, index: int) -> str:
    """What a data set says of a sample, its steps, and what its files are now."""
    info = dataset.get_data_info(index)
    facts = {key: value for key, value in info.items() if key not in _NOT_OF_SAMPLE}
    stamps = []
    for name in ('img_path', 'seg_map_path'):
        with suppress(OSError):  # drawn pictures have names and no files
            found = os.stat(facts[name] if facts.get(name) else '')
            stamps.append((found.st_mtime_ns, found.st_size))
    steps = [f'{type(step).__qualname__}:{vars(step)!r}' for step in dataset.pipeline.transforms]
    told = f'{type(dataset).__name__}:{facts!r}:{stamps}:{steps}:{dataset.metainfo.get("classes")}'
    # Where objects lie in memory says nothing of them.
    return hashlib.blake2b(_ADDRESS.sub('', told).encode(), digest_size=12).hexdigest()


def _refuse_random_steps(dataset: Any) -> None:
    """Stops at steps that would be drawn once and kept."""
    pipeline = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if pipeline is None or not hasattr(dataset, 'get_data_info'):
        raise UserError(
            f'a light training reads a plain data set with a pipeline, not a '
            f'{type(dataset).__name__} around one: name that one in train_dataloader'
        )
    for step in pipeline:
        if 'Random' in type(step).__name__ or 'Photo' in type(step).__name__:
            raise UserError(
                f'{type(step).__name__} of train_dataloader changes an image at random, but its '
                'features are made once and kept: leave the step out'
            )
