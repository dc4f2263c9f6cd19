r"""From a Python module's source to one document of its docstrings.

The document reads::

    # package.module

    The module's docstring.

    ## package.module.function(a, b=1)

    The function's docstring.

A heading is always one line, and ``^## ([\w.]+)\((.*)\)$`` reads it back.
"""

import ast
import contextlib
import gc
import inspect
import warnings
from collections.abc import Iterator

MAX_SIGNATURE = 240

_Entry = tuple[str, str]

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_document(name: str, source: bytes) -> tuple[str, str]:
    """The document of module ``name``, and its docstrings alone, without our headings.

    Both are empty where nothing in the module has a docstring. A docstring that stood
    before in the module (an async twin's, say) is left out with its heading.

    Raises:
        SyntaxError, ValueError, RecursionError: the source cannot be parsed.
    """
    module, entries = _read(name, source)
    docs = [module, *entries] if module else list(entries)
    if not docs:
        return "", ""
    parts = [f"# {name}", *docs[: bool(module)]]
    parts += [f"## {heading}\n\n{doc}" for doc, heading in entries.items()]
    return "\n\n".join(parts) + "\n", "\n\n".join(docs) + "\n"


def _read(name: str, source: bytes) -> tuple[str, dict[str, str]]:
    """The module's docstring, and docstring -> heading of what is in it."""
    with warnings.catch_warnings(), _no_collection():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        tree = ast.parse(source)
        entries: dict[str, str] = {}
        for heading, doc in _entries(tree.body, name):
            entries.setdefault(doc, heading)
        return _docstring(tree), entries


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """A tree has no cycles, and its many small nodes keep the collector busy for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _entries(body: list[ast.stmt], prefix: str, in_class: bool = False) -> Iterator[_Entry]:
    """(heading, docstring) of every public, documented class and function."""
    for node in body:
        if not isinstance(node, ast.ClassDef | _Function) or node.name.startswith("_"):
            continue
        qualified = f"{prefix}.{node.name}"
        doc = _docstring(node)
        if isinstance(node, ast.ClassDef):
            if doc:
                yield f"{qualified}({_class_signature(node)})", doc
            yield from _entries(node.body, qualified, in_class=True)
        elif doc:
            yield f"{qualified}({_signature(node, in_class)})", doc


def _docstring(node: ast.Module | ast.ClassDef | _Function) -> str:
    raw = ast.get_docstring(node, clean=False)
    return inspect.cleandoc(raw).strip() if raw else ""


def _class_signature(node: ast.ClassDef) -> str:
    for child in node.body:
        if isinstance(child, _Function) and child.name == "__init__":
            return _signature(child, in_class=True)
    return ""


def _signature(node: _Function, in_class: bool) -> str:
    """Parameters as written, without ``self``; annotations go where it gets too long."""
    arguments = node.args
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    if in_class and not static:
        (arguments.posonlyargs or arguments.args)[:1] = []
    text = " ".join(ast.unparse(arguments).split())
    if len(text) <= MAX_SIGNATURE:
        return text
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    text = " ".join(ast.unparse(arguments).split())
    if len(text) <= MAX_SIGNATURE:
        return text
    whole = text[:MAX_SIGNATURE].rfind(", ")
    return text[: max(whole, 0)] + ", ..."
