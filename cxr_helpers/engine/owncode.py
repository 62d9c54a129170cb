"""A student's own code as text: what is trained is made from the text that is part of the run's
key, and from nothing else.

A class or function of a notebook cannot be identified by itself: its source misses a global that
has changed, and a digest of the object changes when its cell runs again. So the text is collected
that the person executed: the expression of each part as it stands in the call, and every definition
that it rests on, each from the cell (or the file of `load`) that defined it. That text is a small
program; executed in an empty namespace it gives the parts. Every training executes it anew, here or
in a worker, so a seed never finds what another has left behind, and what is not in the text is not
in the training either.
"""

import ast
import builtins
import importlib.util
import inspect
import itertools
import linecache
import math
import symtable
import sys
import sysconfig
import textwrap
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cxr_helpers.engine.errors import InputError

PARTS = "BAGIAN"  # the name that a program gives its parts
PLAIN = (bool, int, float, str, bytes, type(None))
DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
DEFINED = (type, types.FunctionType, types.BuiltinFunctionType)
_numbers = itertools.count(1)


class Unknown(Exception):
    """A value whose text cannot be found; the message (Indonesian) says which and why."""


@dataclass(frozen=True)
class Text:
    """An executed text: a cell or a file."""

    lines: list[str]

    @property
    def tree(self) -> ast.Module:
        return ast.parse("".join(self.lines))

    def segment(self, node: ast.stmt) -> str:
        """A whole statement, its decorators included."""
        source, decorators = "".join(self.lines), getattr(node, "decorator_list", [])
        above = [f"@{ast.get_source_segment(source, decorator)}" for decorator in decorators]
        return "\n".join([*above, ast.get_source_segment(source, node)])


class Own(types.SimpleNamespace):
    """What a file of one's own defines; `text_` is the text that was executed, `name_` the file's
    name.
    """


def load(path: str | Path) -> Own:
    """Execute a Python file once and give back what it defines, as `import` would, but by the text
    that was read.

    Raises InputError where the file is missing or is no Python.
    """
    path = Path(path).expanduser()
    try:
        source = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "bukan teks UTF-8"
        raise InputError(
            f"Berkas {path} tidak dapat dibaca ({why}): periksa nama dan foldernya."
        ) from None
    try:
        return read(path.name, source)
    except SyntaxError as error:
        raise InputError(
            f"{path} baris {error.lineno}: bukan Python yang benar ({error.msg})."
        ) from None


def read(name: str, source: str) -> Own:
    """What the text of a file defines."""
    found = _execute(source, f"<{name} {next(_numbers)}>")
    return Own(
        **{key: value for key, value in found.items() if not key.startswith("__")},
        name_=name,
        text_=source,
    )


def _execute(source: str, filename: str) -> dict:
    """Namespace of an executed text, which tracebacks and `program` can read again under its
    filename.
    """
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    # Known by its filename, so that a class of this text finds its namespace where it looks for it.
    module = types.ModuleType(filename)
    sys.modules[filename] = module
    exec(compile(source, filename, "exec"), module.__dict__)
    return module.__dict__


@contextmanager
def explained() -> Iterator[None]:
    """Turn what one's own code raises into one line that says where; the InputError's `details`
    hold the traceback.

    What is raised elsewhere, because of the shapes that this code gave, is told by the last line of
    this code on the way there.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if _is_own_text(frame.filename)]
        where = f" pada baris “{own[-1].line}”" if own else ""
        frames = frames[frames.index(own[0]) :] if own else frames
        said = (str(error).splitlines() or [""])[0][:200]
        memory = isinstance(error, MemoryError) or "memory" in said
        advice = ": kecilkan batch_size atau resize" if memory else ""
        found = InputError(f"Kode Anda gagal{where}: {type(error).__name__}: {said}{advice}.")
        found.details = "".join(
            traceback.format_list(frames) + traceback.format_exception_only(error)
        )
        raise found from None


def _is_own_text(filename: str) -> bool:
    return filename.startswith("<") and filename in linecache.cache


def program(parts: dict[str, object], frame: types.FrameType) -> str:
    """The program that makes `parts`, {name: value} as given as keyword arguments of the call that
    runs in `frame`.

    Raises Unknown.
    """
    cells = _cells(frame.f_globals | frame.f_locals)
    lines = linecache.getlines(frame.f_code.co_filename)
    # under %%time the text is that of the cell
    text = Text(lines) if lines else (cells or [Text([])])[-1]
    collector, written = _Collector(frame, [*cells, text]), _arguments(text, frame, parts)
    expressions = {}
    for name, value in parts.items():
        found = written.get(name) or getattr(value, "__name__", None)
        if (
            not found
            or found == "<lambda>"
            or (found.isidentifier() and collector.value(found) is not value)
        ):
            raise Unknown(
                f"teks untuk {name} tidak ditemukan pada panggilannya; "
                f"tuliskan {name}=… langsung di sana"
            )
        expressions[name] = found
        collector.need(found, in_call=True)
    made = "".join(f"    {name!r}: {expression},\n" for name, expression in expressions.items())
    imports = "\n".join(sorted(set(collector.imports)))
    pieces = [imports, *collector.statements, f"{PARTS} = {{\n{made}}}"]
    return "\n\n".join(filter(None, pieces)) + "\n"


def expressions(source: str) -> dict[str, str]:
    """What the parts of a program are, as they were written: {"network": "JaringanSaya", …}."""
    if not source:
        return {}
    made = ast.parse(source).body[-1].value
    return {
        name.value: ast.get_source_segment(source, value)
        for name, value in zip(made.keys, made.values, strict=True)
    }


def make(source: str, key: str = "") -> dict[str, object]:
    """The parts of a program, made anew."""
    return _execute(source, f"<kode sendiri {key or next(_numbers)}>")[PARTS]


def _cells(namespace: dict) -> list[Text]:
    """The executed cells of a notebook, oldest first; none outside one."""
    cells = [_without_magic(cell) for cell in namespace.get("In", []) if cell]
    return [Text(cell.splitlines(keepends=True)) for cell in cells]


def _without_magic(cell: str) -> str:
    """The Python under a magic such as %%time or %time, which IPython turned into a call with that
    text as its last argument.
    """
    try:
        tree = ast.parse(cell)
    except SyntaxError:
        return cell
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = ("run_cell_magic", "run_line_magic")
    magic = [call for call in calls if getattr(call.func, "attr", "") in names]
    return ast.literal_eval(magic[0].args[-1]) if len(magic) == len(tree.body) == 1 else cell


def _arguments(text: Text, frame: types.FrameType, parts: dict) -> dict[str, str]:
    """The expressions of the keyword arguments of the call that runs in `frame`, or else of the
    only call, that has all of `parts`; {} where several calls could be it.
    """
    try:
        tree = text.tree
    except SyntaxError:
        return {}
    source, line = "".join(text.lines), frame.f_lineno
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    fitting = [call for call in calls if set(parts) <= {keyword.arg for keyword in call.keywords}]
    here = [call for call in fitting if call.lineno <= line <= call.end_lineno]
    # Python 3.11: two calls may share a line, but never their end
    if hasattr(frame.f_code, "co_positions"):
        _, last, _, column = next(
            itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
        )
        here = [
            call for call in here if (call.end_lineno, call.end_col_offset) == (last, column)
        ] or here
    if len(here or fitting) != 1:
        return {}
    return {
        k.arg: textwrap.dedent(ast.get_source_segment(source, k.value))
        for k in (here or fitting)[0].keywords
        if k.arg in parts
    }


def _globals_of(source: str) -> set[str]:
    """Names that a piece of code takes from around it, those inside its functions and classes
    included.
    """

    def of(table: symtable.SymbolTable) -> set[str]:
        top = table.get_type() == "module"
        own = {
            s.get_name()
            for s in table.get_symbols()
            if s.is_referenced() and (s.is_global() or (top and not s.is_imported()))
        }
        return own.union(*map(of, table.get_children()))

    return of(symtable.symtable(source, "kode", "exec"))


class _Collector:
    """Gathers the statements that a program needs, each after those that it rests on. frame: where
    the call stands.
    """

    def __init__(self, frame: types.FrameType, texts: list[Text]):
        self.globals, self.texts = frame.f_globals, texts
        inside = frame.f_locals is not frame.f_globals
        names = frame.f_locals.items() if inside else ()
        self.locals = {name: value for name, value in names if self.globals.get(name) is not value}
        self.running = list(_running(frame, texts[-1]))
        self.imports: list[str] = []
        self.statements: list[str] = []
        self._known: dict[str, object] = {}

    def value(self, name: str) -> object:
        """What a name means in the call."""
        return self.locals.get(name, self.globals.get(name))

    def need(self, source: str, in_call: bool = False) -> None:
        """Collect what `source`, a definition or (in_call) an expression of the call, takes from
        around it.
        """
        for module in _imported(source):
            if not _installed(module):
                raise Unknown(_from_file(module, module))
        for name in sorted(_globals_of(source)):
            local = in_call and name in self.locals
            if not local and name not in self.globals:
                if hasattr(builtins, name):
                    continue
                raise Unknown(f"nama {name} tidak dikenal")
            value = self.value(name) if local else self.globals[name]
            if name not in self._known:
                self._known[name] = value
                self._define(name, value, local)
            elif self._known[name] is not value:
                raise Unknown(
                    f"{name} berarti lain di dalam fungsi yang memanggil; beri nama yang berbeda"
                )

    def _define(self, name: str, value: object, local: bool) -> None:
        if _is_plain(value):
            self.statements.append(f"{name} = {value!r}")
        elif isinstance(value, Own):
            for module in _imported(value.text_):
                if not _installed(module):
                    raise Unknown(
                        f"{value.name_} mengimpor berkas {module}.py; "
                        "satukan keduanya dalam satu berkas"
                    )
            self.imports.append("from cxr_helpers.engine import owncode")
            plain = "'''" not in value.text_ and "\\" not in value.text_
            quoted = f"'''\\\n{value.text_}'''" if plain else repr(value.text_)
            self.statements.append(f"{name} = owncode.read({value.name_!r}, {quoted})")
        elif isinstance(value, types.ModuleType):
            self._from_package(value.__name__, "", name)
        elif isinstance(value, DEFINED) and _importable(value):
            self._from_package(value.__module__, value.__qualname__, name)
        else:
            self._from_text(name, value, local)

    def _from_package(self, module: str, what: str, name: str) -> None:
        if not _installed(module):
            raise Unknown(_from_file(name, module))
        line = f"from {module} import {what}" if what else f"import {module}"
        self.imports.append(line if name == (what or module) else f"{line} as {name}")

    def _from_text(self, name: str, value: object, local: bool) -> None:
        """Collect the statements that gave a name its value.

        The text of a statement that is still being executed, such as a loop over networks, does not
        say which value it is now, and a name in a function has no text of its own: there a class or
        function is taken by its own name.
        """
        own = getattr(value, "__name__", name) if isinstance(value, DEFINED) else name
        here = getattr(value, "__module__", None) == self.globals.get("__name__")
        another = here and own not in (name, "<lambda>")
        if another and self.globals.get(own) is not value:
            raise Unknown(
                f"{own} sudah didefinisikan ulang sejak {name} dibuat; "
                f"jalankan lagi sel yang membuat {name}"
            )
        statements, moving = ([], True) if local else self._statements_of(name)
        if moving and another:
            self.need(own)
            self.statements.append(f"{name} = {own}")
            return
        if moving:
            raise Unknown(
                f"nilai {name} berganti di dalam fungsi atau perulangan; "
                "tuliskan nilainya langsung pada panggilannya"
            )
        if not statements:
            raise Unknown(f"teks yang mendefinisikan {name} tidak ditemukan")
        for source in statements:
            self.need(source)
        self.statements += statements

    def _statements_of(self, name: str) -> tuple[list[str], bool]:
        """(the statement that bound a name, the last one executed, and those that changed its value
        since; whether one of them is being executed now).
        """
        statements, moving = [], False
        for text in self.texts:
            for node, binds in _about(text, name):
                source = text.segment(node)
                if binds:
                    moving = False
                if binds and not _needs_the_old_value(node, name, source):
                    statements = []
                statements.append(source)
                moving = moving or self._runs(text, node)
        return statements, moving

    def _runs(self, text: Text, node: ast.stmt) -> bool:
        """Whether a statement is being executed now, or is a loop over trainings, which a program
        must not do again.
        """
        source, loop = "".join(text.lines).strip("\n"), isinstance(node, (ast.For, ast.While))
        if loop and any(
            _is_study(self.globals.get(name)) for name in _globals_of(text.segment(node))
        ):
            return True
        return any(
            source == whole and node.lineno <= line <= node.end_lineno
            for whole, line in self.running
        )


def _needs_the_old_value(node: ast.stmt, name: str, source: str) -> bool:
    """Whether what a name was before matters to a statement that binds it: to x = x + 1, and where
    an if or a try may leave it as it was.
    """
    if isinstance(node, DEFINITIONS):
        return False
    return isinstance(node, (ast.If, ast.Try)) or name in _globals_of(source)


def _running(frame: types.FrameType, last: Text) -> Iterator[tuple[str, int]]:
    """The texts, with the line, of the cells or files in which a call stands that is being executed
    now.
    """
    shell = frame.f_globals
    while frame is not None:
        # no function, nor what runs the kernel
        if not frame.f_code.co_flags & inspect.CO_NEWLOCALS and frame.f_globals is shell:
            lines = linecache.getlines(frame.f_code.co_filename) or last.lines  # none: under %%time
            yield "".join(lines).strip("\n"), frame.f_lineno
        frame = frame.f_back


def _is_study(value: object) -> bool:
    return any(kind.__module__ == "cxr_helpers.setup" for kind in type(value).__mro__)


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    # inf is no Python
    return type(value) in PLAIN and (type(value) is not float or math.isfinite(value))


def _importable(value: object) -> bool:
    """Whether `from module import name` gives back this very object."""
    module = getattr(value, "__module__", None)
    if module in (None, "__main__") or module.startswith("<"):
        return False
    try:
        return getattr(importlib.import_module(module), value.__qualname__, None) is value
    except ImportError:
        return False


def _imported(source: str) -> set[str]:
    """The modules that a text imports, inside its functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        found |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        found |= {node.module} if isinstance(node, ast.ImportFrom) and node.module else set()
    return found


def _from_file(name: str, module: str) -> str:
    return (
        f"{name} berasal dari berkas {module}.py; "
        f'bacalah berkas itu dengan study.load("{module}.py")'
    )


def _installed(module: str) -> bool:
    """Whether a module belongs to Python, an installed package or this one, and not to a file or
    folder of the person's.
    """
    top = module.split(".")[0]
    if top in ("cxr_helpers", "phantom") or top in sys.stdlib_module_names:
        return True
    spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    where = [spec.origin] if spec and spec.has_location else []
    if spec and not where:
        where = list(spec.submodule_search_locations or [])
    places = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))
    return all(path.startswith(places) or "site-packages" in path for path in where)


def _about(text: Text, name: str) -> Iterator[tuple[ast.stmt, bool]]:
    """The outermost statements of a text that bind `name` (True) or change what it names (False),
    in order.
    """
    try:
        statements = text.tree.body
    except SyntaxError:
        return
    for statement in statements:
        inside = list(_outside_functions(statement))
        if any(name in _bound(node) for node in inside):
            yield statement, True
        elif any(name in _changed(node) for node in inside):
            yield statement, False


def _outside_functions(statement: ast.stmt) -> Iterator[ast.stmt]:
    """A statement and those in its blocks, but not those in functions and classes."""
    yield statement
    if not isinstance(statement, DEFINITIONS):
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, (ast.stmt, ast.ExceptHandler)):
                yield from _outside_functions(child)


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, ast.With):
        return [item.optional_vars for item in node.items if item.optional_vars]
    return [node.target] if isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.For)) else []


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, DEFINITIONS):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.AugAssign):
        return set()
    inside = itertools.chain.from_iterable(map(ast.walk, _targets(node)))
    return {
        one.id for one in inside if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }


def _changed(node: ast.stmt) -> set[str]:
    """Names whose value a statement changes in place: x += 1, x.a = 1, x[0] = 1, x.append(1),
    nn.init.ones_(x).
    """
    changed = _targets(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call, called = node.value, node.value.func
        changed = [called] if isinstance(called, ast.Attribute) else []
        # torch's mark of what works in place
        if getattr(called, "attr", getattr(called, "id", "")).endswith("_"):
            changed = changed + call.args
    found = set()
    for target in changed:
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            target = target.value
        if isinstance(target, ast.Name):
            found.add(target.id)
    return found
