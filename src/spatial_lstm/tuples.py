"""What named tuples that modules return have in common: programs that do not know them can handle them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch.utils import _pytree

T = TypeVar("T", bound="tuple[Any, ...]")


def returned(kind: type[T]) -> type[T]:
    """Make a class of named tuples one that modules can return.

    It may be made of one iterable, too, as lists and tuples are: programs change what is in any sequence by ``type(x)(f(y) for y in x)``.
    ``torch.load`` reads it with ``weights_only=True``, and ``torch.export.save`` writes programs that take or return it.
    """
    make = kind.__new__

    @functools.wraps(make)
    def __new__(kind: type[T], *values: Any, **named: Any) -> T:
        if len(values) == 1 and not named and isinstance(values[0], Iterable):
            values = tuple(values[0])
        made: T = make(kind, *values, **named)
        return made

    # torch.compile knows the constructors of named tuples, which it leaves alone, by their name and by where they seem to be written.
    __new__.__code__ = __new__.__code__.replace(co_filename="<string>")  # type: ignore[attr-defined]
    kind.__new__ = __new__  # type: ignore[assignment, method-assign]
    torch.serialization.add_safe_globals([kind])
    # Saved programs name the types of what they take and return. A private name of torch, 2.6 to 2.13; where it is gone, such programs are
    # not saved, and all else goes on.
    if hasattr(_pytree, "_register_namedtuple"):
        _pytree._register_namedtuple(kind, serialized_type_name=f"spatial_lstm.{kind.__name__}")
    return kind
