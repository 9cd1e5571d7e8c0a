"""Messages declared at run time are those of TensorFlow Serving on the wire."""

from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool

from workbench.formats.wire.messages import message_class
from workbench.formats.wire.protobuf import field


def test_model_spec_on_the_wire() -> None:
    spec = message_class("ModelSpec")(name="m", signature_name="s")
    spec.version.value = 5
    assert spec.SerializeToString() == field(1, b"m") + field(2, field(1, 5)) + field(3, b"s")
    spec.version_label = "stable"
    assert spec.WhichOneof("version_choice") == "version_label"
    assert spec.SerializeToString() == field(1, b"m") + field(3, b"s") + field(4, b"stable")


def test_maps_enums_and_packed_numbers_on_the_wire() -> None:
    config = message_class("ModelConfig")(name="m", model_type="TENSORFLOW")
    config.version_labels["stable"] = 42
    config.model_version_policy.specific.versions.extend([1, 300])
    assert config.SerializeToString() == (
        field(1, b"m")
        + field(3, 1)
        + field(7, field(102, field(1, b"\x01\xac\x02")))
        + field(8, field(1, b"stable") + field(2, 42))
    )


def test_a_field_is_repeated_optional_or_one_of_several() -> None:
    fields = message_class("InferenceResult").DESCRIPTOR.fields_by_name
    assert {name: f.containing_oneof and f.containing_oneof.name for name, f in fields.items()} == {
        "model_spec": None,
        "classification_result": "result",
        "regression_result": "result",
    }
    examples = message_class("ExampleListWithContext").DESCRIPTOR.fields_by_name
    assert {name: f.is_repeated for name, f in examples.items()} == {
        "examples": True,
        "context": False,
    }


def test_the_pool_is_ours_alone() -> None:
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("workbench/tensorflow.serving.proto")
    assert message_class("ModelSpec").DESCRIPTOR.file.name == "workbench/tensorflow.serving.proto"


def test_no_message_needs_tensorflow() -> None:
    script = (
        "import sys; from workbench.formats.wire.messages import message_class; "
        "message_class('ModelSpec'); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_message_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="NoSuchMessage"):
        message_class("NoSuchMessage")
