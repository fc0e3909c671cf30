# SPDX-License-Identifier: Apache-2.0
"""The value class of the code base: immutable, with named fields, compared by value.

It generates no code: for a one-shot process, `dataclasses` or msgspec would take a fifth of its time (ADR 8).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar, dataclass_transform

    Value = TypeVar("Value", bound="Record")
else:

    def dataclass_transform(**_: bool) -> object:
        """Only type checkers need it; loading `typing` takes longer than loading podwire."""
        return lambda decorated: decorated


@dataclass_transform(frozen_default=True, kw_only_default=False)
class Record:
    """An immutable value: its annotations are its fields, inherited ones first; assigned ones have a default.

    Values of one class with equal fields are equal. All values share the defaults, which must be immutable too.
    """

    __slots__ = ("__dict__", "_hash")

    __match_args__: tuple[str, ...] = ()
    _defaults: dict[str, object] = {}
    if TYPE_CHECKING:
        _hash: int

    def __init_subclass__(cls) -> None:
        own = cls.__dict__.get("__annotations__", ())  # noqa: RUF063  `inspect` takes long to load
        cls.__match_args__ = (*cls.__match_args__, *own)  # type: ignore[misc]  # mypy expects a literal
        cls._defaults = cls._defaults | {name: cls.__dict__[name] for name in own if name in cls.__dict__}

    def __init__(self, *values: object, **named: object) -> None:
        state = self.__dict__
        if len(values) + len(named) < len(self.__match_args__):
            state.update(self._defaults)
        state.update(zip(self.__match_args__, values))  # noqa: B905  the length is checked below
        if named:
            state.update(named)
        if len(state) != len(self.__match_args__) or len(values) > len(state):
            raise TypeError(f"{type(self).__name__} has the fields {self.__match_args__}, not {(*values, *named)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return self.__class__ is other.__class__ and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            found = hash(tuple(map(self.__dict__.__getitem__, self.__match_args__)))
            object.__setattr__(self, "_hash", found)
            return found

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({values})"


def replace(record: Value, **changes: object) -> Value:
    """A copy of a record with other values in the fields that are named."""
    return type(record)(**{**record.__dict__, **changes})
