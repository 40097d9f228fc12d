"""Many images one after the other: read ahead, encoded in common batches, answered in threads.

The encoder runs in the thread that asks for results. Threads read and resize the images to come,
and decide and hand on those that are encoded. They do so while the encoder runs, because decoders,
torch, OpenCV and zlib let other threads of Python run meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from ovseg.errors import UserError, printable_line

_Image = TypeVar('_Image')
_Loaded = TypeVar('_Loaded')
_Encoded = TypeVar('_Encoded')
_Answer = TypeVar('_Answer')

# More threads than this wait for each other in Python.
_MOST_WORKERS = 8
# Batches that may wait for others of their size.
_WAITING = 3


@dataclass(frozen=True)
class Failed:
    """An image of a stream that could not be done; the others are.

    Attributes:
        source: what the image is called (a path), or 'the image in memory'.
        error: what was raised.
    """

    source: str
    error: Exception

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        return reason_of(self.error)

    def __str__(self) -> str:
        return printable_line(f'{self.source}: {self.reason}')


def sendable(failed: Failed) -> Failed:
    """The same for another process, which may not know the error: what it says, at least.

    Args:
        failed: of this process.
    """
    if isinstance(failed.error, (UserError, FileNotFoundError)):
        return failed
    return Failed(failed.source, UserError(failed.reason))


def reason_of(error: Exception) -> str:
    """What to tell a person of an error that one image of many raised."""
    return str(error) if isinstance(error, (UserError, OSError)) else repr(error)


@dataclass(frozen=True)
class Steps(Generic[_Image, _Loaded, _Encoded, _Answer]):
    """What is done to each image.

    Attributes:
        name: what an image is called.
        load: reads one; in threads.
        size: images of one size are encoded together; any hashable value.
        encode: takes loaded images of one size, gives as many; in the caller's thread.
        answer: makes of an encoded image what the caller gets; in threads.
    """

    name: Callable[[_Image], str]
    load: Callable[[_Image], _Loaded]
    size: Callable[[_Loaded], Hashable]
    encode: Callable[[Sequence[_Loaded]], Sequence[_Encoded]]
    answer: Callable[[_Encoded], _Answer]


def default_workers(processes: int = 1) -> int:
    """One thread for each processor core that this process may use, 8 at most.

    Args:
        processes: how many share the cores.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cores = os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores // processes))


def most_under_way(batch_size: int, workers: int) -> int:
    """How many images a stream holds at most, however many there are.

    Args:
        batch_size: images that go through the encoder at once.
        workers: threads.
    """
    return (_WAITING + 2) * batch_size + 3 * workers


def answers_in_order(
    images: Iterable[_Image],
    steps: Steps[_Image, _Loaded, _Encoded, _Answer],
    batch_size: Callable[[], int],
    workers: int,
) -> Iterator[_Answer | Failed]:
    """One answer an image, in their order; which images share a batch depends on sizes alone.

    Args:
        images: may be endless; the next ones are taken ahead of time.
        steps: see :class:`Steps`; what one raises is the answer of that image.
        batch_size: images that go through the encoder at once; asked again each time.
        workers: threads beside the caller's.
    """
    threads_of_torch = torch.get_num_threads()
    # The threads share the cores: in each, torch has one. New threads of the caller's would begin
    # with what was said last, so at the end the caller's number is said again.
    with_one = ThreadPoolExecutor(workers, 'ovseg-stream', torch.set_num_threads, (1,))
    try:
        yield from _Stream(images, steps, batch_size, workers, with_one)
    finally:
        with_one.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads_of_torch)


class _UnderWay(Generic[_Image, _Loaded, _Answer]):
    """An image that was taken and not yet given back."""

    def __init__(self, image: _Image, loading: Future[_Loaded]) -> None:
        self.image = image
        self.loading: Future[_Loaded] | None = loading
        self.answer: Future[_Answer] | Failed | None = None

    @property
    def is_answered(self) -> bool:
        return isinstance(self.answer, Failed) or (self.answer is not None and self.answer.done())


class _Stream(Generic[_Image, _Loaded, _Encoded, _Answer]):
    def __init__(
        self,
        images: Iterable[_Image],
        steps: Steps[_Image, _Loaded, _Encoded, _Answer],
        batch_size: Callable[[], int],
        workers: int,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._images: Iterator[_Image] | None = iter(images)
        self._steps, self._batch_size, self._workers = steps, batch_size, workers
        self._threads = threads
        # All in their order; those of them that are read; those that wait for others of their size.
        self._all: deque[_UnderWay[_Image, _Loaded, _Answer]] = deque()
        self._loading: deque[_UnderWay[_Image, _Loaded, _Answer]] = deque()
        self._waiting: dict[
            Hashable, list[tuple[_UnderWay[_Image, _Loaded, _Answer], _Loaded]]
        ] = {}

    def __iter__(self) -> Iterator[_Answer | Failed]:
        while True:
            self._look_ahead()
            if self._loading:
                self._sort_in(self._loading.popleft())
            self._encode_those_that_waited()
            while self._all and (self._all[0].is_answered or self._must_give_back()):
                yield self._answer_of(self._all.popleft())
            if not self._all and self._images is None:
                return

    @property
    def _is_full(self) -> bool:
        return len(self._all) >= most_under_way(self._batch_size(), self._workers)

    def _look_ahead(self) -> None:
        ahead = self._batch_size() + self._workers
        while self._images is not None and len(self._loading) < ahead and not self._is_full:
            try:
                image = next(self._images)
            except StopIteration:
                self._images = None
                return
            loading = self._threads.submit(self._steps.load, image)
            item: _UnderWay[_Image, _Loaded, _Answer] = _UnderWay(image, loading)
            self._all.append(item)
            self._loading.append(item)

    def _sort_in(self, item: _UnderWay[_Image, _Loaded, _Answer]) -> None:
        assert item.loading is not None  # of `_look_ahead`
        try:
            loaded = item.loading.result()
            size = self._steps.size(loaded)
        except Exception as error:
            item.answer = self._failed(item, error)
            return
        finally:
            item.loading = None  # its pixels are held by the batch alone
        group = self._waiting.setdefault(size, [])
        group.append((item, loaded))
        if len(group) >= self._batch_size():
            self._encode(self._waiting.pop(size))

    def _encode_those_that_waited(self) -> None:
        """Batches that are not full, where others must not wait for them any longer."""
        most = _WAITING * self._batch_size()
        while self._waiting and (
            not self._loading
            or sum(map(len, self._waiting.values())) >= most
            or (self._is_full and self._all[0].answer is None)
        ):
            # Sizes stand in the order of their first images.
            self._encode(self._waiting.pop(next(iter(self._waiting))))

    def _encode(self, group: list[tuple[_UnderWay[_Image, _Loaded, _Answer], _Loaded]]) -> None:
        try:
            encoded = self._steps.encode([loaded for _, loaded in group])
        except Exception as error:
            if len(group) == 1:
                group[0][0].answer = self._failed(group[0][0], error)
                return
            for one in group:  # which of them it was
                self._encode([one])
            return
        for (item, _), each in zip(group, encoded, strict=True):
            item.answer = self._threads.submit(self._steps.answer, each)

    def _must_give_back(self) -> bool:
        """Whether nothing is left to be done but to wait for the first image."""
        return self._all[0].answer is not None and (self._is_full or not self._loading)

    def _answer_of(self, item: _UnderWay[_Image, _Loaded, _Answer]) -> _Answer | Failed:
        assert item.answer is not None  # of `__iter__`
        if isinstance(item.answer, Failed):
            return item.answer
        try:
            return item.answer.result()
        except Exception as error:
            return self._failed(item, error)

    def _failed(self, item: _UnderWay[_Image, _Loaded, _Answer], error: Exception) -> Failed:
        return Failed(self._steps.name(item.image), error)
