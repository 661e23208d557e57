"""The script of a model folder, read but never run, and the lock made from its header."""

import inspect
import re
import tomllib
from collections.abc import Mapping
from types import CodeType
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from pilotline.tasks.errors import LabError

# PEP 723: a block of comment lines between "# /// script" and "# ///".
HEADER = re.compile(r"(?m)^# /// script$\s(?P<body>(^#(| .*)$\s)+)^# ///$")
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")
REMAKE = "Make it: uv pip compile --universal --generate-hashes model.py -o requirements.lock."


def check_script(source: bytes, where: str, *, program: bool = False) -> Mapping[str, Any]:
    """Return the script's PEP 723 header, once the script parses and defines what it must.

    Args:
        source: ``model.py``.
        where: for messages.
        program: whether the model has a scoring program of its own; the script then only trains.

    Raises:
        LabError: it does not.
    """
    try:
        defined = list_functions(source)
    except (SyntaxError, ValueError) as err:
        line = getattr(err, "lineno", None)  # none of what is wrong with the whole file
        at, remedy = (f" in line {line}", "Mend the line.") if line else ("", "Mend the file.")
        raise LabError(where, f"syntax error{at}: {err}", remedy) from err
    except (RecursionError, MemoryError) as err:
        raise LabError(where, "is nested too deeply", "Break its expressions up.") from err
    needed = ("train", "save" if program else "predict")
    for name in needed:
        if name not in defined:
            remedy = f"Define {' and '.join(needed)} at top level."
            raise LabError(where, f"no function {name!r}", remedy)
    if program and "features" in defined:
        raise LabError(
            where,
            "defines features",
            "The [runner] program gets the rows as they are; compute them in train.",
        )
    if not program and ("save" in defined) != ("load" in defined):
        raise LabError(where, "defines one of save and load", "Define both, or neither.")
    block = HEADER.search(source.decode("utf-8", "replace"))
    if block is None:
        raise LabError(where, "no PEP 723 header", "Open it with '# /// script' and dependencies.")
    lines = [line[2:] if line.startswith("# ") else "" for line in block["body"].splitlines()]
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as err:
        raise LabError(where, f"the PEP 723 header is not TOML ({err})", "Mend it.") from err


def list_functions(source: bytes) -> frozenset[str]:
    """Return the names of the functions that a script defines at top level; none of it is run.

    It is compiled, not made a syntax tree: in CPython 3.11 all threads share the count of how
    deep such a tree is, and two shards that open their bundles at once end in "AST constructor
    recursion depth mismatch".

    Raises:
        SyntaxError: it does not compile.
        ValueError: it cannot be read as a script.
        RecursionError, MemoryError: an expression is nested too deeply.
    """
    module = compile(source, "model.py", "exec", dont_inherit=True)
    blocks = [const for const in module.co_consts if isinstance(const, CodeType)]
    return frozenset(block.co_name for block in blocks if _is_function(block))


def _is_function(block: CodeType) -> bool:
    # A class's body is no optimized block, a lambda's name no identifier, and what is awaited no
    # function a child can call.
    awaited = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    kind = block.co_flags & (inspect.CO_OPTIMIZED | awaited)
    return kind == inspect.CO_OPTIMIZED and block.co_name.isidentifier()


def check_lock(lock: bytes, header: Mapping[str, Any], where: str) -> None:
    """Do nothing if the lock gives what the script's header asks for.

    Raises:
        LabError: it is stale, holds no hashes, or this Python is not the one asked for.
    """
    pinned: dict[str, list[str]] = {}
    for line in lock.decode("utf-8", "replace").splitlines():
        if match := PINNED.match(line):
            pinned.setdefault(canonicalize_name(match["name"]), []).append(match["version"])
    if not pinned or b"--hash=sha256:" not in lock:
        raise LabError(where, "pins no package with a hash", REMAKE)
    for text in header.get("dependencies", []):
        try:
            wanted = Requirement(text)
        except InvalidRequirement as err:
            raise LabError(where, f"the header names {text!r} ({err})", "Mend model.py.") from err
        versions = pinned.get(canonicalize_name(wanted.name))
        if not versions:
            raise LabError(where, f"stale: the header asks for {text!r}, it pins none", REMAKE)
        if not any(wanted.specifier.contains(version, prereleases=True) for version in versions):
            raise LabError(
                where, f"stale: the header asks for {text!r}, it pins {versions[0]}", REMAKE
            )
    if "pyarrow" not in pinned or "pandas" not in pinned:
        raise LabError(where, "pins no pandas or pyarrow", "Add both to model.py's header.")
    _check_python(header, where)


def _check_python(header: Mapping[str, Any], where: str) -> None:
    import platform

    wanted = header.get("requires-python", "")
    try:
        fits = SpecifierSet(wanted).contains(platform.python_version())
    except (InvalidSpecifier, TypeError, AttributeError) as err:
        raise LabError(
            where, f"the header asks for Python {wanted!r} ({err})", "Mend model.py."
        ) from err
    if not fits:
        raise LabError(
            where,
            f"the header asks for Python {wanted}, this is {platform.python_version()}",
            "Run pilotline with such a Python.",
        )
