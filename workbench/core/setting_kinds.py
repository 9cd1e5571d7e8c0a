"""Kinds of settings: the allowed values, declared once for checks and error texts.

A setting is declared where its default is, on the field of a dataclass:

    max_load_retries: int = setting(2, whole(0), "attempts after a first load that failed ...")

`check_fields` checks all settings of a dataclass, whether they come from a client's JSON, from a
flag or from Python. Every refusal is one sentence with the name, the value and the allowed values:

    Setting 'max_load_retries' must be a whole number, at least 0; was -5
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, TypeVar

from workbench.core.status import invalid_argument

T = TypeVar("T")
INT64_MAX = 2**63 - 1
_KEY = "setting"


@dataclass(frozen=True)
class Kind:
    """The values that a setting may have.

    Attributes:
        allowed: those values, in words that follow "must be".
        accepts: whether a value is one of them; it never raises.
        read: converts the value to the form in which it is kept; may raise a `ServingError`.
        plain: converts the kept value to plain data for JSON.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any] = lambda value: value
    plain: Callable[[Any], Any] = lambda value: value

    def check(self, name: str, value: Any, what: str = "Setting") -> Any:
        """The value as it is kept.

        Raises:
            ServingError: INVALID_ARGUMENT, with the name, the value and the allowed values.
        """
        if not self.accepts(value):
            raise invalid_argument(f"{what} {name!r} must be {self.allowed}; was {value!r}")
        return self.read(value)


@dataclass(frozen=True)
class Setting:
    """One declared setting.

    Attributes:
        meaning: a phrase for readers.
        changeable: whether a model that is served may get another value.
        secret: whether neither `repr` nor an error shows the value.
    """

    kind: Kind
    meaning: str
    changeable: bool = False
    secret: bool = False

    def check(self, name: str, value: Any, what: str = "Setting") -> Any:
        """As `Kind.check`, but an error does not show the value of a secret."""
        if self.secret and not self.kind.accepts(value):
            raise invalid_argument(f"{what} {name!r} must be {self.kind.allowed}; it is not shown")
        return self.kind.check(name, value, what)


def setting(
    default: Any, kind: Kind, meaning: str, *, changeable: bool = False, secret: bool = False
) -> Any:
    """A dataclass field that is a setting; a callable `default` makes the default each time."""
    metadata = {_KEY: Setting(kind, meaning, changeable, secret)}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def required(kind: Kind, meaning: str) -> Any:
    """A dataclass field that is a setting without a default."""
    return setting(MISSING, kind, meaning)


def settings_of(cls: Any) -> Mapping[str, Setting]:
    """The declared settings of a dataclass, in their order."""
    return {each.name: each.metadata[_KEY] for each in fields(cls) if _KEY in each.metadata}


def check_fields(made: Any, what: str = "Setting") -> None:
    """Check every setting of a dataclass that has just been made, and keep each as it is read.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the first that is not allowed.
    """
    for name, declared in settings_of(type(made)).items():
        value = getattr(made, name)
        kept = declared.check(name, value, what)
        if kept is not value:
            object.__setattr__(made, name, kept)


def plain_fields(made: Any) -> dict[str, Any]:
    """Every setting of a dataclass by name, as plain data for JSON."""
    return {
        name: declared.kind.plain(getattr(made, name))
        for name, declared in settings_of(type(made)).items()
    }


def read_fields(cls: type[T], data: Any, what: str) -> T:
    """The dataclass of settings that `plain_fields` wrote; settings that are left out have their
    defaults.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no object, a name is unknown, one without a default is
            missing, or a value is not allowed.
    """
    if not isinstance(data, Mapping):
        raise invalid_argument(f"The {what}s must be an object; were {data!r}")
    declared = settings_of(cls)
    for name in data:
        check_known(name, declared, what)
    for each in fields(cls):  # type: ignore[arg-type]
        has_default = each.default is not MISSING or each.default_factory is not MISSING
        if each.name not in data and not has_default:
            allowed = declared[each.name].kind.allowed
            raise invalid_argument(f"The {what} {each.name!r} is missing: it must be {allowed}")
    return cls(**data)


def check_known(name: str, declared: Iterable[str], what: str) -> None:
    """Check that a setting of that name is declared.

    Raises:
        ServingError: INVALID_ARGUMENT, with the declared names.
    """
    known = sorted(declared)
    if name not in known:
        raise invalid_argument(f"Unknown {what} {name!r}: known are {', '.join(known)}")


# Kinds.


def truth() -> Kind:
    """A boolean; 0, 1 and text are not."""
    return Kind("true or false", lambda value: type(value) is bool)


def whole(least: int, most: int = INT64_MAX, *, unit: str = "") -> Kind:
    """A whole number in that range; floats and booleans are not."""
    bounds = _range(least, math.inf if most == INT64_MAX else most)
    what = f"a whole number{unit and f' of {unit}'}, {bounds}"
    return Kind(what, lambda value: is_whole(value) and least <= value <= most, int)


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer of Python or numpy, and no boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def number(least: float, most: float = math.inf, *, above: bool = False, unit: str = "") -> Kind:
    """A finite number in that range; with `above`, `least` itself is not allowed."""

    def accepts(value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return False
        value = float(value)
        return bool((value > least if above else value >= least) and value <= most)

    what = f"a number{unit and f' of {unit}'}, {_range(least, most, above)}"
    return Kind(what, accepts, lambda value: value if type(value) is int else float(value))


def _range(least: float, most: float, above: bool = False) -> str:
    low = f"{'above' if above else 'at least'} {least}"
    return low if math.isinf(most) else f"{low} and at most {most}"


def text(pattern: str, allowed: str) -> Kind:
    """A string that matches `pattern` as a whole."""
    compiled = re.compile(rf"(?:{pattern})\Z", re.DOTALL)
    return Kind(allowed, lambda value: isinstance(value, str) and bool(compiled.match(value)))


def one_of(*names: str) -> Kind:
    """One of these strings."""
    listed = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
    return Kind(listed, lambda value: isinstance(value, str) and value in names)


def listed(
    allowed: str, entry: Callable[[Any], bool], read: Callable[[Any], Any] = lambda value: value
) -> Kind:
    """A list (or tuple) whose entries all pass `entry`; kept as a tuple of what `read` makes."""
    return Kind(
        allowed,
        lambda value: isinstance(value, list | tuple) and all(map(entry, value)),
        lambda value: tuple(map(read, value)),
        list,
    )


def optional(kind: Kind, meaning_of_none: str) -> Kind:
    """The same or None (`null` in JSON); `meaning_of_none` is a phrase with "for"."""
    return Kind(
        f"{kind.allowed}, or None {meaning_of_none}",
        lambda value: value is None or kind.accepts(value),
        lambda value: None if value is None else kind.read(value),
        lambda value: None if value is None else kind.plain(value),
    )
