"""Captions of images in JSON files: COCO's, or a plain table from path to caption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ovseg.errors import UserError


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
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'captions {path} do not exist; give a JSON file of captions')
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
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
    return {name: said for name, said in captions.items() if said}


def _of_table(content: dict[str, Any]) -> dict[str, list[str]]:
    captions = {
        name: [said] if isinstance(said, str) else list(said) for name, said in content.items()
    }
    for name, said in captions.items():
        if not all(isinstance(caption, str) for caption in said):
            raise TypeError(f'the caption of {name} is no text')
    return {name: said for name, said in captions.items() if said}
