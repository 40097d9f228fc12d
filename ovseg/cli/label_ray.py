"""Many images by Ray: a pool of segmenters on a machine or on a cluster, by Ray Data.

Ray starts the processes, hands them blocks of images, and does a block again whose process died. A
process writes the files of its images; what they gave comes back here, and this process alone
writes down what is done. So an image whose block is done twice is written down once.
"""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg.apis.stream import Failed, sendable
from ovseg.cli.label_engine import Description, Question
from ovseg.cli.label_saving import Done
from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.images.compact_plan import CompactPlan
from ovseg.images.output_plan import PlannedOutput

if TYPE_CHECKING:
    import pyarrow

# Batches in a block: what is done again where a process died.
_BATCHES = 8
# Rows of a Parquet file in a block at most.
_ROWS = 1024
# Blocks for each process at least, so that none is without work for long.
_BLOCKS = 4
# How often a block is tried whose process died: an image may be what it died of.
_TRIES = 3


class OnRay:
    """An engine that is a pool of segmenters in processes of Ray's.

    Used as a context; Ray is started on this machine if the program is in no cluster, and ended
    then.

    Args:
        question: that is asked.

    Raises:
        UserError: Ray is missing.
    """

    def __init__(self, question: Question) -> None:
        _ray()
        self._question = question
        self._is_own = False

    def __enter__(self) -> OnRay:
        ray = _ray()
        if not ray.is_initialized():
            args = self._question.args
            try:
                ray.init(
                    include_dashboard=False,
                    logging_level=logging.WARNING,
                    # Ray shows what its processes say on the standard output.
                    log_to_driver=not (args.json or args.quiet),
                )
            except ConnectionError as error:
                raise UserError(
                    f'There is no Ray cluster to join ({error}): check RAY_ADDRESS, or unset it '
                    'to start Ray on this machine.'
                ) from error
            self._is_own = True
        logging.getLogger('ray.data').setLevel(logging.WARNING)
        wanted = self._question.args.ray_workers
        total = ray.cluster_resources()
        gpus, cores = int(total.get('GPU', 0)), total.get('CPU', 1.0)
        on_gpus = gpus > 0 and self._question.args.device != 'cpu'
        self._workers = wanted or (gpus if on_gpus else max(1, int(cores) // 8))
        # One core is left for Ray Data's own work; below one, Ray takes parts of cores.
        share = max(cores - 1, cores / 2) / self._workers
        self._needs: dict[str, float] = {'num_cpus': int(share) if share >= 1 else share}
        if on_gpus:
            self._needs['num_gpus'] = min(1.0, gpus / self._workers)
        workers = self._question.args.workers or max(1, int(share))
        args = argparse.Namespace(**{**vars(self._question.args), 'workers': workers})
        saving = replace(self._question.saving, folder=Path(os.path.abspath(args.out_dir)))
        self._question = replace(self._question, args=args, saving=saving)
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_own:
            _ray().shutdown()

    def describe(self) -> Description:
        """See :class:`~ovseg.cli.label_engine.Engine`.

        Where processes may have a GPU or stand on another machine, one of them says it.
        """
        ray = _ray()
        if len(ray.nodes()) == 1 and 'num_gpus' not in self._needs:
            description = self._question.described(self._question.segmenter())
        else:
            task = ray.remote(_described).options(**self._needs)
            with _rays_errors():
                description = ray.get(task.remote(self._question, os.getcwd()))
        workers = f'{self._workers} process{"" if self._workers == 1 else "es"} of Ray'
        return replace(description, asked=f'{description.asked}, {workers}')

    def answers(
        self, positions: Sequence[int], plan: CompactPlan
    ) -> Iterator[tuple[int, Done | Failed]]:
        """See :class:`~ovseg.cli.label_engine.Engine`."""
        if not positions:
            return
        ray = _ray()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # A block that cannot be done is missing below; the others are done nevertheless.
        context.max_errored_blocks = -1
        blocks = ray.data.from_arrow(self._blocks(positions, plan))
        with warnings.catch_warnings():
            # Ray 2.64 takes `ray_remote_args_fn` away, and has no other way yet to say how often.
            warnings.simplefilter('ignore')
            answered = blocks.map_batches(
                _Labeller,
                fn_constructor_args=(self._question, os.getcwd()),
                batch_size=None,
                batch_format='pyarrow',
                compute=ray.data.ActorPoolStrategy(size=self._workers),
                # A process that died is started again without end, a block is not tried so.
                ray_remote_args_fn=lambda: {'max_task_retries': _TRIES - 1},
                **self._needs,
            )
        missing = dict.fromkeys(positions)
        with _rays_errors():
            for batch in answered.iter_batches(batch_size=None, batch_format='pyarrow'):
                for position, answer in zip(*batch.to_pydict().values(), strict=True):
                    del missing[position]
                    yield position, pickle.loads(answer)
        for position in missing:
            error = UserError(
                f'the process of Ray that had it, or an image of its block, died {_TRIES} times.'
            )
            yield position, Failed(str(plan[position].image), error)

    def _blocks(self, positions: Sequence[int], plan: CompactPlan) -> list[Any]:
        """Tables of images, each of which is done by one process."""
        import pyarrow

        parquet = self._question.parquet
        most = _BATCHES * self._question.args.batch_size if parquet is None else _ROWS
        size = max(1, min(most, len(positions) // (_BLOCKS * self._workers)))
        blocks = []
        # A row group is read from its beginning: each is split as little as can be.
        together = [positions] if parquet is None else parquet.by_group(positions)
        pieces = (
            list(part[start : start + size])
            for part in together
            for start in range(0, len(part), size)
        )
        for some in pieces:
            outputs = [plan[position] for position in some]
            blocks.append(
                pyarrow.table(
                    {
                        'position': pyarrow.array(some, pyarrow.int64()),
                        # Names of files are bytes, which need be no text.
                        'image': [os.fsencode(output.image) for output in outputs],
                        'folder': [os.fsencode(os.path.abspath(o.folder)) for o in outputs],
                        'stem': [os.fsencode(output.stem) for output in outputs],
                    }
                )
            )
        return blocks


def _ray() -> Any:
    with of_extra('ray', '--engine ray needs Ray'):
        import ray
        import ray.data
    return ray


class _Labeller:
    """A segmenter in a process of Ray's; labels blocks of images."""

    def __init__(self, question: Question, folder: str) -> None:
        _be_in(folder)
        self._question = question
        self._segmenter = question.segmenter()

    def __call__(self, block: pyarrow.Table) -> pyarrow.Table:
        import pyarrow

        columns = block.to_pydict()
        names = (map(os.fsdecode, columns[name]) for name in ('image', 'folder', 'stem'))
        outputs = [
            PlannedOutput(Path(image), Path(folder), stem)
            for image, folder, stem in zip(*names, strict=True)
        ]
        images = self._question.images(columns['position'], outputs)
        answers = list(self._question.answers(self._segmenter, images))
        return pyarrow.table(
            {
                'position': pyarrow.array([position for position, _ in answers], pyarrow.int64()),
                'answer': pyarrow.array([_packed(answer) for _, answer in answers], 'binary'),
            }
        )


def _described(question: Question, folder: str) -> Description:
    """What labels images, from a process that has what those will have."""
    _be_in(folder)
    return question.described(question.segmenter())


def _be_in(folder: str) -> None:
    """Lets names of files mean what they mean where the command was typed."""
    if os.path.isdir(folder):
        os.chdir(folder)


def _packed(answer: Done | Failed) -> bytes:
    return pickle.dumps(sendable(answer) if isinstance(answer, Failed) else answer)


@contextmanager
def _rays_errors() -> Iterator[None]:
    """Errors of processes as if they had been raised here; those of Ray itself as one sentence."""
    ray = _ray()
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (UserError, FileNotFoundError)):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f'Ray could not go on ({reason}): the same command goes on with what is left.'
        ) from error
