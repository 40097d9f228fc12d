"""Saved models: a folder, or a repository of the Hugging Face hub, with all that a model needs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ovseg import __version__
from ovseg.apis.model_card import card_of
from ovseg.downloads import reaches_hub
from ovseg.encoders.embedded import write_weights
from ovseg.errors import UserError, notify
from ovseg.files import written_whole
from ovseg.input_files import cause_of
from ovseg.saved_config import (
    CARD,
    CONFIG,
    FORMAT,
    WEIGHTS,
    foreign_settings,
    is_saved_model,
    without_files,
)
from ovseg.saved_weights import all_weights

if TYPE_CHECKING:
    from ovseg.apis.pretrained_model import PretrainedModel


def save_model(
    segmenter: PretrainedModel,
    folder: str | Path,
    licence: str | None,
    measured: Mapping[str, float] | None,
) -> Path:
    """Write a model as a folder: ``OpenVocabSegmenter.save_pretrained``.

    Returns:
        The folder.

    Raises:
        UserError: the model is not in float32, a setting names a file, numbers are none, a file of
            another kind is in the way, or it cannot be written.

    Warns:
        Notice: what the segmenter answers by and a saved model does not hold.
    """
    folder = Path(folder)
    _check_is_free(folder)
    if segmenter.precision != 'float32':
        raise UserError(
            f'The products of {segmenter.name} are in {segmenter.precision}: build it with '
            "precision='float32' to save it."
        )
    content = json.dumps(saved_content(segmenter), indent=2, ensure_ascii=False) + '\n'
    card = card_of(segmenter, licence, measured)
    for what, again in segmenter.beside_model().items():
        notify(f'The folder has the model without {what}: {again}.')
    # The config first: by it a folder that was cut short is known for one of ours.
    for name, text in ((CONFIG, content), (CARD, card)):
        with written_whole(folder / name) as temporary:
            temporary.write_text(text, encoding='utf-8')
    write_weights(folder / WEIGHTS, all_weights(segmenter.model), torch.float32)
    return folder


def _check_is_free(folder: Path) -> None:
    """Stops before files that belong to no saved model are replaced: a README, other weights."""
    if is_saved_model(folder):
        return
    for name in (CARD, WEIGHTS, CONFIG):
        if os.path.lexists(folder / name):
            raise UserError(
                f'The folder {folder} holds no saved model, but a {name}, which would be replaced: '
                'name a folder of its own.'
            )


def saved_content(segmenter: PretrainedModel) -> dict[str, Any]:
    """What the ``ovseg.json`` of a segmenter holds.

    Args:
        segmenter: that is saved.

    Raises:
        UserError: a setting names a file that would not be there.
    """
    config = segmenter.config
    model = without_files(json.loads(json.dumps(_plain(config.model))))
    words = segmenter.vocabulary
    is_given = words is not segmenter.model.vocabulary
    # A text might be taken for a file's name.
    if words is not None and (is_given or isinstance(model.get('vocabulary'), str)):
        model['vocabulary'] = json.loads(words.to_json())
    for place, reason in foreign_settings(model, 'model'):
        raise UserError(
            f'{segmenter.name} cannot be saved: its setting {place} {reason}, which would not be '
            'there elsewhere; give what it holds in the config itself.'
        )
    content = {
        'format': FORMAT,
        'ovseg_version': __version__,
        'made_of': segmenter.name,
        'world': segmenter.world,
        'config': {'model': model, 'resize': _plain(config.get('resize'))},
    }
    return content


def _plain(value: Any) -> Any:
    """Nested mappings and sequences of mmengine's as Python's own."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def folder_of_model(source: str | Path, revision: str | None, token: str | bool | None) -> Path:
    """The folder of a saved model: a local one, or one of the hub, fetched into the hub's cache.

    Args:
        source: a folder, or ``'organisation/name'``.
        revision: of the repository: a branch, tag or commit; None for the newest.
        token: of the hub; None for the one that is logged in.

    Raises:
        FileNotFoundError: neither a folder nor such a repository.
        UserError: the repository holds no saved model, is not open to this user, or cannot be
            reached.
    """
    text = os.path.expanduser(source)
    if os.path.isdir(text):
        if not os.path.isfile(os.path.join(text, CONFIG)):
            raise FileNotFoundError(
                f'The folder {source} holds no saved model (no {CONFIG}): name one that '
                'save_pretrained wrote.'
            )
        return Path(text)
    if text.count('/') != 1 or text.startswith(('/', '.')):
        raise FileNotFoundError(
            f"There is no folder {source}; a model of the hub is called 'organisation/name'."
        )
    return _fetched(text, revision, token)


def _fetched(name: str, revision: str | None, token: str | bool | None) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    try:
        # Without a network the client would try again and again.
        is_offline = not reaches_hub()

        def fetched(file: str, revision: str | None) -> str:
            return huggingface_hub.hf_hub_download(
                name, file, revision=revision, token=token, local_files_only=is_offline
            )

        config = Path(fetched(CONFIG, revision))
        # The weights of the same commit, should there be a newer one meanwhile.
        fetched(WEIGHTS, config.parent.name)
    except errors.GatedRepoError as error:
        raise UserError(
            f'{name} is open to those alone who asked for it: do so on its page of the hub, and '
            'log in (hf auth login).'
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f'There is no folder {name} here, and no model {name} on the hub that you may read '
            '(private ones need hf auth login).'
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f'The model {name} has no revision {revision!r}.') from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(
            f'The repository {name} holds no model of ovseg (no {CONFIG} with {WEIGHTS}).'
        ) from error
    except Exception as error:
        raise UserError(
            f'The model {name} cannot be fetched from the hub ({cause_of(error)}): without a '
            'network give a folder with its files.'
        ) from error
    return config.parent


def push_model(
    segmenter: PretrainedModel,
    name: str,
    licence: str | None,
    measured: Mapping[str, float] | None,
    private: bool,
    token: str | bool | None,
    message: str,
) -> str:
    """Save a model and send it to the hub: ``OpenVocabSegmenter.push_to_hub``.

    Returns:
        The address of the model's page.

    Raises:
        UserError: as :func:`save_model`; or the hub refuses it or cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import errors

    with tempfile.TemporaryDirectory() as folder:
        save_model(segmenter, folder, licence, measured)
        hub = huggingface_hub.HfApi(token=token)
        try:
            page = hub.create_repo(name, private=private, exist_ok=True)
            hub.upload_folder(repo_id=page.repo_id, folder_path=folder, commit_message=message)
        except errors.HFValidationError as error:
            raise UserError(
                f"{name!r} is no name of a model on the hub: write 'organisation/name', of "
                "letters, digits, '-', '_' and '.'."
            ) from error
        except Exception as error:
            raise UserError(
                f'{name} cannot be sent to the hub ({cause_of(error)}): log in by hf auth login '
                'with a token that may write there.'
            ) from error
    return str(page)
