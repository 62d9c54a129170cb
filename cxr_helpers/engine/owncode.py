"""A student's own code as text: a program of each part as it stands in the call and of what it
rests on, as executed; part of the run's key, and executed anew by every training.
"""

import ast
import builtins
import copy
import importlib.util
import inspect
import linecache
import re
import symtable
import sys
import traceback
import types
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

import executing
import numpy as np
import torch
from torch import Tensor, nn

from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.ownfiles import files_read  # noqa: F401 - part of a run's identity

PARTS = "BAGIAN"  # the name that a program gives its parts
DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
DEFINED = (type, types.FunctionType, types.BuiltinFunctionType)
TRAINING = ("cxr_helpers.study", "cxr_helpers.experiments")  # none is part of another
MAGIC = re.compile(r"(?:\s|#.*\n)*get_ipython\(\)\.run_(?:cell|line)_magic(\((?s:.*)\))\s*")
NUMBERS = 4096  # an array or tensor of no more is kept by its values
ITSELF = "tidak dijalankan lagi oleh pelatihan; tulis float(nilai), lambda: Net(lebar), start=hasil"
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
    """The parts of a program as they were written, with the values of plain names."""
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


def program(parts: dict[str, object], frame: types.FrameType) -> tuple[str, dict[str, object]]:
    """The program of the `parts` of the call in `frame`, and what it names, as it is. Unknown."""
    cells = [_without_magic(cell) for cell in frame.f_globals.get("In", []) if cell]
    name = frame.f_code.co_filename
    if name.startswith("<timed"):  # under %%time
        linecache.cache[name] = (0, None, cells[-1].splitlines(keepends=True), name)
    *earlier, running = cells if _text(frame) in cells else [*cells, _text(frame)]
    ends = [_end(above) for above, _ in traceback.walk_stack(frame) if _text(above) == running]
    executed = [statement for cell in earlier for statement in _statements(cell)]
    executed += map(Statement, _above([(sys.maxsize, 0), *ends][-1], _tree(running).body))
    collector = _Collector(frame, executed)
    calls = [node for node in ast.walk(_tree(_text(frame))) if isinstance(node, ast.Call)]
    ended = {(call.end_lineno, call.end_col_offset): call for call in calls}
    call = ended.get(_end(frame)) or executing.Source.executing(frame).node
    written = {word.arg: ast.unparse(word.value) for word in getattr(call, "keywords", [])}
    lines = []
    for name, value in parts.items():
        source = written.get(name) or getattr(value, "__name__", "")
        if name not in written and frame.f_globals.get(source) is not value:
            raise Unknown(f"teks {name} tidak ditemukan; tuliskan {name}=… pada panggilannya")
        collector.need(source, in_call=True)
        lines.append(f"    {name!r}: {source},\n")
    imports = "\n".join(sorted(set(collector.imports)))
    pieces = [imports, *collector.written, f"{PARTS} = {{\n{''.join(lines)}}}"]
    made = "\n\n".join(filter(None, pieces)) + "\n"
    _check_imports(made)
    here = frame.f_globals | frame.f_locals
    return made, {name: here[name] for name in collector.collected & here.keys()} | {PARTS: parts}


def _text(frame: types.FrameType) -> str:
    return "".join(linecache.getlines(frame.f_code.co_filename)).rstrip("\n")


def _end(frame: types.FrameType) -> tuple[int, int]:
    """Line and column where what executes in a frame ends; Python 3.10 tells where it begins."""
    place = getattr(inspect.getframeinfo(frame, 0), "positions", None)
    return (place.end_lineno, place.end_col_offset) if place else (frame.f_lineno, 0)


def _above(place: tuple[int, int], nodes: list[ast.stmt]) -> list[ast.stmt]:
    """The statements before what ends at a place, also those within a loop that spans it."""
    begun = [node for node in nodes if (node.lineno, node.col_offset) < place]
    if not begun or (begun[-1].end_lineno, begun[-1].end_col_offset) < place:
        return begun
    inner = [child for child in ast.iter_child_nodes(begun[-1]) if isinstance(child, ast.stmt)]
    return begun[:-1] + _above(place, inner)


def rewritten(source: str, frame: types.FrameType) -> list[str]:
    """Functions and classes of a program that a cell has defined otherwise since."""
    cells = map(_without_magic, frame.f_globals.get("In", []))
    latest = {name: s.source for cell in cells for s in _statements(cell) for name in s.binds}
    defined = [s for s in _statements(source) if isinstance(s.node, DEFINITIONS)]
    return [n for s in defined for n in s.binds if latest.get(n, s.source) != s.source]


def apart(given: dict[str, object]) -> dict[str, object]:
    """What was passed, with copies of what it holds: to try them leaves the student's alone."""
    copies, around = {}, given.copy()
    for name, value in given.items():
        with suppress(Exception):  # not everything can be copied
            around[name] = copy.deepcopy(value, copies)
    around |= {name: _among(value, around) for name, value in around.items() if name != PARTS}
    return around | {PARTS: {name: _among(part, around) for name, part in around[PARTS].items()}}


def _among(part: object, around: dict[str, object]) -> object:
    """A function of one's own with what was around it then: a loop over experiments goes on."""
    if isinstance(part, list | tuple):
        return [_among(step, around) for step in part]
    if not isinstance(part, types.FunctionType) or part.__module__ != "__main__":
        return part
    code, inner = part.__code__, zip(part.__code__.co_freevars, part.__closure__ or (), strict=True)
    cells = tuple(types.CellType(around.get(name, cell.cell_contents)) for name, cell in inner)
    then = types.FunctionType(code, around, part.__name__, part.__defaults__, cells)
    then.__kwdefaults__ = part.__kwdefaults__
    return then


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
    """Give random parameters that were made the values passed; what else differs, or ""."""
    ours = _tensors({name: made[name] for name in made.keys() & given.keys()})
    theirs = _tensors(given)
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
    given = len(_tree(cell).body) == 1 and MAGIC.fullmatch(cell)
    return ast.literal_eval(given[1])[-1] if given else cell


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
    for table in tables:  # and those that are added on the way
        tables += table.get_children()
        for symbol in table.get_symbols():
            own = table.get_type() == "module" and not symbol.is_imported()
            if symbol.is_referenced() and (own or symbol.is_global()):
                names.add(symbol.get_name())
    loops = [node for node in _tree(source).body if isinstance(node, ast.For)]
    return names.difference(*(_names(loop.target) for loop in loops))  # they bind it themselves


class Statement:
    """A statement, and the names it binds (anew: whatever they were), changes, and renames."""

    def __init__(self, node: ast.stmt):
        self.node, self.source = node, ast.unparse(node)  # no comment decides a run
        symbols = symtable.symtable(self.source, "kode", "exec").get_symbols()
        self.binds = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
        inner = [] if isinstance(node, DEFINITIONS) else list(ast.walk(node))
        self.changes = set().union(*map(_changed_by, inner))
        for loop in inner:  # for p in net.parameters(): p.requires_grad = False
            looped = isinstance(loop, ast.For | ast.comprehension)
            if looped and _names(loop.target) & self.changes:
                self.changes |= _names(loop.iter)
        self.renames = _root(node.value) if isinstance(node, ast.Assign) else set()
        # what a name was before matters to x = x + 1, to x += 1, in an if, in a try
        kept = {ast.unparse(added.target) for added in inner if isinstance(added, ast.AugAssign)}
        kept |= _globals_of(self.source) if inner else set()
        self.anew = set() if isinstance(node, ast.If | ast.Try) else self.binds - kept


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
    return [Statement(node) for node in _tree(text).body]


class _Collector:
    """Gathers what a program rests on of the statements executed: imports, and what is written."""

    def __init__(self, frame: types.FrameType, executed: list[Statement]):
        self.globals, names = frame.f_globals, frame.f_locals.items()
        self.locals = {name: value for name, value in names if self.globals.get(name) is not value}
        self.imports: list[str] = []
        self.written: list[str] = []
        self._executed = executed
        self.collected: set[str] = set()

    def need(self, source: str, in_call: bool = False) -> None:
        """Collect what a definition, or (in_call) a part in the call, takes from around it."""
        changed = set().union(*map(_changed_by, ast.walk(_tree(source))))
        values = self.globals | (self.locals if in_call else {})
        for name in sorted(_globals_of(source) - self.collected):
            if name in changed and isinstance(values.get(name), list | dict | set):
                raise Unknown(f"{name} diisi kode itu, padahal pelatihan memakai salinannya")
            if name in values and name != "open":  # IPython has one of its own
                self.collected.add(name)
                self._define(name, values[name])
            elif not hasattr(builtins, name):
                raise Unknown(f"nama {name} tidak dikenal")

    def _define(self, name: str, value: object) -> None:
        line, expression = _notation(value) or ("", "")
        self.imports += [line] if line else []
        if expression and not isinstance(value, nn.Module):
            self.written.append(f"{name} = {expression}")
        elif line := _import_of(value):
            self.imports.append(line if line.split()[-1] == name else f"{line} as {name}")
        elif any(kind.__module__ in TRAINING for kind in type(value).__mro__):
            raise Unknown(f"{name} {ITSELF}")
        else:
            self._from_text(name, value, expression and f"{name} = {expression}")

    def _from_text(self, name: str, value: object, binding: str) -> None:
        """Collect what bound a name (or binding), and changed its value since."""
        # a class or function is taken by its own name: a loop does not say which it was
        own_name = getattr(value, "__name__", name) if isinstance(value, DEFINED) else name
        if own_name != name and self.globals.get(own_name) is value:
            self.need(own_name)
            self.written.append(f"{name} = {own_name}")
            return
        sources, names = [], {name}
        for statement in () if name in self.locals else self._executed:
            names = names - statement.anew | {name}
            if name in statement.anew:
                sources, names = [], {name}
            if statement.renames & names:  # last = net.fc: what changes it changes net
                names |= statement.binds
            if names & (statement.binds | statement.changes):
                sources.append(binding if binding and name in statement.anew else statement.source)
        sources = sources or [binding]
        if not any(sources):
            raise Unknown(f"teks {name} tidak ditemukan; tulis dengan def, atau pada panggilannya")
        self.collected |= names
        for source in sources:
            if source != binding:
                self.need(source)
        self.written += sources


def _notation(value: object) -> tuple[str, str] | None:
    """(what it imports, expression) that gives back a value; None where only its text does."""
    if isinstance(value, Own):
        _check_imports(value.text_)
        simple = "'''" not in value.text_ and "\\" not in value.text_
        quoted = f"'''\\\n{value.text_}'''" if simple else repr(value.text_)
        return "from cxr_helpers.engine import owncode", f"owncode.read({value.name_!r}, {quoted})"
    if _is_plain(value):
        return "", repr(value)
    trained = isinstance(value, list) and all(hasattr(net, "again_") for net in value)
    if trained or hasattr(value, "again_"):
        again = f"[{', '.join(net.again_ for net in value)}]" if trained else value.again_
        return "from cxr_helpers import training", again
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


def _import_of(value: object) -> str:
    """The import that gives back this very module, class or function, or ""."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__}"
    module, name = (getattr(value, place, None) or "" for place in ("__module__", "__qualname__"))
    same = isinstance(value, DEFINED) and getattr(sys.modules.get(module), name, None) is value
    typed = module.startswith(("__main__", "<"))  # in a cell, or read from a text
    return f"from {module} import {name}" if same and not typed else ""


def _check_imports(source: str) -> None:
    """Refuse a text that imports, inside its functions too, a file of one's own."""
    nodes = list(ast.walk(_tree(source)))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    for module in modules:
        if module in TRAINING:
            raise Unknown(f"{module} {ITSELF}")
        top = module.split(".")[0]
        if top not in (*sys.stdlib_module_names, "cxr_helpers", "phantom"):
            spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
            place = str(spec and (spec.origin or spec.submodule_search_locations))
            if spec and "-packages" not in place:
                raise Unknown(f'{module} berkas Anda: bacalah dengan study.load("{module}.py")')
