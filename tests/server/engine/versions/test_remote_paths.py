"""Paths of stores that are no folder of this machine, where a server is given them."""

from __future__ import annotations

import pytest

from workbench.core.model_settings import ModelConfig
from workbench.core.remote_paths import check_local, scheme_of
from workbench.core.status import Code, ServingError


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/models/digits", None),
        ("models/digits", None),
        ("a:b/c", None),
        ("gs://bucket/digits", "gs"),
        ("S3://bucket/digits", "s3"),
        # As `pathlib` leaves it.
        ("gs:/bucket/digits", "gs"),
        ("file:///models", "file"),
    ],
)
def test_schemes(path: str, scheme: str | None) -> None:
    assert scheme_of(path) == scheme


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "gs://bucket/digits",
            "The base path of model m, gs://bucket/digits, is not a folder of this machine, and "
            "gs:// is not read here: copy it with `gcloud storage rsync --recursive "
            "gs://bucket/digits FOLDER`, or mount its bucket with gcsfuse, and give the path of "
            "that folder",
        ),
        (
            "s3://bucket/digits",
            "The base path of model m, s3://bucket/digits, is not a folder of this machine, and "
            "s3:// is not read here: copy it with `aws s3 sync s3://bucket/digits FOLDER`, or "
            "mount its bucket with mount-s3, and give the path of that folder",
        ),
        (
            "abfs://store/digits",
            "The base path of model m, abfs://store/digits, is not a folder of this machine, and "
            "abfs:// is not read here: copy it to a folder of this machine, or mount it there, "
            "and give the path of that folder",
        ),
        (
            "file:///models/digits",
            "The base path of model m must be a path without file://; was file:///models/digits",
        ),
    ],
)
def test_a_base_path_in_a_store_says_what_to_do(path: str, message: str) -> None:
    """Flags, configuration files, reload requests and the control plane all make this."""
    for make in (
        lambda: ModelConfig("m", path),
        lambda: ModelConfig.from_json({"name": "m", "base_path": path}),
    ):
        with pytest.raises(ServingError) as raised:
            make()
        assert raised.value == ServingError(Code.INVALID_ARGUMENT, message)


def test_a_path_of_this_machine_is_taken() -> None:
    check_local("/models/digits", "The base path of model m")
