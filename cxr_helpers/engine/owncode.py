"""A student's own code as text: a small program of each part as it stands in the call and of every
definition that it rests on, as executed. It is part of the run's key, and every training executes
it anew in an empty namespace.
"""

import ast
import builtins
import hashlib
import importlib.util
import linecache
import os
import symtable
import sys
import types
from functools import cache
from itertools import count
from pathlib import Path

import executing
import numpy as np
import torch
from torch import Tensor, nn

from cxr_helpers.engine.errors import InputError

PARTS = "BAGIAN"  # the name that a program gives its parts
DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
DEFINED = (type, types.FunctionType, types.BuiltinFunctionType)
TRAINING = ("cxr_helpers.study", "cxr_helpers.experiments")  # none is part of another
NUMBERS = 4096  # an array or tensor of no more is kept by its values
ITSELF = "tidak dijalankan lagi oleh pelatihan; tulis float(nilai), atau network=lambda: Net(lebar)"
_numbers = count(1)


class Unknown(Exception):
    """A value whose text cannot be found; the message (Indonesian) says which and why."""


class Own(types.SimpleNamespace):
    """What a file of one's own defines; text_: what was executed, name_: the file's name."""


def load(path: str | Path) -> Own:
    """What a Python file defines, as `import` would give it. Raises InputError."""
    path = Path(path).expanduser()
    try:
        source = path.read_text(encoding="utf-8-sig")
        compile(source, path.name, "exec")
    except (SyntaxError, OSError, ValueError) as error:
        where = f"baris {error.lineno}" if isinstance(error, SyntaxError) else "letak dan isinya"
        raise InputError(f"Berkas {path} tidak terbaca sebagai Python: periksa {where}.") from None
    return read(path.name, source)


def read(name: str, source: str) -> Own:
    """What the text of a file defines."""
    defined = _execute(source, f"<{name} {next(_numbers)}>")
    public = {key: value for key, value in defined.items() if not key.startswith("__")}
    return Own(**public | {"name_": name, "text_": source})


def _execute(source: str, filename: str) -> dict:
    """Namespace of an executed text, which can be read again under its filename."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    # Known by its filename, so that a class of this text finds its namespace where it looks for it.
    module = sys.modules[filename] = types.ModuleType(filename)
    exec(compile(source, filename, "exec"), module.__dict__)
    return module.__dict__


def namespace(source: str) -> dict[str, object]:
    """What a program defines, made anew; under PARTS its parts."""
    return _execute(source, f"<kode sendiri {next(_numbers)}>")


def expressions(source: str) -> dict[str, str]:
    """{"network": "partial(Net, width=8)", …}: the parts of a program as they were written, with
    the values of plain names.
    """
    if not source:
        return {}
    *above, parts = ast.parse(source).body
    plain = [n for n in above if isinstance(n, ast.Assign) and not _names(n.value)]
    values = {ast.unparse(n.targets[0]): ast.unparse(n.value)[:40] for n in plain}
    for node in ast.walk(parts.value):
        if isinstance(node, ast.Name):
            node.id = values.get(node.id, node.id)
    made = zip(parts.value.keys, parts.value.values, strict=True)
    return {name.value: ast.unparse(part) for name, part in made}


def files_read(source: str) -> dict[str, str]:
    """SHA-256 of the files that a program names, but those of Python: it holds their text."""
    digests = {}
    for node in ast.walk(_tree(source)):
        text = getattr(node, "value", None)
        if isinstance(text, str) and "\n" in text:
            digests |= files_read(text)  # of `load`
        elif isinstance(text, str) and os.path.isfile(text) and not text.endswith(".py"):
            digests[text] = hashlib.sha256(Path(text).read_bytes()).hexdigest()
    return digests


def program(parts: dict[str, object], frame: types.FrameType) -> str:
    """The program that makes `parts`, keyword arguments of the call in `frame`, or Unknown."""
    cells = [_without_magic(cell) for cell in frame.f_globals.get("In", []) if cell]
    text = "".join(linecache.getlines(frame.f_code.co_filename)) or "".join(cells[-1:])
    if text.rstrip("\n") not in cells:
        cells.append(text)
    collector = _Collector(frame, cells)
    written, lines = _arguments(text, frame), []
    for name, value in parts.items():
        source = written.get(name) or getattr(value, "__name__", "")
        if name not in written and frame.f_globals.get(source) is not value:
            raise Unknown(f"teks {name} tidak ditemukan; tuliskan {name}=… pada panggilannya")
        collector.need(f"({source})", in_call=True)  # of several lines, it is one expression
        lines.append(f"    {name!r}: {source},\n")
    imports = "\n".join(sorted(set(collector.imports)))
    pieces = [imports, *collector.written, f"{PARTS} = {{\n{''.join(lines)}}}"]
    return "\n\n".join(filter(None, pieces)) + "\n"


def rewritten(source: str, frame: types.FrameType) -> list[str]:
    """Functions and classes of a program that a cell has defined otherwise since."""
    latest = {}
    for cell in frame.f_globals.get("In", []):
        for statement in _statements(_without_magic(cell)):
            latest |= dict.fromkeys(statement.binds, statement.source)
    defined = [s for s in _statements(source) if isinstance(s.node, DEFINITIONS)]
    return [n for s in defined for n in s.binds if latest.get(n, s.source) != s.source]


def passed(parts: dict, source: str, frame: types.FrameType) -> dict[str, object]:
    """What a program defines, as it is where the call in `frame` stands; see `namespace`."""
    here = frame.f_globals | frame.f_locals
    names = set().union(*(statement.binds for statement in _statements(source)))
    now = {name: _as_now(part) for name, part in parts.items()}
    return {name: here[name] for name in names & here.keys()} | {PARTS: now}


def _as_now(part: object) -> object:
    """A function with what is around it as it is now: a loop over experiments goes on."""
    if isinstance(part, list | tuple):
        return [_as_now(step) for step in part]
    if not isinstance(part, types.FunctionType):
        return part
    cells = tuple(types.CellType(cell.cell_contents) for cell in part.__closure__ or ())
    given = (part.__code__, dict(part.__globals__), part.__name__, part.__defaults__, cells)
    now = types.FunctionType(*given)
    now.__kwdefaults__ = part.__kwdefaults__
    return now


def _tensors(made: dict[str, object]) -> dict[str, Tensor]:
    """{place: tensor} of a namespace, and whether a module is in train mode; no lazy ones."""
    tensors = {}
    for place, value in (made | made[PARTS]).items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(value)
        if isinstance(value, Tensor):
            tensors[place] = value
        elif isinstance(value, nn.Module):
            named = [*value.named_parameters(), *value.named_buffers()]
            named += [(f"{n} mode", torch.tensor(m.training)) for n, m in value.named_modules()]
            tensors |= {f"{place}.{name}": tensor for name, tensor in named}
    return {place: t for place, t in tensors.items() if not nn.parameter.is_lazy(t)}


def align(made: dict[str, object], given: dict[str, object]) -> str:
    """Give the random parameters of a program's namespace the values of those that were passed.
    Returns what else differs, in words, or "".
    """
    ours, theirs = _tensors(made), _tensors(given)
    for place in ours | theirs:
        one, other = ours.get(place), theirs.get(place)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            return f"bentuk {place}"
        if one.requires_grad != other.requires_grad:
            return f"requires_grad {place}"
        # torch counts what changes a tensor in place, a step of training too, but for `.data`
        drawn = isinstance(one, nn.Parameter) and one._version == other._version
        if one.numel() >= 32:
            drawn = drawn and 0.5 < other.std() / one.std() < 2
        if not (drawn or torch.equal(one, other)):
            return f"nilai {place}"
        one.data.copy_(other.data)
    return ""


def _without_magic(cell: str) -> str:
    """The Python under %%time or %time, of which IPython makes the argument of a call."""
    body = _tree(cell).body
    if len(body) == 1:
        for node in ast.walk(body[0]):
            called = getattr(getattr(node, "func", None), "attr", "")
            if called in ("run_cell_magic", "run_line_magic"):
                return ast.literal_eval(node.args[-1])
    return cell


def _arguments(text: str, frame: types.FrameType) -> dict[str, str]:
    """The keyword arguments, as written in `text`, of the call that `frame` executes."""
    name = frame.f_code.co_filename
    untold = not linecache.getlines(name)  # under %%time
    if untold:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    call = executing.Source.executing(frame).node
    if untold:  # the next such cell has another text
        del linecache.cache[name]
    return {w.arg: ast.get_source_segment(text, w.value) for w in getattr(call, "keywords", [])}


@cache
def _tree(text: str) -> ast.Module:
    """A text's syntax tree; an empty one where it is no Python."""
    try:
        return ast.parse(text)
    except SyntaxError:
        return ast.Module([], [])


@cache
def _globals_of(source: str) -> set[str]:
    """Names that a piece of code takes from around it, also inside its functions and classes."""
    names, tables = set(), [symtable.symtable(source, "kode", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            own = top and not symbol.is_imported()
            if symbol.is_referenced() and (own or symbol.is_global()):
                names.add(symbol.get_name())
    loops = [node for node in _tree(source).body if isinstance(node, ast.For)]
    return names.difference(*(_names(loop.target) for loop in loops))  # they bind it themselves


class Statement:
    """A statement of an executed text: the names it binds, changes, and gives other names to."""

    def __init__(self, text: str, node: ast.stmt):
        above = getattr(node, "decorator_list", [])
        lines = [f"@{ast.get_source_segment(text, decorator)}" for decorator in above]
        self.node, self.source = node, "\n".join([*lines, ast.get_source_segment(text, node)])
        symbols = symtable.symtable(self.source, "kode", "exec").get_symbols()
        self.binds = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
        inner = [] if isinstance(node, DEFINITIONS) else list(ast.walk(node))
        self.changes = set().union(*map(_changed_by, inner))
        for loop in inner:  # for p in net.parameters(): p.requires_grad = False
            looped = isinstance(loop, ast.For | ast.comprehension)
            if looped and _names(loop.target) & self.changes:
                self.changes |= _names(loop.iter)
        self.renames = _root(node.value) if isinstance(node, ast.Assign) else set()

    def keeps(self, name: str) -> bool:
        """Whether what a bound name was before matters: to x = x + 1, in an if, in a try."""
        if isinstance(self.node, DEFINITIONS):
            return False
        partly = isinstance(self.node, (ast.If, ast.Try, ast.AugAssign))
        return partly or name in _globals_of(self.source)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _changed_by(node: ast.AST) -> set[str]:
    """Names that a piece of code changes in place: x.a = 1, x.append(1), nn.init.ones_(x)."""
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
        return _root(node)
    called = getattr(getattr(node, "value", None), "func", None)
    if isinstance(node, ast.Expr) and isinstance(called, ast.Attribute):
        return _root(called)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_"):
        return set().union(*map(_root, [node.func, *node.args]))
    return set()


def _root(node: ast.AST) -> set[str]:
    """{"net"} of net.fc.weight[0]; empty where it begins with no name."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


@cache
def _statements(text: str) -> list[Statement]:
    """The outermost statements of a text."""
    return [Statement(text, node) for node in _tree(text).body]


class _Collector:
    """Gathers what a program rests on of the texts (oldest first): imports, and what is written."""

    def __init__(self, frame: types.FrameType, texts: list[str]):
        self.globals, names = frame.f_globals, frame.f_locals.items()
        self.locals = {name: value for name, value in names if self.globals.get(name) is not value}
        self.imports: list[str] = []
        self.written: list[str] = []
        self._executed = [statement for text in texts for statement in _statements(text)]
        self._collected: set[str] = set()

    def need(self, source: str, in_call: bool = False) -> None:
        """Collect what a definition, or (in_call) a part in the call, takes from around it."""
        _check_imports(source)
        changed = set().union(*map(_changed_by, ast.walk(_tree(source))))
        values = self.globals | (self.locals if in_call else {})
        for name in sorted(_globals_of(source) - self._collected):
            if name in changed and isinstance(values.get(name), list | dict | set):
                raise Unknown(f"{name} diisi kode itu, padahal pelatihan memakai salinannya")
            if name in values:
                self._collected.add(name)
                self._define(name, values[name])
            elif not hasattr(builtins, name):
                raise Unknown(f"nama {name} tidak dikenal")

    def _define(self, name: str, value: object) -> None:
        if notation := _notation(value):
            line, expression = notation
            self.imports += [line] if line else []
            self.written.append(f"{name} = {expression}")
        elif isinstance(value, types.ModuleType):
            _check_installed(value.__name__)
            self._import(f"import {value.__name__}", name)
        elif isinstance(value, DEFINED) and _importable(value):
            _check_installed(value.__module__)
            self._import(f"from {value.__module__} import {value.__qualname__}", name)
        elif any(kind.__module__ in TRAINING for kind in type(value).__mro__):
            raise Unknown(f"{name} {ITSELF}")
        else:
            self._from_text(name, value)

    def _import(self, line: str, name: str) -> None:
        self.imports.append(line if line.split()[-1] == name else f"{line} as {name}")

    def _from_text(self, name: str, value: object) -> None:
        """Collect the statements that bound a name and changed its value since; a class or function
        is taken by its own name, for a loop does not say which it was.
        """
        own_name = getattr(value, "__name__", name) if isinstance(value, DEFINED) else name
        if own_name != name and self.globals.get(own_name) is value:
            self.need(own_name)
            self.written.append(f"{name} = {own_name}")
            return
        sources, names = [], {name}
        for statement in () if name in self.locals else self._executed:
            anew = {bound for bound in statement.binds if not statement.keeps(bound)}
            names = names - anew | {name}
            if name in anew:
                sources, names = [], {name}
            if statement.renames & names:  # last = net.fc: what changes it changes net
                names |= statement.binds
            if names & (statement.binds | statement.changes):
                sources.append(statement.source)
        if not sources:
            raise Unknown(f"teks {name} tidak ditemukan; tuliskan pada panggilannya")
        self._collected |= names
        for source in sources:
            self.need(source)
        self.written += sources


def _notation(value: object) -> tuple[str, str] | None:
    """(what it imports, expression) that gives back a value; None where only its text does."""
    if isinstance(value, Own):
        _check_imports(value.text_)
        simple = "'''" not in value.text_ and "\\" not in value.text_
        quoted = f"'''\\\n{value.text_}'''" if simple else repr(value.text_)
        return "from cxr_helpers.engine import owncode", f"owncode.read({value.name_!r}, {quoted})"
    if isinstance(value, nn.Module) and hasattr(value, "again_"):
        return "from cxr_helpers import training", value.again_
    if _is_plain(value):
        return "", repr(value)
    few = isinstance(value, np.generic | np.ndarray) and value.size <= NUMBERS
    if few and _is_plain(value.tolist()):
        return "import numpy", f"numpy.{value.dtype.name}({value.tolist()!r})"
    if type(value) is Tensor and value.numel() <= NUMBERS and _is_plain(value.tolist()):
        return "import torch", f"torch.tensor({value.tolist()!r}, dtype={value.dtype})"
    return None


def _is_plain(value: object) -> bool:
    """Whether Python's own notation gives back the value: of numbers, words, lists of them, …"""
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def _importable(value: object) -> bool:
    """Whether `from module import name` gives back this very object."""
    module = getattr(value, "__module__", None) or "__main__"
    a_file = not module.startswith(("__main__", "<"))
    return a_file and getattr(sys.modules.get(module), value.__qualname__, None) is value


def _check_imports(source: str) -> None:
    """Refuse a text that imports a file of one's own, inside its functions too."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _check_installed(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            _check_installed(node.module)


def _check_installed(module: str) -> None:
    """Refuse a module that belongs neither to Python nor to this or an installed package."""
    if module in TRAINING:
        raise Unknown(f"{module} {ITSELF}")
    top = module.split(".")[0]
    if top in ("cxr_helpers", "phantom") or top in sys.stdlib_module_names:
        return
    spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    place = str(spec and (spec.origin or spec.submodule_search_locations))
    if spec and "-packages" not in place:
        raise Unknown(f'{module} adalah berkas Anda; bacalah dengan study.load("{module}.py")')
