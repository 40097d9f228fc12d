"""What "none of these" means: the rule that sends a pixel to the background."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args, overload

from ovseg.errors import UserError, nearest, notify
from ovseg.exact_digits import exact
from ovseg.input_files import read_json
from ovseg.vocabulary.fitting import Fitting, is_number

RejectionKind = Literal[
    'none', 'threshold', 'background', 'class_zero', 'margin', 'energy', 'presence', 'contrast'
]
BACKGROUND = 'background'
# What ``ovseg calibrate`` writes and ``Rejection.build`` reads.
FILE_FORMAT = 'ovseg-rejection/2'
# Before, files did not say of whose scores their limits are.
_READ_FORMATS = ('ovseg-rejection/1', FILE_FORMAT)
_DIFFERENCE = 'a difference from 0 to 1'
# Kinds that say where pixels of no class go to; the others only say which these are.
_PLACES = ('background', 'class_zero')
# What a kind that is named after a test cannot do without.
_NEEDED = {
    'margin': ('margin',),
    'energy': ('energy',),
    'presence': ('presence_top', 'presence_within'),
    'contrast': ('contrast', 'contrast_margin'),
}


@dataclass(frozen=True)
class Rejection:
    """The rule by which a pixel belongs to none of the asked classes.

    ======================  =========================================================
    kind                    meaning
    ======================  =========================================================
    ``none``                every pixel gets its best class.
    ``threshold``           a pixel whose best class probability is below ``threshold``
                            becomes background.
    ``margin``              so does one whose best class is ahead of the second by less
                            than ``margin``.
    ``energy``              so does one whose energy is above ``energy``.
    ``presence``            classes that an image as a whole does not look like are taken
                            out of it.
    ``contrast``            ``contrast`` says what else may be in the images; what the text
                            model finds far enough from the classes joins ``words``. A
                            pixel whose best class is ahead of the best of them by less
                            than ``contrast_margin`` becomes background.
    ``background``          ``words`` form one more class, ``background``, at index 0;
                            a pixel where any of them wins is rejected.
    ``class_zero``          class 0 of the list is the background; its score is the
                            maximum over its prompts.
    ======================  =========================================================

    Rules chain: whatever the kind, unless it is ``none``, each field that is set is a test of its
    own, and a pixel that fails one of them is background. ``words`` go with all kinds but
    ``class_zero``.

    Attributes:
        kind: the rule.
        threshold: probability in [0, 1]; 0 switches the comparison off.
        words: the background's prompts.
        min_area: in [0, 1); a class that is the best one in no more than this share of an image's
            foreground pixels is taken out of that image, and its pixels are decided again (SCLIP
            on VOC21: 0.1). 0 takes none out. The threshold is compared afterwards.
        margin: in [0, 1]; probability of the best class minus that of the second. 0: off.
        energy: in the unit of the scores (cosines for most): pixels whose energy
            ``-log(sum(exp(s * score))) / s`` is above it are background, s being the factor before
            the softmax. The nearer the words, the lower the energy. None: off.
        presence_top: how many classes an image may have: those of the largest mean scores. 0: any.
        presence_within: classes whose mean score is further below the largest than this, in the
            unit of the scores, are taken out of the image. 0: off.
        fitted: what the limits were fitted on, or None.
        contrast: where further words of the background come from: ``'background'``, ``'auto'`` or a
            file, see :func:`~ovseg.vocabulary.contrast_words.contrast_words`; ``''`` for none. They
            are looked up where words are encoded, since the text model says which are too near.
        contrast_margin: in [0, 1]; probability of the best class minus that of the background's
            best word. 0: off, such a word then takes the pixels that it wins.

    Raises:
        UserError: a combination that says two things at once, or a value out of range.

    Source: energy: Liu et al., Energy-based Out-of-distribution Detection (arXiv 2010.03759),
    eq. 4, with the temperature 1 / s.
    """

    kind: RejectionKind = 'none'
    threshold: float = 0.0
    words: tuple[str, ...] = ()
    min_area: float = 0.0
    margin: float = 0.0
    energy: float | None = None
    presence_top: int = 0
    presence_within: float = 0.0
    fitted: Fitting | None = None
    contrast: str = ''
    contrast_margin: float = 0.0

    def __post_init__(self) -> None:
        kinds = get_args(RejectionKind)
        if self.kind not in kinds:
            raise UserError(
                f'unknown rejection kind {self.kind!r}, use one of {", ".join(kinds)}.'
                + nearest(str(self.kind), kinds)
            )
        words = (self.words,) if isinstance(self.words, str) else tuple(self.words)
        object.__setattr__(self, 'words', words)
        self._check_values()
        for name in ('threshold', 'min_area', 'margin', 'presence_within', 'contrast_margin'):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.energy is not None:
            object.__setattr__(self, 'energy', float(self.energy))
        if self.fitted is not None:
            object.__setattr__(self, 'fitted', Fitting.build(self.fitted))
        for name in _TESTS:
            if self.kind == 'none' and self.uses(name):
                raise UserError(
                    f"rejection {name} {getattr(self, name)} needs kind 'threshold', "
                    "'background' or 'class_zero', got kind 'none'"
                )
        if words and self.kind in ('none', 'class_zero'):
            raise UserError(
                f"background words need rejection kind 'background' or 'threshold', "
                f'got kind {self.kind!r}'
            )
        if self.kind == 'none' and self.contrast:
            raise UserError("rejection contrast needs a kind that rejects, such as 'contrast'")
        if self.contrast_margin > 0 and not (words or self.contrast or self.kind == 'class_zero'):
            raise UserError(
                'rejection contrast_margin compares with words for "none of these", and there are '
                "none: give words, or contrast='auto'"
            )
        if self.kind == 'background' and not words:
            raise UserError("rejection kind 'background' needs at least one word in `words`")
        needed = _NEEDED.get(self.kind, ())
        if needed and not any(self.uses(name) for name in needed):
            raise UserError(f'rejection kind {self.kind!r} needs a value of {" or ".join(needed)}')

    def _check_values(self) -> None:
        ranges = {
            'threshold': (self.threshold, lambda x: 0 <= x <= 1, 'a probability from 0 to 1'),
            'min_area': (self.min_area, lambda x: 0 <= x < 1, 'a share from 0 to below 1'),
            'margin': (self.margin, lambda x: 0 <= x <= 1, _DIFFERENCE),
            'energy': (self.energy or 0, lambda x: abs(x) < float('inf'), 'a number or None'),
            'presence_within': (self.presence_within, lambda x: x >= 0, 'a number from 0 on'),
            'contrast_margin': (self.contrast_margin, lambda x: 0 <= x <= 1, _DIFFERENCE),
        }
        for name, (value, is_good, wanted) in ranges.items():
            if not is_number(value) or not is_good(value):
                raise UserError(f'rejection {name} must be {wanted}, got {value!r}')
        top = self.presence_top
        if not isinstance(top, int) or isinstance(top, bool) or top < 0:
            raise UserError(f'rejection presence_top must be a number of classes, got {top!r}')
        if not isinstance(self.contrast, str):
            raise UserError(
                f"rejection contrast must be 'background', 'auto' or a file, got {self.contrast!r}"
            )

    @overload
    @classmethod
    def build(cls, source: None) -> None: ...

    @overload
    @classmethod
    def build(
        cls, source: Rejection | Mapping[str, Any] | Sequence[Any] | str | Path
    ) -> Rejection: ...

    @classmethod
    def build(
        cls, source: Rejection | Mapping[str, Any] | Sequence[Any] | str | Path | None
    ) -> Rejection | None:
        """The rejection rule that a config, a JSON file or a command line writes down.

        Args:
            source: a rule; its fields as a dict; a list of these, which chain; the bare kind;
                the path of a ``.json`` file, such as ``ovseg calibrate`` writes; its fields as
                text, ``'margin=0.1, threshold=0.3'``; or None.

        Returns:
            The rule, or None for None (the vocabulary then keeps its own).

        Raises:
            UserError: it says no rule.
            FileNotFoundError: there is no such file.

        Example:
            >>> Rejection.build({'kind': 'threshold', 'threshold': 0.3}).describe()
            'best probability below 0.3'
            >>> Rejection.build('margin=0.1, presence_top=5').describe()
            'best class ahead by less than 0.1; only the 5 likeliest classes of an image'
        """
        if source is None or isinstance(source, Rejection):
            return source
        if isinstance(source, Path) or (isinstance(source, str) and source.endswith('.json')):
            return cls._of_file(source)
        if isinstance(source, str):
            return cls._of_text(source)
        if isinstance(source, (list, tuple)):
            return cls._chained(source)
        if not isinstance(source, Mapping):
            raise UserError(
                f'rejection must be a dict with kind, threshold and words, got {source!r}'
            )
        known = [field.name for field in fields(cls)]
        for key in source:
            if key not in known:
                raise UserError(
                    f'unknown rejection setting {key!r}, use {", ".join(known)}.'
                    + nearest(str(key), known)
                )
        return cls(**source)

    @classmethod
    def _of_file(cls, path: str | Path) -> Rejection:
        content = read_json(path, 'rejection file', by_hand=True)
        try:
            if isinstance(content, Mapping) and 'format' in content:
                if content['format'] not in _READ_FORMATS:
                    raise UserError(f'its format is {content["format"]!r}, not {FILE_FORMAT!r}')
                return cls._of_calibration(content, path)
            if not isinstance(content, (Mapping, list)):
                raise UserError('it holds no rejection rule')
            return cls.build(content)
        except UserError as error:
            raise UserError(f'{path}: {error}') from error

    @classmethod
    def _of_calibration(cls, content: Mapping[str, Any], path: str | Path) -> Rejection:
        stated = content.get('rejection')
        if not isinstance(stated, (Mapping, list)):
            raise UserError('it holds no rejection rule')
        rule = cls.build(stated)
        if rule.fitted is not None and rule.fitted.is_full:
            return rule
        classes = content.get('classes')
        # All that competed were asked for: no words stood for a background.
        if rule.fitted and isinstance(classes, list) and len(classes) == rule.fitted.classes:
            named = {**rule.fitted.to_dict(), 'names': classes}
            rule = replace(rule, fitted=Fitting.build(named))
        notify(
            f'{path} does not say of whose scores its limits are (it was fitted by an older ovseg, '
            f'with the model {content.get("model")!r}), so that another model would not be '
            'noticed; fit it again with ovseg calibrate.'
        )
        return rule

    @classmethod
    def _of_text(cls, text: str) -> Rejection:
        if text.lstrip().startswith(('{', '[')):
            try:
                return cls.build(json.loads(text))
            except json.JSONDecodeError as error:
                raise UserError(f'rejection {text!r} is not valid JSON: {error}') from error
        if '=' not in text:
            return cls(cast('RejectionKind', text))  # the constructor refuses others
        found: dict[str, Any] = {'kind': 'threshold'}
        for part in text.split(','):
            name, _, value = (piece.strip() for piece in part.partition('='))
            if name in ('kind', 'contrast'):
                found[name] = value
                continue
            try:
                found[name] = int(value) if name == 'presence_top' else float(value)
            except ValueError:
                raise UserError(
                    f'rejection {part.strip()!r} must be a name and a number, such as '
                    'margin=0.1, or contrast=auto; words are said by --background, or in JSON'
                ) from None
        return cls.build(found)

    @classmethod
    def _chained(cls, rules: Sequence[Any]) -> Rejection:
        if not rules:
            raise UserError("rejection is an empty list; say 'none' to reject nothing")
        built = [cls.build(rule) for rule in rules]
        kinds = [rule.kind for rule in built if rule.kind in _PLACES] or [built[0].kind]
        if len(set(kinds)) > 1:
            raise UserError('rejection has both background words and class 0 as background')
        chain: dict[str, Any] = {'kind': kinds[0]}
        for rule in built:
            if not rule.rejects and len(built) > 1:
                raise UserError("rejection 'none' cannot be part of a list of rules")
            for field in fields(cls)[1:]:
                value = getattr(rule, field.name)
                if value == field.default:
                    continue
                if chain.get(field.name, value) != value:
                    raise UserError(f'rejection says {field.name} twice')
                chain[field.name] = value
        return cls(**chain)

    @property
    def rejects(self) -> bool:
        """Whether pixels can end in a background class at all."""
        return self.kind != 'none'

    @property
    def gates_images(self) -> bool:
        """Whether an image as a whole decides which classes it can have."""
        return self.min_area > 0 or self.presence_top > 0 or self.presence_within > 0

    def uses(self, name: str) -> bool:
        """Whether a field that is a test has a value.

        Args:
            name: of the field.
        """
        value = getattr(self, name)
        if isinstance(value, str):
            return bool(value)
        return value is not None and (name == 'energy' or value > 0)

    def check_fit(self, classes: int, scale: float) -> None:
        """Stops at another scale than the limits were fitted at; says another number of classes.

        Args:
            classes: how many compete.
            scale: factor of the scores before the softmax.

        Raises:
            UserError: see :meth:`Fitting.check_scale`.
        """
        if self.fitted is not None:
            self.fitted.check_scale(scale)
            self.fitted.check_number(classes)

    def describe(self) -> str:
        """The rule in words, for protocols and tables.

        Example:
            >>> Rejection('threshold', 0.3, ('wall',)).describe()
            'the words wall; best probability below 0.3'
        """
        parts = []
        if self.kind == 'class_zero':
            parts.append('class 0, the best of its words')
        if self.words:
            parts.append(f'the words {", ".join(self.words)}')
        if self.contrast:
            parts.append(f'contrast words of {self.contrast}')
        parts += [self.describe_test(name) for name in _TESTS if self.uses(name)]
        if parts and self.fitted is not None:
            parts[-1] += f' (fitted on {self.fitted.classes} classes)'
        return '; '.join(parts) or 'none'

    def describe_test(self, name: str) -> str:
        """One test of the chain in words.

        Args:
            name: of its field.
        """
        value = getattr(self, name)
        return _TESTS[name].format(exact(100 * value) if name == 'min_area' else exact(value))

    def options(self) -> str:
        """What is typed to get the rule: the options of a command line.

        Example:
            >>> print(Rejection('margin', margin=0.0625, words=('sky',)).options())
            --rejection "margin=0.0625" --background "sky"
        """
        said = [f'{name}={exact(getattr(self, name))}' for name in _TESTS if self.uses(name)]
        if self.contrast:
            said.append(f'contrast={self.contrast}')
        if self.kind == 'class_zero':
            said.insert(0, 'kind=class_zero')
        found = [f'--rejection "{", ".join(said)}"'] if said else []
        if self.words:
            found.append(f'--background "{", ".join(self.words)}"')
        return ' '.join(found)

    def to_dict(self) -> dict[str, Any]:
        """The rule as plain values that JSON holds; ``Rejection.build`` reads it back."""
        fitted = None if self.fitted is None else self.fitted.to_dict()
        found = {**asdict(self), 'words': list(self.words), 'fitted': fitted}
        plain = ('kind', 'threshold', 'words', 'min_area')
        defaults = {field.name: field.default for field in fields(self)}
        return {
            name: value for name, value in found.items() if name in plain or value != defaults[name]
        }


# Fields that are tests, and what they say, in the order of their words.
_TESTS = {
    'threshold': 'best probability below {}',
    'margin': 'best class ahead by less than {}',
    'energy': 'energy above {}',
    'presence_top': 'only the {} likeliest classes of an image',
    'presence_within': "only classes within {} of an image's likeliest",
    'contrast_margin': 'ahead of the words for none of these by less than {}',
    'min_area': 'classes of at most {}% of the foreground',
}
