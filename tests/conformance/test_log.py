"""The log of a real server on a smooth change of versions, as the book shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.conformance.model_server import ModelServer, put

THE_BOOK = """\
reserved resources to load servable {name: my_mnist_model version: 2}
Reading SavedModel from: PATH/2
Reading meta graph with tags { serve }
Successfully loaded servable version {name: my_mnist_model version: 2}
Quiescing servable version {name: my_mnist_model version: 1}
Done quiescing servable version {name: my_mnist_model version: 1}
Unloading servable version {name: my_mnist_model version: 1}
"""


def test_the_lines_of_the_book(
    models: Path, tmp_path: Path, start: Callable[..., ModelServer]
) -> None:
    base = tmp_path / "my_mnist_model"
    put(models / "digits", base, 1)
    server = start("--model_name=my_mnist_model", f"--model_base_path={base}")
    server.wait_for("Exporting HTTP/REST API at")
    before = len(server.output)
    put(models / "digits", base, 2)
    server.wait_for("Done unloading servable version {name: my_mnist_model version: 1}")
    # Without the time of day, and without what TensorFlow itself prints.
    lines = [
        re.sub(r"\d+ microseconds", "N microseconds", line[13:])
        for line in server.output[before:].splitlines()
        if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line) and "not complete yet" not in line
    ]
    one, two = (f"{{name: my_mnist_model version: {v}}}" for v in (1, 2))
    assert lines == [
        f"Successfully reserved resources to load servable {two}",
        f"Approving load for servable version {two}",
        f"Loading servable version {two}",
        f"Reading SavedModel from: {base}/2",
        "Reading meta graph with tags { serve }",
        "SavedModel load for tags { serve }; Status: success: OK. Took N microseconds.",
        f"No warmup data file found at {base}/2/assets.extra/tf_serving_warmup_requests",
        f"Successfully loaded servable version {two}",
        f"Quiescing servable version {one}",
        f"Done quiescing servable version {one}",
        f"Unloading servable version {one}",
        f"Done unloading servable version {one}",
    ]
    # The seven of the book are among them, in this order.
    rest = iter(lines)
    for wanted in THE_BOOK.replace("PATH", str(base)).splitlines():
        assert any(line.endswith(wanted) for line in rest), wanted
