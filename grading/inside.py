"""Lies in the box beside the student's kernel, imported before any of the student's cells: answers
what a probe asks, as JSON. It knows no expected value.
"""

import builtins
from json import dumps
from math import isfinite

# so that a builtin that the student's code replaces stays itself in the functions below
__builtins__ = dict(vars(builtins))
MOST, LONGEST = 2_000, 10_000  # numbers of a value, characters of a text
WIDEST = 64  # bits of an integer


class _Json(str):
    """Text that IPython shows without quotes."""

    __repr__ = str.__str__


def _plain(value, depth=0):
    """As JSON: exact types only, so an object that pretends to be a number stays an object."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if (kind is int and value.bit_length() <= WIDEST) or (kind is str and len(value) <= LONGEST):
        return value
    if kind is float:
        return value if isfinite(value) else {"bukan bilangan": str(value)}
    if kind.__module__ in ("numpy", "torch") and hasattr(kind, "tolist"):
        return _plain(value.tolist(), depth + 1)
    if kind in (list, tuple) and len(value) <= MOST and depth < 6:
        return [_plain(item, depth + 1) for item in value]
    if kind is dict and len(value) <= MOST and depth < 6:
        texts = {str(key): item for key, item in value.items() if type(key) in (str, int)}
        return {key: _plain(item, depth + 1) for key, item in texts.items()}
    return {"objek": kind.__name__}


def _value(make):
    try:
        return _plain(make() if callable(make) else make)
    except Exception as error:
        return {"galat": type(error).__name__}


def ask(code, names):
    """Run a probe on a copy of the student's names; JSON of the dict `hasil` that it fills."""
    space = {name: value for name, value in names.items() if name not in __builtins__}
    space["__builtins__"], space["hasil"] = dict(__builtins__), {}
    try:
        exec(compile(code, "<pemeriksaan>", "exec"), space)
    except Exception as error:
        return _Json(dumps({"": {"galat": type(error).__name__}}))
    return _Json(dumps({str(key): _value(make) for key, make in space["hasil"].items()}))
