"""A stage's code as one hash, which comments, docstrings and blank lines do not change."""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Tokens that are layout, not code.
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def stages(root: Path = ROOT) -> list[str]:
    """The stages whose results depend on their code: all but `check`, which runs whenever any code changes."""
    return sorted({path.stem for path in root.glob("stages/[!_]*.py")} - {"check"})


@cache
def fingerprint(stage: str, root: Path = ROOT) -> str:
    """The SHA-256 sum, in hexadecimal, of a stage's code: its own file and the project's files that it imports.

    root: the project's folder, or another one with the same project at another commit.
    """
    digest = hashlib.sha256()
    for file in sorted(closure(root / "stages" / f"{stage}.py", root)):
        if code := _code(file):
            digest.update(f"{file.relative_to(root).as_posix()}\n{code}\n".encode())
    return digest.hexdigest()


def closure(file: Path, root: Path = ROOT) -> set[Path]:
    """A file of the project and all files of the project that it imports, directly or not."""
    seen, new = set[Path](), {file}
    while new:
        seen |= new
        new = {imported for known in new for imported in _imported(known, root)} - seen
    return seen


def stripped(source: str) -> str:
    """Source code without comments, docstrings and blank lines; all other text stays as it is.

    They are cut out by position. Printing the syntax tree instead would give another text with another version of
    Python. A docstring that shares a line with code stays.
    """
    lines = source.split("\n")
    texts, rest = set[int](), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (row, column), (last, _) = token.start, token.end
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column].rstrip()
        elif token.type not in LAYOUT:
            # A string may span several lines, and its blank lines are part of it.
            (texts if token.type == tokenize.STRING else rest).update(range(row, last + 1))
    for docstring in _docstrings(ast.parse(source)):
        if rest.isdisjoint(docstring):
            texts.difference_update(docstring)
    return "\n".join(lines[row - 1] for row in sorted(texts | rest))


def _docstrings(tree: ast.Module) -> Iterator[range]:
    """The lines of each docstring, counted from 1."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())) as first, *_]:
                    yield range(first.lineno, (first.end_lineno or first.lineno) + 1)


@cache
def _code(file: Path) -> str:
    return stripped(file.read_text(encoding="utf-8"))


@cache
def _imported(file: Path, root: Path) -> frozenset[Path]:
    """The project's files that a file imports, inside functions too, with the packages that they are in."""
    found = set[Path]()
    for name in imports(ast.parse(file.read_text(encoding="utf-8"))):
        path = root.joinpath(*name.split("."))
        packages = [folder / "__init__.py" for folder in (path, *path.parents) if folder.is_relative_to(root)]
        found.update(packages, [path.with_suffix(".py")])
    return frozenset(one for one in found if one.is_file())


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that code imports, except under TYPE_CHECKING; `from a import b` may mean a.b."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                continue
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str() as module, names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
        yield from imports(node)
