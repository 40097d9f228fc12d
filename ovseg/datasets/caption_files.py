"""Captions of images in JSON files: COCO's, or a plain table from path to caption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.input_files import read_json


def read_captions(path: str | Path) -> dict[str, list[str]]:
    """Returns the captions of each image, images and captions in the file's order.

    Args:
        path: JSON. COCO's form has ``images`` (``id``, ``file_name``) and ``annotations``
            (``image_id``, ``caption``); the plain form maps a path to a caption or to several.

    Returns:
        Path of an image, as the file has it, to its captions; images without are left out.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: neither form, a caption of an image that is not listed, or no caption at all.
    """
    content = read_json(path, 'file of captions')
    try:
        found = _of_coco(content) if _is_coco(content) else _of_table(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no captions ({type(error).__name__}: {error}); give COCO's captions "
            'or a JSON object that maps each image path to its caption'
        ) from error
    if not found:
        raise UserError(f'{path} holds no captions; give another file')
    return found


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get('annotations'), list)


def _of_coco(content: dict[str, Any]) -> dict[str, list[str]]:
    names = {image['id']: image['file_name'] for image in content['images']}
    captions: dict[str, list[str]] = {name: [] for name in names.values()}
    for annotation in content['annotations']:
        captions[names[annotation['image_id']]].append(annotation['caption'].strip())
    _check_names(captions)
    return {name: said for name, said in captions.items() if said}


def _of_table(content: dict[str, Any]) -> dict[str, list[str]]:
    captions = {
        name: [said] if isinstance(said, str) else list(said) for name, said in content.items()
    }
    for name, said in captions.items():
        if not all(isinstance(caption, str) for caption in said):
            raise TypeError(f'the caption of {name} is no text')
    _check_names(captions)
    return {name: said for name, said in captions.items() if said}


def _check_names(captions: dict[str, list[str]]) -> None:
    for name in captions:
        if not isinstance(name, str) or not name.strip() or '\0' in name:
            raise TypeError(f'{name!r} is no path of an image')
        for text in (name, *captions[name]):
            text.encode()  # halves of characters, which JSON can name, could not be written
