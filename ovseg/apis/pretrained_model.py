"""A model that is saved with all its weights, and comes from a folder or the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg.apis.answering_model import AnsweringModel
from ovseg.apis.pretrained import folder_of_model, push_model, save_model

if TYPE_CHECKING:
    from typing_extensions import Self


class PretrainedModel(AnsweringModel):
    """What :class:`~ovseg.apis.segmenter.OpenVocabSegmenter` is on disk and on the hub."""

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        **settings: Any,
    ) -> Self:
        """A saved model, from a folder or the Hugging Face hub; no code of it is executed.

        Args:
            source: a folder of :meth:`save_pretrained`, or ``'organisation/name'`` on the hub,
                whose files are fetched into the hub's own cache.
            revision: on the hub: a branch, tag or commit; None for the newest.
            token: of the hub; None for that of the user who is logged in.
            settings: further ones of this class, such as ``device`` or ``templates``.

        Raises:
            FileNotFoundError: there is no such folder or model.
            UserError: it is no model of ovseg, damaged, not open to this user, or out of reach.
        """
        segmenter = cls(folder_of_model(source, revision, token), **settings)
        if not os.path.isdir(os.path.expanduser(source)):
            segmenter.name = str(source)
        return segmenter

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        licence: str | None = None,
        measured: Mapping[str, float] | None = None,
    ) -> Path:
        """Write the model with all its weights, and a card, as a folder that needs nothing else.

        The words given at the start are its words. ``--model FOLDER`` takes it, too.

        Args:
            folder: made if missing.
            licence: of the weights; None for that of ``list_models()`` where they are those.
            measured: mIoU in percent by data set, measured with these weights; for the card, which
                keeps published numbers apart.

        Returns:
            The folder.

        Raises:
            UserError: the model is not in float32, a setting of its config names a file of this
                machine, or the folder cannot be written.
        """
        return save_model(self, folder, licence, measured)

    def beside_model(self) -> dict[str, str]:
        """What answers depend on and a saved model does not hold, and how to have it again."""
        found = {
            f'{name}=': 'it is in the words that are saved; give it again to ask for others'
            for name in self._questions.given
        }
        taught = self.model.taught
        if taught is not None and taught.bank is not None:
            found['its examples'] = 'save_bank writes them, load_bank of the saved model reads them'
        return found

    def push_to_hub(
        self,
        name: str,
        *,
        licence: str,
        measured: Mapping[str, float] | None = None,
        private: bool = False,
        token: str | bool | None = None,
        message: str = 'Model of ovseg',
    ) -> str:
        """Send the model, as :meth:`save_pretrained` writes it, to the Hugging Face hub.

        Args:
            name: ``'organisation/name'``; made if it is not there.
            licence: of the weights, which you say: others will rely on it.
            measured: as in :meth:`save_pretrained`.
            private: whether a new repository is.
            token: of the hub; None for that of the user who is logged in.
            message: of the commit.

        Returns:
            The address of its page.

        Raises:
            UserError: as :meth:`save_pretrained`; or the hub refuses it or cannot be reached.
        """
        return push_model(self, name, licence, measured, private, token, message)
