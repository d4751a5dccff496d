"""Characters and the classes that a network scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from spatial_lstm.handwriting.text import FORMS, Form, is_right_to_left, normal_text, turned

# The class of CTC that stands for no character.
BLANK = 0


class Codec:
    """From text to classes and back. Class 0 is CTC's blank, the characters follow from 1 in the order given.

    Texts are learnt in a normal form of Unicode, with one space for each run of white space, and, where lines begin at the right, turned
    into the order on paper, see :mod:`spatial_lstm.handwriting.text`; what is read is turned back, and in that form.

    Args:
        characters: Each once, of one code point.
        form: ``"NFC"``, ``"NFD"``, ``"NFKC"`` or ``"NFKD"``.
        right_to_left: Whether lines begin at the right.

    Raises:
        ValueError: If there is no character, one is there twice or is of another length, or there is no such form.

    Example:
        >>> codec = Codec.of_texts(["abba", "c"])
        >>> codec.encode("cab")
        [3, 1, 2]
        >>> codec.decode([3, 1, 2])
        'cab'
    """

    def __init__(self, characters: Sequence[str], *, form: Form = "NFC", right_to_left: bool = False) -> None:
        if form not in FORMS:
            raise ValueError(f"expected a form of {', '.join(FORMS)}, got {form!r}")
        if not characters or any(len(character) != 1 for character in characters):
            raise ValueError(f"expected characters of one code point each, got {list(characters)[:5]}")
        self.characters = tuple(characters)
        self.form: Form = form
        self.right_to_left = bool(right_to_left)
        self._classes = {character: number for number, character in enumerate(self.characters, BLANK + 1)}
        if len(self._classes) < len(self.characters):
            twice = next(character for character, count in Counter(self.characters).items() if count > 1)
            raise ValueError(f"expected each character once, got {twice!r} twice")

    @classmethod
    def of_texts(cls, texts: Iterable[str], *, form: Form = "NFC", right_to_left: bool | None = None) -> Codec:
        """The codec of all characters of some texts as they are on paper, sorted: of a bracket that is turned the mirrored one.

        Args:
            texts: To learn from.
            form: As above.
            right_to_left: As above; None: if most letters are of scripts that are written so.

        Raises:
            ValueError: If the texts have no character.
        """
        normal = [normal_text(text, form) for text in texts]
        turn = is_right_to_left("".join(normal)) if right_to_left is None else right_to_left
        characters = sorted(set().union(*(turned(text, right_to_left=turn) for text in normal)))
        if not characters:
            raise ValueError(f"expected texts with characters, got {len(normal)} without any")
        return cls(characters, form=form, right_to_left=turn)

    @property
    def classes(self) -> int:
        """How many classes a network scores, the characters and the blank."""
        return len(self.characters) + 1

    def __repr__(self) -> str:
        return f"Codec({len(self.characters)} characters, form={self.form!r}, right_to_left={self.right_to_left})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Codec) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.characters, self.form, self.right_to_left))

    def normal(self, text: str) -> str:
        """A text in the form in which it is learnt and compared, in the order of reading."""
        return normal_text(text, self.form)

    def _on_paper(self, text: str) -> str:
        return turned(self.normal(text), right_to_left=self.right_to_left)

    def encode(self, text: str, *, skip_unknown: bool = False) -> list[int]:
        """The classes of a text in normal form, in the order on paper.

        Args:
            text: Any text.
            skip_unknown: Whether characters that the codec does not have are passed over.

        Raises:
            ValueError: If there are such, and they are not to be skipped.
        """
        on_paper = self._on_paper(text)
        if not skip_unknown and (unknown := set(on_paper) - self._classes.keys()):
            told = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in sorted(unknown))
            where = repr(text) if unknown <= set(self.normal(text)) else f"{text!r}, on paper {on_paper!r}"
            raise ValueError(f"expected the codec's {len(self.characters)} characters, got {told} in {where}")
        return [self._classes[character] for character in on_paper if character in self._classes]

    def decode(self, classes: Iterable[int]) -> str:
        """The text of some classes, blanks and repetitions removed already, in normal form and the order of reading.

        Raises:
            ValueError: If a number is none of a character's.
        """
        found = []
        for number in classes:
            if not BLANK < number < self.classes:
                raise ValueError(f"expected classes from 1 to {len(self.characters)}, got {number}")
            found.append(self.characters[number - 1])
        return self.normal(turned("".join(found), right_to_left=self.right_to_left))

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """The characters of some texts, as they are on paper, that the codec does not have, and how often each occurs."""
        count = Counter(character for text in texts for character in self._on_paper(text))
        return Counter({character: number for character, number in count.items() if character not in self._classes})

    def extended(self, texts: Iterable[str]) -> Codec:
        """The codec with the new characters of some texts behind its own, whose classes stay what they are."""
        new = sorted(self.unknown(texts))
        return Codec([*self.characters, *new], form=self.form, right_to_left=self.right_to_left)

    def to_dict(self) -> dict[str, str | bool]:
        """Return what a model file keeps; :meth:`from_dict` makes the codec again."""
        return {"characters": "".join(self.characters), "form": self.form, "right_to_left": self.right_to_left}

    @classmethod
    def from_dict(cls, told: Mapping[str, object]) -> Codec:
        """The codec that :meth:`to_dict` was asked of.

        Raises:
            ValueError: If something is missing or of another kind.
        """
        match told:
            case {"characters": str(characters), "form": str(form), "right_to_left": bool(turn)} if form in FORMS:
                return cls(list(characters), form=form, right_to_left=turn)
        raise ValueError(f"expected characters, form and right_to_left of a codec, got {dict(told)}")
