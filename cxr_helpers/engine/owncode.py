"""A student's own code as text: what is trained is made from the text that is part of the run's
key, and from nothing else.

A class cannot be identified by itself: its source misses a global that has changed. So the text is
collected that the person executed: each part as it stands in the call, and every definition that it
rests on, from the cell (or the file of `load`) that made it. That text is a small program. Every
training executes it anew in an empty namespace, so no seed finds what another has left behind.
"""

import ast
import builtins
import importlib.util
import inspect
import itertools
import linecache
import symtable
import sys
import textwrap
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from cxr_helpers.engine.errors import InputError

PARTS = "BAGIAN"  # the name that a program gives its parts
DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
DEFINED = (type, types.FunctionType, types.BuiltinFunctionType)
_numbers = itertools.count(1)


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
    except SyntaxError as error:
        why = f"baris {error.lineno} bukan Python yang benar ({error.msg})"
    except OSError as error:
        why = f"tidak dapat dibaca ({error.strerror}): periksa nama dan foldernya"
    except ValueError:
        why = "bukan teks UTF-8"
    else:
        return read(path.name, source)
    raise InputError(f"Berkas {path} {why}.")


def read(name: str, source: str) -> Own:
    """What the text of a file defines."""
    defined = _execute(source, f"<{name} {next(_numbers)}>")
    own = Own(**{key: value for key, value in defined.items() if not key.startswith("__")})
    own.name_, own.text_ = name, source
    return own


def _execute(source: str, filename: str) -> dict:
    """Namespace of an executed text, which can be read again under its filename."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    # Known by its filename, so that a class of this text finds its namespace where it looks for it.
    module = types.ModuleType(filename)
    sys.modules[filename] = module
    exec(compile(source, filename, "exec"), module.__dict__)
    return module.__dict__


@contextmanager
def explained() -> Iterator[None]:
    """Turn what one's own code raises into one line with the last line of it on the way."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        own = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename.startswith("<") and frame.filename in linecache.cache
        ]
        where = f" pada baris “{own[-1].line}”" if own else ""
        reason = (str(error).splitlines() or [""])[0][:200]
        memory = isinstance(error, MemoryError) or "memory" in reason
        advice = ": kecilkan batch_size atau resize" if memory else ""
        said = InputError(f"Kode Anda gagal{where}: {type(error).__name__}: {reason}{advice}.")
        said.details = "".join(traceback.format_exception(error))
        raise said from None


def make(source: str) -> dict[str, object]:
    """The parts of a program, made anew."""
    return _execute(source, f"<kode sendiri {next(_numbers)}>")[PARTS]


def expressions(source: str) -> dict[str, str]:
    """What the parts of a program are, as they were written: {"network": "JaringanSaya", …}."""
    if not source:
        return {}
    made = ast.parse(source).body[-1].value
    return {
        name.value: ast.get_source_segment(source, value)
        for name, value in zip(made.keys, made.values, strict=True)
    }


def program(parts: dict[str, object], frame: types.FrameType) -> str:
    """The program that makes `parts`, keyword arguments of the call in `frame`, or Unknown."""
    namespace = frame.f_globals | frame.f_locals
    cells = [_without_magic(cell) for cell in namespace.get("In", []) if cell]
    text = "".join(linecache.getlines(frame.f_code.co_filename))
    if not text:  # under %%time
        text = cells[-1] if cells else ""
    collector, written = _Collector(frame, [*cells, text]), _arguments(text, frame, parts)
    lines = []
    for name, value in parts.items():
        source = written.get(name) or getattr(value, "__name__", "<lambda>")
        another = source.isidentifier() and namespace.get(source) is not value
        if source == "<lambda>" or another:
            raise Unknown(f"teks {name} tidak ditemukan; tuliskan {name}=… pada panggilannya")
        collector.need(source, in_call=True)
        lines.append(f"    {name!r}: {source},\n")
    imports = "\n".join(sorted(set(collector.imports)))
    pieces = [imports, *collector.statements, f"{PARTS} = {{\n{''.join(lines)}}}"]
    return "\n\n".join(filter(None, pieces)) + "\n"


def _without_magic(cell: str) -> str:
    """The Python under %%time or %time, of which IPython makes the argument of a call."""
    body = _tree(cell).body
    if len(body) == 1:
        for node in ast.walk(body[0]):
            called = getattr(getattr(node, "func", None), "attr", "")
            if called in ("run_cell_magic", "run_line_magic"):
                return ast.literal_eval(node.args[-1])
    return cell


def _arguments(text: str, frame: types.FrameType, parts: dict) -> dict[str, str]:
    """The keyword arguments, as written, of the call in `frame`; {} if several could be it."""
    calls = [
        node
        for node in ast.walk(_tree(text))
        if isinstance(node, ast.Call) and set(parts) <= {word.arg for word in node.keywords}
    ]
    here = [call for call in calls if call.lineno <= frame.f_lineno <= call.end_lineno]
    if len(here) > 1 and hasattr(frame.f_code, "co_positions"):  # Python 3.11
        _, line, _, column = list(frame.f_code.co_positions())[frame.f_lasti // 2]
        # two calls may share a line, but never their end
        here = [call for call in here if (call.end_lineno, call.end_col_offset) == (line, column)]
    if len(here) != 1:
        return {}
    return {
        word.arg: textwrap.dedent(ast.get_source_segment(text, word.value))
        for word in here[0].keywords
        if word.arg in parts
    }


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
    return names


class Statement(ast.NodeVisitor):
    """A statement of an executed text, the names it binds, and those whose value it changes."""

    def __init__(self, text: str, node: ast.stmt):
        self.node, self.binds, self.changes = node, set(), set()
        above = getattr(node, "decorator_list", [])
        lines = [f"@{ast.get_source_segment(text, decorator)}" for decorator in above]
        self.source = "\n".join([*lines, ast.get_source_segment(text, node)])
        self.visit(node)

    def keeps(self, name: str) -> bool:
        """Whether what a bound name was before matters: to x = x + 1, in an if, in a try."""
        if isinstance(self.node, DEFINITIONS):
            return False
        return isinstance(self.node, (ast.If, ast.Try)) or name in _globals_of(self.source)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.binds.add(node.name)

    visit_ClassDef = visit_AsyncFunctionDef = visit_FunctionDef

    def visit_alias(self, node: ast.alias) -> None:
        self.binds.add(node.asname or node.name.split(".")[0])

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """Its names are its own."""

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.binds.add(node.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._change(node.target)

    def visit_Attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Store):
            self._change(node)

    visit_Subscript = visit_Attribute

    def visit_Expr(self, node: ast.Expr) -> None:
        """x.append(1) and, by torch's mark of what works in place, nn.init.ones_(x)."""
        if isinstance(node.value, ast.Call):
            called = node.value.func
            if isinstance(called, ast.Attribute):
                self._change(called)
            if getattr(called, "attr", getattr(called, "id", "")).endswith("_"):
                for argument in node.value.args:
                    self._change(argument)

    def _change(self, target: ast.expr) -> None:
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            target = target.value
        if isinstance(target, ast.Name):
            self.changes.add(target.id)


@cache
def _statements(text: str) -> list[Statement]:
    """The outermost statements of a text."""
    return [Statement(text, node) for node in _tree(text).body]


class _Collector:
    """Gathers the statements that a program needs, each after those that it rests on. frame: where
    the call stands; texts: what was executed, oldest first.
    """

    def __init__(self, frame: types.FrameType, texts: list[str]):
        self.globals, self.texts = frame.f_globals, texts
        names = frame.f_locals.items()
        self.locals = {name: value for name, value in names if self.globals.get(name) is not value}
        self.running = []  # the cells or files that are being executed now, and the line
        for outer, line in traceback.walk_stack(frame):
            # no function, nor what runs the kernel
            if not outer.f_code.co_flags & inspect.CO_NEWLOCALS and outer.f_globals is self.globals:
                text = "".join(linecache.getlines(outer.f_code.co_filename))
                self.running.append(((text or texts[-1]).strip("\n"), line))  # under %%time: none
        self.imports: list[str] = []
        self.statements: list[str] = []
        self._collected: dict[str, object] = {}

    def need(self, source: str, in_call: bool = False) -> None:
        """Collect what a definition, or (in_call) a part in the call, takes from around it."""
        _check_imports(source)
        for name in sorted(_globals_of(source)):
            local = in_call and name in self.locals
            if not local and name not in self.globals:
                if hasattr(builtins, name):
                    continue
                raise Unknown(f"nama {name} tidak dikenal")
            value = self.locals[name] if local else self.globals[name]
            if name not in self._collected:
                self._collected[name] = value
                self._define(name, value, local)
            elif self._collected[name] is not value:
                raise Unknown(f"{name} berarti lain di dalam fungsi itu; beri nama yang berbeda")

    def _define(self, name: str, value: object, local: bool) -> None:
        if _is_plain(value):
            self.statements.append(f"{name} = {value!r}")
        elif isinstance(value, Own):
            _check_imports(value.text_)
            self.imports.append("from cxr_helpers.engine import owncode")
            plain = "'''" not in value.text_ and "\\" not in value.text_
            quoted = f"'''\\\n{value.text_}'''" if plain else repr(value.text_)
            self.statements.append(f"{name} = owncode.read({value.name_!r}, {quoted})")
        elif isinstance(value, types.ModuleType):
            _check_installed(value.__name__)
            self._import(f"import {value.__name__}", name)
        elif isinstance(value, DEFINED) and _importable(value):
            _check_installed(value.__module__)
            self._import(f"from {value.__module__} import {value.__qualname__}", name)
        else:
            self._from_text(name, value, local)

    def _import(self, line: str, name: str) -> None:
        self.imports.append(line if line.split()[-1] == name else f"{line} as {name}")

    def _from_text(self, name: str, value: object, local: bool) -> None:
        """Collect the statements that gave a name its value. One that is still being executed, such
        as a loop over networks, does not say which value it is now, and a name in a function has no
        text: there a class or function is taken by its own name.
        """
        own_name = getattr(value, "__name__", name) if isinstance(value, DEFINED) else name
        here = getattr(value, "__module__", None) == self.globals.get("__name__")
        another = here and own_name not in (name, "<lambda>")
        if another and self.globals.get(own_name) is not value:
            raise Unknown(f"{own_name} didefinisikan ulang; jalankan lagi sel yang membuat {name}")
        sources, moving = ([], True) if local else self._sources_of(name)
        if moving and another:
            self.need(own_name)
            self.statements.append(f"{name} = {own_name}")
            return
        if moving:
            raise Unknown(f"nilai {name} berganti di fungsi atau perulangan; tuliskan nilainya")
        if not sources:
            raise Unknown(f"teks yang mendefinisikan {name} tidak ditemukan")
        for source in sources:
            self.need(source)
        self.statements += sources

    def _sources_of(self, name: str) -> tuple[list[str], bool]:
        """What bound a name and changed its value since; whether some of it runs right now."""
        sources, moving = [], False
        for text in self.texts:
            for statement in _statements(text):
                if name in statement.binds:
                    moving = False
                    if not statement.keeps(name):
                        sources = []
                elif name not in statement.changes:
                    continue
                sources.append(statement.source)
                moving = moving or self._moves(text, statement)
        return sources, moving

    def _moves(self, text: str, statement: Statement) -> bool:
        """Whether a statement is being executed now, or is a loop over trainings."""
        node = statement.node
        if isinstance(node, (ast.For, ast.While)):
            for name in _globals_of(statement.source):
                kinds = type(self.globals.get(name)).__mro__
                if any(kind.__module__ == "cxr_helpers.study" for kind in kinds):
                    return True
        return any(
            text.strip("\n") == running and node.lineno <= line <= node.end_lineno
            for running, line in self.running
        )


def _is_plain(value: object) -> bool:
    """Whether Python's own notation gives back the value: of numbers, words, lists of them, …"""
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def _importable(value: object) -> bool:
    """Whether `from module import name` gives back this very object."""
    module = getattr(value, "__module__", None) or "__main__"
    if module == "__main__" or module.startswith("<"):
        return False
    return getattr(sys.modules.get(module), value.__qualname__, None) is value


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
    top = module.split(".")[0]
    if top in ("cxr_helpers", "phantom") or top in sys.stdlib_module_names:
        return
    spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    place = str(spec and (spec.origin or spec.submodule_search_locations))
    if spec and "-packages" not in place:
        raise Unknown(f'{module} adalah berkas Anda; bacalah dengan study.load("{module}.py")')
