"""From what a person types to the object it names: 'lstm(hidden=128)' -> the cell. Never evaluated.

A spec is a name and keyword arguments, whose values are Python literals. The name is that of a
file in one of the rooms given (`cells/lstm.py` holds `lstm`), or dotted, of anything that can be
imported: 'my_package.my_cell.janet(hidden=64)'.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from seqjax.types import UserError

MAX_CHARACTERS = 2000
LARGEST = 2**53  # no array has so many of anything


class Spec(NamedTuple):
    """A name and its keyword arguments; `str` gives the text that parses to it again."""

    name: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.arguments.items())})"


def parse(text: str) -> Spec:
    """'adding(length=50)' -> Spec('adding', {'length': 50}). Raises UserError on anything else."""
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"a spec of {len(text)} characters; at most {MAX_CHARACTERS} are read")
    form = "expected a name, or a name with keyword arguments, as in 'lstm(hidden=128)'"
    try:
        with warnings.catch_warnings():  # of a backslash that escapes nothing, as in a Windows path
            warnings.simplefilter("ignore")
            node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{text!r} does not parse; {form}") from error
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    name = _dotted(call.func)
    if name is None:
        raise UserError(f"{text!r} names nothing; {form}")
    if call.args:
        raise UserError(f"{text!r} has an argument without a name; {form}")
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise UserError(f"{text!r} has a '**'; {form}")
        if keyword.arg in arguments:
            raise UserError(f"{text!r} gives {keyword.arg!r} twice")
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
            ast.literal_eval(repr(arguments[keyword.arg]))  # 1e999 and ... have no text that parses again
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            shown = " ".join(ast.get_source_segment(text.strip(), keyword.value).split())
            raise UserError(
                f"{keyword.arg}={shown} is not a plain value; expected a number, a 'text', "
                "True, False, None or a tuple of them"
            ) from error
    return Spec(name, arguments)


def split(text: str) -> list[Spec]:
    """'rnn();lstm(hidden=8)' -> the Specs between the semicolons, quoted ones left alone."""
    specs = [parse(part) for part in pieces(text)]
    if not specs:
        raise UserError("is empty; expected at least one spec, as in 'lstm(hidden=128)'")
    return specs


def pieces(text: str) -> list[str]:
    """What stands between the semicolons, but for those that are quoted, and is not blank."""
    parts, quote, escaped = [""], None, False
    for character in text:
        if character in "'\"" and not escaped:
            quote = None if quote == character else quote or character
        escaped = character == "\\" and not escaped
        if character == ";" and quote is None:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def names(rooms: Sequence[types.ModuleType]) -> list[str]:
    """The names that can be typed: the files of the rooms that hold a function of their own name."""
    found = {
        module.name
        for room in rooms
        for module in pkgutil.iter_modules(room.__path__)
        if hasattr(importlib.import_module(f"{room.__name__}.{module.name}"), module.name)
    }
    return sorted(found)


def factory(name: str, rooms: Sequence[types.ModuleType]) -> Callable[..., Any]:
    """The function that a name stands for, from the rooms or, if dotted, from anywhere."""
    if "." in name:
        module_name, attribute = name.rsplit(".", 1)
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, RecursionError) as error:
            raise UserError(f"{name!r} cannot be imported: {error}") from error
        if not callable(found):
            raise UserError(f"{name!r} is not a function")
        return found
    for room in rooms:
        if importlib.util.find_spec(f"{room.__name__}.{name}"):
            found = getattr(importlib.import_module(f"{room.__name__}.{name}"), name, None)
            if found is not None:
                return found
    known, kind = names(rooms), rooms[0].__name__.rsplit(".", 1)[-1]
    raise UserError(f"no {kind[:-1]} {name!r}{did_you_mean(name, known)}{kind}: {', '.join(known)}")


def build(spec: Spec | str, rooms: Sequence[types.ModuleType], kind: type) -> Any:
    """The object a spec names, of the kind that the rooms make.

    A function is called only if it declares that it returns that kind, so that a spec can name a
    user's own cell, and nothing else of what can be imported.

    Raises:
        UserError: what is wrong with the spec, and what would do.
    """
    spec = parse(spec) if isinstance(spec, str) else spec
    make = factory(spec.name, rooms)
    if _hints(make).get("return") is not kind:
        raise UserError(f"{spec.name!r} is not declared as `-> {kind.__name__}`, so it is not called")
    check(spec, make)
    try:
        with prefixed(spec.name):
            return make(**spec.arguments)
    except (OverflowError, MemoryError) as error:
        raise UserError(f"{spec}: a number too large to count with ({error})") from error


def accepts(spec: Spec, rooms: Sequence[types.ModuleType], argument: str) -> bool:
    """Whether the thing a spec names takes an argument of that name."""
    return argument in inspect.signature(factory(spec.name, rooms)).parameters


def check(spec: Spec, make: Callable[..., Any], given: Sequence[str] = ()) -> None:
    """Hold the spec's arguments against the function's own signature and annotations.

    Args:
        spec: what was typed.
        make: the function it names.
        given: arguments that the caller supplies, which the spec may leave out and not set.
    """
    parameters = inspect.signature(make).parameters
    hints = _hints(make)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    accepted = [k for k, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and k not in given]
    for key, value in spec.arguments.items():
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise UserError(f"{spec.name}: {key} is a number of {len(str(value))} digits; expected less than 2^53")
        if key not in accepted:
            if open_ended and key not in given:
                continue
            raise UserError(
                f"{spec.name} takes no argument {key!r}{did_you_mean(key, accepted)}arguments: {', '.join(accepted)}"
            )
        hint = hints.get(key, Any)
        if not _fits(value, hint):
            raise UserError(f"{spec.name}: {key}={value!r}; expected {_words(hint)}")
    missing = [k for k in accepted if parameters[k].default is inspect.Parameter.empty and k not in spec.arguments]
    if missing:
        raise UserError(f"{spec.name} needs {', '.join(f'{k}=...' for k in missing)}")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """What joins a complaint to the list of what is known: "; did you mean 'lstm'? " or "; "."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}? " if near else "; "


@contextlib.contextmanager
def prefixed(where: str) -> Iterator[None]:
    """A UserError from within begins with where the mistake is: "--cell='lsmt': no cell 'lsmt' ..."."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(make)
    except (TypeError, NameError):
        return {}


def _dotted(node: ast.AST) -> str | None:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _choices(hint: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(hint)
    return typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    for choice in _choices(hint):
        origin = typing.get_origin(choice) or choice
        if origin is Any or choice is None or choice is type(None):
            fits = origin is Any or value is None
        elif origin is Literal:
            fits = value in typing.get_args(choice)
        elif origin is float:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        elif origin is int:
            fits = isinstance(value, int) and not isinstance(value, bool)
        elif isinstance(origin, type):
            fits = isinstance(value, origin)
            if fits and origin is tuple and typing.get_args(choice)[1:] == (...,):
                fits = all(_fits(each, typing.get_args(choice)[0]) for each in value)
        else:
            fits = True
        if fits:
            return True
    return False


def _words(hint: Any) -> str:
    plain = {int: "a whole number", float: "a number", str: "a 'text'", bool: "True or False", type(None): "None"}
    words, others = [], []
    for choice in _choices(hint):
        if typing.get_origin(choice) is Literal:
            words += [repr(v) for v in typing.get_args(choice)]
        elif typing.get_origin(choice) is tuple:
            words.append(f"a tuple, each {_words(typing.get_args(choice)[0])}")
        else:
            name = plain.get(choice, getattr(choice, "__name__", str(choice)))
            (words if choice in plain else others).append(name)
    return " or ".join(words or others)  # others, as arrays, are nothing that a spec can say
