"""Characters and classes, normal forms, and the order on paper."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_lstm.handwriting import BLANK, Codec
from spatial_lstm.handwriting.text import FORMS, Form, is_right_to_left, normal_text, turned


def test_classes_are_the_sorted_characters_from_one() -> None:
    codec = Codec.of_texts(["banana", "é b"])
    assert codec.characters == (" ", "a", "b", "n", "é")
    assert codec.classes == 6
    assert codec.encode("  é\tab ") == [5, 1, 2, 3]
    assert codec.decode([5, 1, 2, 3]) == "é ab"
    assert BLANK not in codec.encode("banana é b")


@pytest.mark.parametrize(("form", "length"), [("NFC", 1), ("NFD", 2), ("NFKC", 1), ("NFKD", 2)])
def test_texts_are_in_the_codecs_normal_form(form: str, length: int) -> None:
    codec = Codec.of_texts(["é", "e\u0301", "ﬁ"], form=form)
    assert len(codec.encode("e\u0301")) == length
    assert codec.encode("e\u0301") == codec.encode("é")
    assert ("ﬁ" in codec.characters) == (form in ("NFC", "NFD"))
    assert codec.decode(codec.encode("e\u0301")) == unicodedata.normalize(form, "é")


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_is_in_the_codecs_normal_form(form: Form) -> None:
    """A mark that is read behind another letter than in the texts, and spaces where these have none."""
    codec = Codec(" nu\u0303", form=form)
    assert codec.decode([1, 2, 4, 1, 1, 3, 1]) == unicodedata.normalize(form, "n\u0303 u")


def test_unknown_characters_are_counted_and_told() -> None:
    codec = Codec.of_texts(["abc"])
    assert codec.unknown(["abcd", "dx "]) == {"d": 2, "x": 1}
    with pytest.raises(ValueError, match=r"got 'd' \(U\+0064\), 'x' \(U\+0078\) in 'dax'"):
        codec.encode("dax")
    assert codec.encode("dax", skip_unknown=True) == [1]


def test_new_characters_go_behind_the_old() -> None:
    codec = Codec.of_texts(["bd"], form="NFD", right_to_left=False)
    more = codec.extended(["abcd", "é"])
    assert more.characters == ("b", "d", "a", "c", "e", "\u0301")
    assert more.encode("bd") == codec.encode("bd")
    assert more.form == "NFD"
    assert codec.extended(["bd"]) == codec


def test_a_codec_goes_through_json() -> None:
    codec = Codec.of_texts(["אב ג"]).extended(["\U0001d518"])
    assert codec.right_to_left
    told = json.loads(json.dumps(codec.to_dict()))
    assert Codec.from_dict(told) == codec
    assert hash(Codec.from_dict(told)) == hash(codec)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"characters": ["a"], "form": "NFC", "right_to_left": False},
        {"characters": "a", "form": "NFX", "right_to_left": False},
        {"characters": "a", "form": "NFC", "right_to_left": 0},
        {"characters": "", "form": "NFC", "right_to_left": False},
        {"characters": "aa", "form": "NFC", "right_to_left": False},
    ],
    ids=["nothing", "a list", "a form", "a number", "no character", "twice"],
)
def test_what_is_no_codec_is_an_error(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Codec.from_dict(told)


def test_texts_without_characters_are_an_error() -> None:
    with pytest.raises(ValueError, match="got 2 without any"):
        Codec.of_texts(["", " \n"])
    with pytest.raises(ValueError, match="expected characters of one code point each"):
        Codec(["ab"])
    with pytest.raises(ValueError, match="expected a form of NFC, NFD, NFKC, NFKD, got 'nfc'"):
        normal_text("a", "nfc")


@pytest.mark.parametrize("number", [0, 3, -1])
def test_classes_of_no_character_are_an_error(number: int) -> None:
    with pytest.raises(ValueError, match=f"expected classes from 1 to 2, got {number}"):
        Codec(["a", "b"]).decode([1, number])


ORDERS = {
    # reading, on paper where lines begin at the right, and where they begin at the left
    "אבג": ("גבא", "גבא"),
    "abc": ("abc", "abc"),
    "אב 12,5 ג": ("ג 12,5 בא", "ג 12,5 בא"),
    "אב abc def גד": ("דג abc def בא", "בא abc def דג"),
    "(אב)": ("(בא)", "(בא)"),
    "(אב) ab": ("ab (בא)", "(בא) ab"),
    "שָׁלוֹם": ("םוֹלשָׁ", "םוֹלשָׁ"),
}


@pytest.mark.parametrize("text", ORDERS)
def test_the_order_on_paper(text: str) -> None:
    from_right, from_left = ORDERS[text]
    assert turned(text, right_to_left=True) == from_right
    assert turned(text, right_to_left=False) == from_left


letters = st.text("אבג\u062f\u0627\u0628abc 12.,()«[<-\u05b8\u0301", max_size=20)


@settings(deadline=None)
@given(text=letters, right_to_left=st.booleans())
def test_turning_twice_is_the_text(text: str, right_to_left: bool) -> None:
    assert turned(turned(text, right_to_left=right_to_left), right_to_left=right_to_left) == text


@settings(deadline=None)
@given(text=letters, right_to_left=st.sampled_from([True, False, None]), form=st.sampled_from(FORMS))
def test_what_is_encoded_is_decoded(text: str, right_to_left: bool | None, form: Form) -> None:
    """All of it, by a codec of no other text, and by an older one with what that lacked."""
    codec = Codec.of_texts([text, "א"], form=form, right_to_left=right_to_left)
    for able in (codec, Codec("x", form=form, right_to_left=codec.right_to_left).extended([text])):
        assert able.decode(able.encode(text)) == able.normal(text)
        assert len(able.encode(text)) == len(able.normal(text))
        assert not able.unknown([text])


@pytest.mark.parametrize(("text", "right_to_left"), [("א) שלום", True), ("abc אב)גד x", False)])
def test_a_bracket_whose_mirror_image_is_unknown_is_not_dropped(text: str, right_to_left: bool) -> None:
    codec = Codec(sorted(set(text)), right_to_left=right_to_left)
    assert codec.unknown([text]) == {"(": 1}
    with pytest.raises(ValueError, match=r"got '\(' \(U\+0028\) in .*, on paper '.*\(.*'"):
        codec.encode(text)
    assert len(codec.encode(text, skip_unknown=True)) == len(text) - 1
    assert codec.extended([text]).characters == (*codec.characters, "(")
    assert Codec.of_texts([text]).unknown([text]) == {}


def test_the_side_is_that_of_most_letters() -> None:
    assert is_right_to_left("אב 123 a")
    assert not is_right_to_left("א 123 ab")
    assert not is_right_to_left("")
    codec = Codec.of_texts(["אבג 12"])
    assert codec.decode(codec.encode("אבג 12")) == "אבג 12"
    assert [codec.characters[k - 1] for k in codec.encode("אב 12")] == list("12 בא")
    assert not Codec.of_texts(["אבג"], right_to_left=False).right_to_left
