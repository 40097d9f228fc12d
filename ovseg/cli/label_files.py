"""What ``ovseg label`` says, done: what is left of many images, and the summary of all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ovseg
from ovseg.apis.encoded_image import identity_of
from ovseg.apis.results import SegmentationResult
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.stream import Failed
from ovseg.cli.label_folder import NAMES, LabelFolder
from ovseg.cli.segment_files import plan_of, report, segmenter_of, tell_about
from ovseg.cli.segment_summary import FolderSummary, Found, failed_line, found_line
from ovseg.consoles import is_quiet
from ovseg.errors import print_beside_progress
from ovseg.files import CannotWrite, remove_dead_temporaries
from ovseg.images.finding import FoundImages
from ovseg.images.output_plan import PlannedOutput
from ovseg.progress import with_progress
from ovseg.vocabulary import Vocabulary

# What one image gave: what is in it, and its files by kind.
_Done = tuple[Found, dict[str, Path]]


def label_images(
    args: argparse.Namespace,
    kinds: Sequence[str],
    found: FoundImages,
    vocabulary: Vocabulary | None,
) -> int:
    """Label what is left of the images, and print what was found in all.

    Args:
        args: see ``ovseg.cli.label.build_parser``.
        kinds: the kinds of files to save; none for areas alone.
        found: the images.
        vocabulary: what to look for; None for a model with classes of its own.

    Returns:
        The exit code.

    Raises:
        UserError: nothing could be done; the folder holds other labels, or another run is at work.
    """
    plan = plan_of(found.images, args.out_dir, args.task, kinds, NAMES)
    tell_about(found, plan)
    folder = LabelFolder(args.out_dir)
    with folder.held():
        segmenter = segmenter_of(args, batch_size=args.batch_size)
        segmenter.prepare(vocabulary, args.background, args.threshold)
        folder.agree(manifest_of(segmenter, vocabulary, args, kinds))
        for place in {output.folder for output in plan}:
            remove_dead_temporaries(place)
        done = folder.done()
        left = [output for output in plan if _key(output) not in done]
        summary = _of_before(plan, done)
        if summary.images and not is_quiet():
            print(f'note: {summary.images} of {len(plan)} images are done already', file=sys.stderr)
        _label(segmenter, vocabulary, args, kinds, left, summary, folder)
    return report(summary, segmenter, args)


def manifest_of(
    segmenter: OpenVocabSegmenter,
    vocabulary: Vocabulary | None,
    args: argparse.Namespace,
    kinds: Sequence[str],
) -> dict[str, Any]:
    """All that labels depend on, as plain values by what people call them.

    Args:
        segmenter: that is asked.
        vocabulary: of the command line; None for the model's own.
        args: of the command line.
        kinds: the kinds of files.
    """
    classes = vocabulary or segmenter.model.vocabulary
    return {
        # Those of two folders would replace each other.
        'images': os.path.abspath(os.path.expanduser(args.image)),
        'model': segmenter.name,
        'checkpoint': identity_of(segmenter.model),
        'words': [[item.name, *item.prompts, *item.descriptions] for item in classes or ()],
        'rejection': asdict(classes.rejection) if classes else None,
        'background': args.background,
        'threshold': args.threshold,
        'template set': args.template_set,
        'precision': segmenter.precision,
        'kinds of files': list(kinds),
        'ovseg version': ovseg.__version__,
    }


def _key(output: PlannedOutput) -> str:
    """What an image is called in ``found.jsonl``, from wherever the command is run."""
    return os.path.abspath(output.image)


def _of_before(
    plan: Sequence[PlannedOutput], done: Mapping[str, Mapping[str, Any]]
) -> FolderSummary:
    """The summary of the images that earlier runs did."""
    summary = FolderSummary()
    for output in plan:
        line = done.get(_key(output))
        if line is not None:
            summary.tried += 1
            summary.add(Found(line['classes'], {}))
    return summary


def _label(
    segmenter: OpenVocabSegmenter,
    vocabulary: Vocabulary | None,
    args: argparse.Namespace,
    kinds: Sequence[str],
    left: Sequence[PlannedOutput],
    summary: FolderSummary,
    folder: LabelFolder,
) -> None:
    """Labels what is left; a broken image does not end the run, a full disk does."""
    total = summary.tried + len(left)
    places = {str(output.image): output for output in left}

    def write(result: SegmentationResult) -> _Done:
        output = places[result.source]
        paths = result.save(output.folder, output.stem, kinds) if kinds else {}
        return Found.in_result(result), paths

    answers: Iterator[_Done | Failed] = segmenter.stream(
        (output.image for output in left),
        vocabulary,
        background=args.background,
        threshold=args.threshold,
        scores='scores' in kinds,
        then=write,
        workers=args.workers,
    )
    images = with_progress(
        zip(left, answers, strict=True),
        len(left),
        'image',
        note=lambda: f'{len(summary.failures)} failed' if summary.failures else '',
    )
    for output, answer in images:
        name = str(output.image)
        summary.tried += 1
        if isinstance(answer, Failed):
            summary.failures.append(str(answer))
            line = failed_line(name, answer.reason)
            folder.add_failed(line)
        else:
            found, paths = answer
            summary.add(found)
            line = found_line(name, found, paths)
            # From the folder itself, which may be moved before the run goes on.
            below = {kind: Path(os.path.relpath(path, folder.path)) for kind, path in paths.items()}
            folder.add_found(found_line(_key(output), found, below))
        if args.json:
            print_beside_progress(line, sys.stdout)
        error = answer.error if isinstance(answer, Failed) else None
        if isinstance(error, CannotWrite) and error.ends_run:
            summary.untried = total - summary.tried
            break
