"""Columns: exact numbers as integers with a common number of decimal places."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

Integers: TypeAlias = npt.NDArray[Any]
"""``int64`` where every value fits, else ``object`` holding Python integers."""
Flags: TypeAlias = npt.NDArray[np.bool_]

# Products of finite numbers never need more digits than the factors have together, so this costs no memory.
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation])
_SAMPLES: Final = 100
_ZERO: Final = Decimal(0)


@frozen(eq=False)
class Column:
    """Numbers as ``values / 10**digits``, immutable. Where `given` is false a number is not known, its value then is 0.

    `given` is ``None`` where all are known. `values` are ``int64``, or Python integers (``object``) where one does not
    fit: nothing is ever rounded.
    """

    values: Integers
    digits: int = 0
    given: Flags | None = None

    def __attrs_post_init__(self) -> None:
        self.values.flags.writeable = False
        if self.given is not None:
            self.given.flags.writeable = False

    @classmethod
    def of_decimals(cls, numbers: Sequence[Decimal | None]) -> Column:
        """Return `numbers` with as many digits as they have; raises `ValueError` for one that is not finite."""
        given = _given(numbers)
        known = [_ZERO if number is None else number for number in numbers]
        try:
            # Few markets change their number of digits, and looking at all of them takes longer than the rest.
            digits = _digits(known[:: len(known) // _SAMPLES + 1])
            try:
                values = _scaled(known, digits)
            except Inexact:
                digits = _digits(known)
                values = _scaled(known, digits)
        except (InvalidOperation, OverflowError, ValueError):
            raise ValueError("a price or a volume is not a finite number") from None
        return cls(integers(values), digits, given)

    @classmethod
    def of_integers(cls, numbers: Sequence[int | None]) -> Column:
        """Return whole `numbers`."""
        return cls(integers([number or 0 for number in numbers]), 0, _given(numbers))

    def __len__(self) -> int:
        return len(self.values)

    def split(self, parts: int) -> list[Column]:
        """Return `parts` columns of equal length, one after the other; everything in this one must be given."""
        return [Column(values, self.digits) for values in np.split(self.values, parts)]

    def as_decimals(self) -> list[Any]:
        """Return the numbers as `Decimal`, ``None`` where not given."""
        unit = Decimal((0, (1,), -self.digits))
        return self._marked(list(map(_EXACT.multiply, map(Decimal, self.values.tolist()), repeat(unit))))

    def as_integers(self) -> list[Any]:
        """Return the values, ``None`` where not given."""
        return self._marked(self.values.tolist())

    def _marked(self, numbers: list[Any]) -> list[Any]:
        if self.given is not None:
            for row in np.flatnonzero(~self.given).tolist():
                numbers[row] = None
        return numbers


def integers(numbers: Sequence[int]) -> Integers:
    """Return `numbers` as an array, of Python integers where one does not fit into 64 bits."""
    try:
        return np.array(numbers, dtype=np.int64)
    except OverflowError:
        return np.array(numbers, dtype=object)


def narrowed(values: Integers) -> Integers:
    """Return Python integers as 64-bit ones if all of them fit, other `values` as they are."""
    if values.dtype != object:
        return values
    try:
        return values.astype(np.int64)
    except OverflowError:
        return values


def _given(numbers: Sequence[object]) -> Flags | None:
    if None not in numbers:
        return None
    return np.fromiter((number is not None for number in numbers), np.bool_, len(numbers))


def _digits(numbers: Sequence[Decimal]) -> int:
    """Return how many decimal places the finite ones of `numbers` are written with."""
    exponents = (number.as_tuple().exponent for number in numbers)
    return max(0, *(-exponent for exponent in exponents if isinstance(exponent, int)), 0)


def _scaled(numbers: Sequence[Decimal], digits: int) -> list[int]:
    """Return ``numbers * 10**digits``; raises `Inexact` where that is no whole number."""
    factor = Decimal((0, (1,), digits))
    return list(map(int, map(_EXACT.to_integral_exact, map(_EXACT.multiply, numbers, repeat(factor)))))
