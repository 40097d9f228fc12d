"""What a type checker must see of the package; ``make types`` reads this file, nothing runs it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ovseg
from ovseg import OpenVocabSegmenter, Rejection, SegmentationResult, SegmentsResult, Vocabulary
from ovseg.vocabulary import VocabularySource, build_vocabulary

if TYPE_CHECKING:
    from typing_extensions import assert_type

    from ovseg.apis import ModelEntry

    # The names of the package are imported on first use; they are no Any for that.
    assert_type(OpenVocabSegmenter('maskclip-tiny'), OpenVocabSegmenter)
    assert_type(ovseg.list_models(), list[ModelEntry])
    assert_type(Vocabulary.parse('cat; sofa'), Vocabulary)

    # Words that are there give a vocabulary that is there.
    assert_type(build_vocabulary(None), None)
    assert_type(build_vocabulary('cat; sofa'), Vocabulary)
    assert_type(Rejection.build({'kind': 'threshold', 'threshold': 0.3}), Rejection)

    def of_a_config(source: VocabularySource | None) -> None:
        """A key that may be left out."""
        assert_type(build_vocabulary(source), Vocabulary | None)

    def of_images(segment: OpenVocabSegmenter, paths: list[Path], picture: np.ndarray) -> None:
        """One image gives one result, a list of them a list."""
        assert_type(segment('photo.jpg', 'cat'), SegmentationResult)
        assert_type(segment(paths, 'cat'), list[SegmentationResult])
        assert_type(segment.segment(picture, 'cat', scores=True), SegmentationResult)
        assert_type(segment.segment(['a.jpg', picture], 'cat'), list[SegmentationResult])
        assert_type(segment.segments(segment.encode('photo.jpg'), 'cat'), SegmentsResult)

    def of_results(labels: SegmentationResult, segments: SegmentsResult) -> None:
        """Results lead to what they hold."""
        assert_type(labels.names, tuple[str, ...])
        assert_type(segments.names, tuple[str, ...])
