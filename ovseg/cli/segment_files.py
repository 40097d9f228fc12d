"""What the command line says, done to an image, to many, or to the frames of a video."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ovseg.apis.kinds import (
    ENDS,
    LONGEST_END,
    LONGEST_SEGMENT_END,
    SEGMENT_ENDS,
    ends_of,
    segment_ends_of,
)
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.segments_result import SegmentsResult
from ovseg.apis.shown_boxes import check_takes_boxes
from ovseg.apis.stream import reason_of
from ovseg.cli.asking_budget import set_budget
from ovseg.cli.box_arguments import ClassBoxes, boxes_of
from ovseg.cli.exemplar_arguments import learn
from ovseg.cli.segment_summary import (
    NO_SEGMENT,
    FolderSummary,
    Found,
    Result,
    failed_line,
    found_line,
)
from ovseg.cli.word_arguments import text_settings
from ovseg.consoles import is_quiet
from ovseg.devices import choose_device
from ovseg.engine.file_check import check_image
from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, UserError, print_beside_progress, printable_line
from ovseg.files import CannotWrite, remove_dead_temporaries
from ovseg.images.finding import FoundImage, FoundImages
from ovseg.images.output_plan import PlannedOutput, plan_outputs
from ovseg.images.video import Video
from ovseg.progress import with_progress
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.tensor_cores import set_tf32
from ovseg.text.vocabulary_check import check_vocabulary
from ovseg.vocabulary import Vocabulary


@dataclass(frozen=True)
class Picture:
    """An image file or a frame, and where its files go.

    Attributes:
        name: what it is called.
        output: where the files go.
        pixels: (H, W, 3) uint8 RGB of a frame; None for a file, which is read when it is asked for.
    """

    name: str
    output: PlannedOutput
    pixels: np.ndarray | None = None


def segment_images(
    args: argparse.Namespace,
    kinds: Sequence[str],
    found: FoundImages | Video,
    vocabulary: Vocabulary | None,
) -> int:
    """Segment what the command line names, and print what was found.

    Args:
        args: see ``ovseg.cli.segment.build_parser``.
        kinds: the kinds of files to save.
        found: the images, or a video.
        vocabulary: what to look for; None for a model with classes of its own.

    Returns:
        The exit code.

    Raises:
        UserError: nothing could be done.
    """
    pictures: Iterable[Picture]
    if isinstance(found, Video):
        every = args.every or 1
        pictures, count = frames_of(found, every, args, kinds), -(-found.count // every)
        folders = {Path(args.out_dir) / found.path.stem}
    else:
        plan = plan_of(found.images, args.out_dir, args.task, kinds)
        tell_about(found, plan)
        _tell_left_over(plan, args.task, kinds)
        if len(plan) == 1:
            check_image(str(plan[0].image))  # of many, those that cannot be read are counted
        pictures, count = [Picture(str(output.image), output) for output in plan], len(plan)
        folders = {output.folder for output in plan}
    boxes = boxes_of(args, () if vocabulary is None else vocabulary.names)
    if boxes and count != 1:
        raise UserError(
            f'--box and --not-box are in pixels of one image, and there are {count}: name one, or '
            'teach a bank what the boxes show (ovseg teach)'
        )
    segmenter = segmenter_of(args)
    if args.check_vocab:
        tell_of_words(segmenter, vocabulary)
    ask = asking(segmenter, vocabulary, args, kinds, boxes)
    for folder in folders:
        remove_dead_temporaries(folder)
    if isinstance(pictures, list) and count == 1:
        return _segment_one(ask, segmenter, pictures[0], kinds, args.json)
    summary = _segment_all(ask, args, pictures, count, kinds)
    return report(summary, f'{segmenter.name} on {segmenter.device}', args)


def tell_of_words(segmenter: OpenVocabSegmenter, vocabulary: Vocabulary | None) -> None:
    """Print on stderr what the words' vectors alone say against them.

    Args:
        segmenter: whose text tower reads the words.
        vocabulary: what is asked for; None for a model with classes of its own.

    Raises:
        UserError: the model has no text tower.
    """
    text = getattr(segmenter.model, 'text', None)
    if vocabulary is None or text is None:
        raise UserError('--check-vocab looks at words as a text tower reads them: there are none.')
    templates = text.settings.get('templates', 'openai-80')
    said = check_vocabulary(vocabulary, text.encoder, templates, getattr(text, 'tokenizer', None))
    for sentence in said or ['nothing speaks against these words']:
        print(f'words: {sentence}', file=sys.stderr)


def segmenter_of(args: argparse.Namespace, **settings: Any) -> OpenVocabSegmenter:
    """The segmenter that the command line names.

    Args:
        args: with what :func:`ovseg.cli.asking_arguments.add_model_arguments` adds.
        settings: further ones of :class:`OpenVocabSegmenter`.
    """
    set_tf32(args.tf32, choose_device(args.device))
    segmenter = OpenVocabSegmenter(
        args.model,
        args.checkpoint,
        device=args.device,
        templates=args.template_set,
        text=text_settings(args),
        contrast=args.contrast,
        on=args.on,
        precision=args.precision,
        compile=args.compile,
        rejection=getattr(args, 'rejection', None),
        **settings,
    )
    set_budget(segmenter, getattr(args, 'budget', None))
    return learn(segmenter, args)


def plan_of(
    images: Sequence[FoundImage],
    out_dir: str,
    task: str,
    kinds: Sequence[str],
    reserved: Sequence[str] = (),
) -> list[PlannedOutput]:
    """Where the files of each image go.

    Args:
        images: with their places.
        out_dir: the folder that mirrors theirs.
        task: what is asked.
        kinds: the kinds of files.
        reserved: names in ``out_dir`` that are no image's.
    """
    if task == 'semantic':
        return plan_outputs(images, out_dir, ends_of(kinds), LONGEST_END, reserved)
    return plan_outputs(images, out_dir, segment_ends_of(kinds), LONGEST_SEGMENT_END, reserved)


def frames_of(
    video: Video, every: int, args: argparse.Namespace, kinds: Sequence[str]
) -> Iterator[Picture]:
    """The frames of a video, as if they were images ``frame_000000`` ... in a folder of its name.

    Args:
        video: the file.
        every: see :meth:`ovseg.images.video.Video.frames`.
        args: of the command line.
        kinds: the kinds of files to save.
    """
    for number, pixels in video.frames(every):
        place = Path(video.path.stem, f'frame_{number:06d}')
        frame = FoundImage(video.path.parent / place, place)
        (output,) = plan_of([frame], args.out_dir, args.task, kinds)
        yield Picture(f'{video.path}#{number}', output, pixels)


def _tell_left_over(plan: Sequence[PlannedOutput], task: str, kinds: Sequence[str]) -> None:
    """Say where files of other kinds lie that an earlier run wrote, of words that may differ."""
    if task == 'semantic':
        others = set(ends_of(ENDS)) - set(ends_of(kinds))
    else:
        others = set(segment_ends_of(SEGMENT_ENDS)) - set(segment_ends_of(kinds))
    places = (output.folder / f'{output.stem}{end}' for output in plan for end in sorted(others))
    older = [place for place in places if os.path.exists(place)]
    if older and not is_quiet():
        print(
            f'note: {len(older)} files of kinds that this run does not write stay beside its own, '
            f'the first is {printable_line(older[0])}: if an earlier run with other words wrote '
            'them, they do not belong to the new ones',
            file=sys.stderr,
        )


def tell_about(found: FoundImages, plan: Sequence[PlannedOutput]) -> None:
    """Say what a person would not expect: files left out, other names.

    Args:
        found: the images.
        plan: where the files of each go.
    """
    notes = []
    if found.left_out:
        notes.append(
            f'{len(found.left_out)} pictures that ovseg made itself are left out, the first is '
            f'{printable_line(found.left_out[0])}'
        )
    renamed = [output for output in plan if not output.has_own_name]
    if renamed:
        first = renamed[0]
        notes.append(
            f'the files of {len(renamed)} of {len(plan)} images have longer or shortened names, '
            f'because others would be in their way or disks do not take them; those of '
            f'{printable_line(first.image)} begin with {printable_line(first.stem)}'
        )
    for note in [] if is_quiet() else notes:
        print(f'note: {note}', file=sys.stderr)


def _segment_one(
    ask: Callable[[Any], Result],
    segmenter: OpenVocabSegmenter,
    picture: Picture,
    kinds: Sequence[str],
    as_json: bool,
) -> int:
    result, paths = _done(ask, picture, kinds)
    if as_json:
        print(found_line(picture.name, Found.in_result(result), paths))
        return EXIT_OK
    found_nothing = isinstance(result, SegmentsResult) and not result.segments
    table = NO_SEGMENT if found_nothing else result.table()
    print(f'{printable_line(picture.name)}: {segmenter.name} on {segmenter.device}\n\n{table}\n')
    width = max(8, *(len(kind) + 1 for kind in paths))
    print('\n'.join(f'{kind:{width}s}{printable_line(path)}' for kind, path in paths.items()))
    return EXIT_OK


def _done(
    ask: Callable[[Any], Result], picture: Picture, kinds: Sequence[str]
) -> tuple[Result, dict[str, Path]]:
    """The result of an image, and its files once they are written."""
    if picture.pixels is None:
        result = ask(picture.output.image)
    else:
        result = replace(ask(picture.pixels), source=picture.name)
    return result, result.save(picture.output.folder, picture.output.stem, kinds)


def _segment_all(
    ask: Callable[[Any], Result],
    args: argparse.Namespace,
    pictures: Iterable[Picture],
    count: int,
    kinds: Sequence[str],
) -> FolderSummary:
    """Segments one after the other; a broken one does not end the run, a full disk does."""
    summary = FolderSummary(args.task)
    for picture in with_progress(pictures, count, 'image'):
        summary.tried += 1
        try:
            result, paths = _done(ask, picture, kinds)
        except Exception as error:  # One bad file must not end a long run.
            reason = reason_of(error)
            summary.fail(printable_line(f'{picture.name}: {reason}'))
            if args.json:
                print_beside_progress(failed_line(picture.name, reason), sys.stdout)
            if isinstance(error, CannotWrite) and error.ends_run:
                summary.untried = max(0, count - summary.tried)
                break
        else:
            found = Found.in_result(result)
            summary.add(found)
            if args.json:
                print_beside_progress(found_line(picture.name, found, paths), sys.stdout)
    return summary


def asking(
    segmenter: OpenVocabSegmenter,
    vocabulary: Vocabulary | None,
    args: argparse.Namespace,
    kinds: Sequence[str],
    boxes: Mapping[str, ClassBoxes] = MappingProxyType({}),
) -> Callable[[Any], Result]:
    """The question to each image; what cannot be asked at all is said at once.

    Args:
        segmenter: that is asked.
        vocabulary: what to look for; None for a model with classes of its own.
        args: of the command line.
        kinds: the kinds of files to save.
        boxes: of classes, in pixels of the only image.

    Raises:
        UserError: what cannot be asked.
    """
    if boxes:
        check_takes_boxes(segmenter.model, segmenter.name)
    prepare(segmenter, vocabulary, args)
    ask = segmenter.segment if args.task == 'semantic' else segmenter.segments
    settings = settings_of(args, kinds)

    def answer(image: Any) -> Result:
        for name, each in boxes.items():
            image = segmenter.show(image, name, each.meant, each.absent)
        return ask(image, vocabulary, **settings)

    return answer


def prepare(
    segmenter: OpenVocabSegmenter, vocabulary: Vocabulary | None, args: argparse.Namespace
) -> Vocabulary:
    """Encodes the words, and finds out what cannot be asked.

    Args:
        segmenter: that is asked.
        vocabulary: what to look for; None for a model with classes of its own.
        args: of the command line.

    Returns:
        The classes as results have them.

    Raises:
        UserError: what cannot be asked.
    """
    if args.task == 'semantic':
        return segmenter.prepare(vocabulary, args.background, args.threshold)
    settings = settings_of(args, ())
    if 'score_threshold' in settings:
        SegmentSettings(settings['score_threshold'])
    return segmenter.prepare(vocabulary, args.background, task=args.task, stuff=args.stuff)


def settings_of(args: argparse.Namespace, kinds: Sequence[str]) -> dict[str, Any]:
    """What the command line says, as keywords: of ``segment`` or ``segments``, by the task.

    Args:
        args: of the command line.
        kinds: the kinds of files to save.
    """
    if args.task == 'semantic':
        return {
            'background': args.background,
            'threshold': args.threshold,
            'scores': 'scores' in kinds,
        }
    threshold = {} if args.threshold is None else {'score_threshold': args.threshold}
    return {
        'task': args.task,
        'stuff': args.stuff,
        'background': args.background,
        **threshold,
    }


def report(summary: FolderSummary, asked: str, args: argparse.Namespace) -> int:
    """Print what was found in many images, and what failed; returns the exit code.

    Args:
        summary: of the images.
        asked: the model, and where it ran.
        args: of the command line.

    Raises:
        UserError: not one image could be segmented.
    """
    failed = ''.join(f'\n  {line}' for line in summary.failures)
    if summary.failed > len(summary.failures):
        failed += f'\n  and {summary.failed - len(summary.failures)} more, see failed.jsonl'
    total = summary.tried + summary.untried
    if summary.untried:
        failed += f'\n  {summary.untried} more were not tried, because no file can be written'
    if not summary.images:
        raise UserError(f'None of the {total} images could be segmented:{failed}')
    if not args.json:
        print(
            f'{summary.images} of {total} images: {asked}\n\n'
            f'{summary.table()}\n\nresults in {printable_line(Path(args.out_dir))}/'
        )
    missing = summary.failed + summary.untried
    if not missing:
        return EXIT_OK
    print(f'error: {missing} of {total} images failed:{failed}', file=sys.stderr)
    return EXIT_SOME_FAILED
