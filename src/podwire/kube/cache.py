"""The slim values of all objects of one resource, as last received. May be read from any thread."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Values by key. The informer's thread writes, any thread reads."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._lock = threading.Lock()
        self.complete = False
        """A whole list has been received."""

        self.heard_at = 0.0
        """When the API server last sent something (monotonic seconds), 0 if never."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """The value of a key; None where there is no such object."""
        return self._values.get(key)

    def snapshot(self) -> dict[str, Value]:
        """All values at this moment: a copy."""
        with self._lock:
            return dict(self._values)

    def put(self, key: str, value: Value | None) -> bool:
        """Set a value, or remove it (None). Is it another value than before?"""
        if self._values.get(key) == value:
            return False
        with self._lock:
            if value is None:
                del self._values[key]
            else:
                self._values[key] = value
        return True

    def replace(self, values: dict[str, Value]) -> set[str]:
        """Set all values; the keys whose values differ. A value that is equal stays the same object."""
        before, changed = self._values, set()
        for key, value in values.items():
            old = before.get(key)
            if old == value:
                values[key] = old
            else:
                changed.add(key)
        changed |= before.keys() - values.keys()
        with self._lock:
            self._values = values
        self.complete = True
        return changed
