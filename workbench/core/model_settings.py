# ruff: noqa: RUF009 - `setting` makes fields, as `dataclasses.field` does.
"""The settings of a served model: one table for checks, error texts and PATCH rules.

A setting is one field of `ModelConfig`: its name, default, kind (type and range), meaning, and
whether it may be changed while the model is served. To add one, change nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.remote_paths import check_local
from workbench.core.setting_kinds import (
    INT64_MAX,
    Kind,
    check_fields,
    check_known,
    is_whole,
    listed,
    number,
    one_of,
    optional,
    plain_fields,
    required,
    setting,
    settings_of,
    text,
    truth,
    whole,
)
from workbench.core.status import ServingError, invalid_argument
from workbench.core.versions.policies import TRANSITIONS, policy_name
from workbench.core.versions.version_policy import VersionPolicy, is_version

_INT32_MAX = 2**31 - 1
_DEFAULT_TAGS = ("serve",)

_NAME = text(
    r"[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*",
    "text that does not begin with a blank and has no control characters",
)
_ANY_TEXT = Kind("a string", lambda value: isinstance(value, str))
_VERSION_POLICY = Kind(
    "a version policy",
    lambda value: True,  # `parse` refuses the others itself
    VersionPolicy.parse,
    VersionPolicy.to_json,
)
_TRANSITION = Kind("a string", lambda value: isinstance(value, str), policy_name)
_BATCHING = Kind(
    "an object of batching parameters, or None for automatic batching",
    lambda value: value is None or isinstance(value, BatchingParameters | Mapping),
    lambda value: BatchingParameters.from_json(value) if isinstance(value, Mapping) else value,
    lambda value: None if value is None else value.to_json(),
)


def _is_label(item: tuple[Any, Any]) -> bool:
    label, version = item
    named = isinstance(label, str) and bool(label)
    return named and is_whole(version) and is_version(int(version))


_LABELS = Kind(
    f"an object of labels with version numbers, from 0 to {INT64_MAX}",
    lambda value: (
        value is None or (isinstance(value, Mapping) and all(map(_is_label, value.items())))
    ),
    lambda value: {label: int(version) for label, version in (value or {}).items()},
    dict,
)
_TAGS = listed("a list of strings", lambda tag: isinstance(tag, str))
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")


def is_package_name(name: Any) -> bool:
    """Whether this is the name of a top-level Python package, and nothing that could be a path."""
    return isinstance(name, str) and _PACKAGE.match(name) is not None


def _is_op_library(library: Any) -> bool:
    return is_package_name(library) or (isinstance(library, str) and os.path.isabs(library))


_OP_LIBRARIES = Kind(
    "a list of names of Python packages and of absolute paths of shared libraries",
    lambda value: (
        value is None
        or _is_op_library(value)
        or (isinstance(value, list | tuple) and all(map(_is_op_library, value)))
    ),
    # A string is a sequence too, of its characters.
    lambda value: (value,) if isinstance(value, str) else tuple(value or ()),
    list,
)
_DEVICE = text(r"auto|cpu|gpu:\d{1,3}", "'auto', 'cpu', or a GPU like 'gpu:0'")
_LIMIT_BYTES = optional(whole(1, unit="bytes"), "for no limit")


@dataclass(frozen=True)
class ModelConfig:
    """How a model is served; kept on disk as the server's desired state.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    name: str = required(_NAME, "what requests call the model")
    base_path: str = required(
        _ANY_TEXT, "the absolute path of the folder that holds the numbered version folders"
    )
    version_policy: VersionPolicy = setting(
        VersionPolicy, _VERSION_POLICY, "which of the versions found are aspired", changeable=True
    )
    transition: str = setting(
        "smooth",
        _TRANSITION,
        f"how one version replaces another: {', '.join(f'`{name}`' for name in TRANSITIONS)}",
        changeable=True,
    )
    batching: BatchingParameters | None = setting(
        None,
        _BATCHING,
        "the parameters of TensorFlow Serving's `BatchingSession`; None means automatic",
        changeable=True,
    )
    labels: Mapping[str, int] = setting(
        dict,
        _LABELS,
        "names for versions; a label may name a version that does not exist yet",
        changeable=True,
    )
    max_load_retries: int = setting(
        2, whole(0), "attempts after a first load that failed for a transient reason"
    )
    load_retry_seconds: float = setting(
        1.0, number(0, unit="seconds"), "the pause before each further attempt to load"
    )
    tags: tuple[str, ...] = setting(
        _DEFAULT_TAGS,
        Kind(
            _TAGS.allowed,
            lambda value: value is None or _TAGS.accepts(value),
            lambda value: tuple(value or _DEFAULT_TAGS),
            list,
        ),
        "the tags of the meta graph to load; none means `serve`",
    )
    intra_op_threads: int | None = setting(
        None,
        optional(whole(1, _INT32_MAX), "for the CPUs divided by the executor slots"),
        "threads that one operation may use",
    )
    enable_model_warmup: bool = setting(
        True, truth(), "run the version's warm-up requests before it becomes available"
    )
    num_request_iterations_for_warmup: int = setting(
        0, whole(0, _INT32_MAX), "how often each warm-up request is run; 0 means once"
    )
    automatic_batching: bool = setting(
        True,
        truth(),
        "without `batching`, merge requests where that changes nothing but speed; False runs each "
        "alone",
    )
    version_batching: bool = setting(
        False,
        truth(),
        "batch by each version's own `batching_params.pbtxt` instead of `batching`; requests of a "
        "version without that file are not batched",
    )
    device: str = setting(
        "auto",
        _DEVICE,
        "`auto` (the GPU with the most free memory, else the CPU), `cpu`, or `gpu:N`; a change "
        "applies to workers that start from then on",
        changeable=True,
    )
    memory_limit_bytes: int | None = setting(
        None, _LIMIT_BYTES, "the most host memory that one of its workers may use", changeable=True
    )
    gpu_memory_limit_bytes: int | None = setting(
        None, _LIMIT_BYTES, "the most GPU memory that one of its workers may use", changeable=True
    )
    hang_seconds: float = setting(
        60.0,
        number(0, above=True, unit="seconds"),
        "the time after which a run that no caller waits for counts as hung: its worker is ended "
        "and replaced",
    )
    fall_back: bool = setting(
        True,
        truth(),
        "if the wanted version cannot be loaded and none serves, serve the highest one before it "
        "that can be loaded",
    )
    probe: str = setting(
        "refuse",
        one_of("refuse", "warn", "off"),
        "how to treat a version that fails when each of its signatures is called once before it "
        "becomes available: `refuse` or `warn`; `off` calls none, as TensorFlow Serving",
        changeable=True,
    )
    reload_replaced_versions: bool = setting(
        True,
        truth(),
        "reload a version under its number if its folder has been replaced (a link was swapped, "
        "or the folder was removed and made again); otherwise warn, and keep serving the loaded "
        "one, as TensorFlow Serving does",
    )
    servable_versions_always_present: bool = setting(
        True,
        truth(),
        "keep serving the loaded versions if the base path no longer contains any",
    )
    retry_all_load_errors: bool = setting(
        False, truth(), "attempt a load again whatever the reason of the failure"
    )
    gpu_memory_fraction: float = setting(
        0.0,
        number(0, 1),
        "the share of a GPU's memory that each version may use; 0 sets no limit",
    )
    op_libraries: tuple[str, ...] = setting(
        (),
        _OP_LIBRARIES,
        "Python packages, and paths of shared libraries, whose TensorFlow operations the model's "
        "graphs may need",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_local(self.base_path, f"The base path of model {self.name}")
        if not os.path.isabs(self.base_path):
            # TensorFlow Serving's text.
            raise invalid_argument(
                f"Expected model {self.name} to have an absolute path or URI; got "
                f"base_path()={self.base_path}"
            )

    def to_json(self) -> dict[str, Any]:
        """All settings as plain data, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelConfig:
        """The settings in `data`; those that it leaves out have their defaults.

        Raises:
            ServingError: INVALID_ARGUMENT, naming the setting that is wrong.
        """
        for name in data:
            check_known(name, MODEL_SETTINGS, "model setting")
        for name in ("name", "base_path"):
            if not isinstance(data.get(name), str):
                raise invalid_argument(f"A model needs its {name}, a string")
        return cls(**data)


MODEL_SETTINGS = settings_of(ModelConfig)
"""Every setting of a model by its name."""


def read_kept(data: Mapping[str, Any]) -> tuple[ModelConfig, list[str]]:
    """Read the settings that an earlier server kept. One that is not allowed any more gets its
    default, because it must not keep the server from starting.

    Returns:
        The settings, and an error text for each that was not allowed.

    Raises:
        ServingError: INVALID_ARGUMENT, the name or the base path is not allowed.
    """
    good, refused = {}, []
    for name, value in data.items():
        try:
            check_known(name, MODEL_SETTINGS, "model setting")
            good[name] = check_setting(name, value)
        except ServingError as error:
            refused.append(f"{error.message}; its default is in force")
    return ModelConfig.from_json(good), refused


def check_setting(name: str, value: Any) -> Any:
    """A model's setting in the form in which it is kept.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """
    return MODEL_SETTINGS[name].kind.check(name, value)


def plain_setting(name: str, value: Any) -> Any:
    """A model's setting as plain data, for the control plane; raises as `check_setting`."""
    return MODEL_SETTINGS[name].kind.plain(check_setting(name, value))


def read_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in `data`, for a model that is served already.

    Raises:
        ServingError: INVALID_ARGUMENT, a name is unknown or cannot be changed, or a value is not
            allowed.
    """
    changeable = [name for name, each in MODEL_SETTINGS.items() if each.changeable]
    for name in data:
        check_known(name, MODEL_SETTINGS, "model setting")
        if name not in changeable:
            raise invalid_argument(
                f"Setting {name!r} of a model that is served cannot be changed; these can: "
                f"{', '.join(changeable)}"
            )
    return {name: check_setting(name, value) for name, value in data.items()}
