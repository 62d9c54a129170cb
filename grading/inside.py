"""Lies in the box beside the student's kernel, imported before any of the student's cells: answers
what a probe asks, as JSON.

Everything it uses was bound before the student's first line ran, so a redefined `print`, `len` or
`json.dumps` changes nothing here. It knows no expected value: who forges its answer has to know
what the right one is.
"""

import builtins
import json
import math

import numpy as np

_ORIGINAL = dict(vars(builtins))
_dumps, _isfinite, _array, _generic = json.dumps, math.isfinite, np.ndarray, np.generic
_type, _len, _isinstance, _callable = type, len, isinstance, callable
_exec, _compile, _Exception = exec, compile, Exception
_dict, _list, _tuple, _str = dict, list, tuple, str
_float, _int, _bool = float, int, bool
MOST, LONGEST = 2_000, 10_000  # numbers of a value, characters of a text
WIDEST = 64  # bits of an integer


class _Json(str):
    """Text that IPython shows without quotes."""

    __repr__ = str.__str__


def _plain(value, depth=0):
    """As JSON: exact types only, so an object that pretends to be a number stays an object."""
    kind = _type(value)
    if value is None or kind is _bool:
        return value
    if kind in (_int, _str):
        size, most = (value.bit_length(), WIDEST) if kind is _int else (_len(value), LONGEST)
        return value if size <= most else {"objek": kind.__name__}
    if kind is _float:
        return value if _isfinite(value) else {"bukan bilangan": _str(value)}
    if kind is _array and value.dtype.kind in "biuf" and value.size <= MOST:
        return _plain(value.tolist(), depth)
    if kind.__module__ == "numpy" and _isinstance(value, _generic) and value.dtype.kind in "biufU":
        return _plain(value.item(), depth)
    if kind.__module__ == "torch" and kind.__name__ == "Tensor" and value.numel() <= MOST:
        return _plain(value.detach().cpu().tolist(), depth)
    if kind in (_list, _tuple) and _len(value) <= MOST and depth < 6:
        return [_plain(item, depth + 1) for item in value]
    if kind is _dict and _len(value) <= MOST and depth < 6:
        return {
            _str(key): _plain(item, depth + 1)
            for key, item in value.items()
            if _type(key) in (_str, _int)
        }
    return {"objek": kind.__name__}


def _value(make):
    try:
        return _plain(make() if _callable(make) else make)
    except _Exception as error:
        return {"galat": _type(error).__name__}


def ask(code, names):
    """Run a probe on a copy of the student's names; JSON of the dict `hasil` that it fills."""
    space = {k: v for k, v in names.items() if k not in _ORIGINAL}
    space["__builtins__"], space["hasil"] = _dict(_ORIGINAL), {}
    try:
        _exec(_compile(code, "<pemeriksaan>", "exec"), space)
    except _Exception as error:
        return _Json(_dumps({"": {"galat": _type(error).__name__}}))
    return _Json(_dumps({_str(key): _value(make) for key, make in space["hasil"].items()}))
