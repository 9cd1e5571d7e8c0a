"""Questions to a `LoadedModel`, asked in a process that may import TensorFlow.

`python -m tests.server.worker.run_model MODELS` reads pickled questions from its input, one after
the
other, and writes the pickled answers to its output (see `test_model.py`).
"""

from __future__ import annotations

import pickle
import sys
import traceback
from typing import Any

import numpy as np

from workbench.core.status import Code, ServingError


class Session:
    """The models loaded so far, by name."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.loaded: dict[str, Any] = {}
        self.progress: dict[str, list[str]] = {}

    def model(self, name: str) -> Any:
        from workbench.server.worker.loaded_model import LoadedModel

        if name not in self.loaded:
            kinds = self.progress[name] = []
            self.loaded[name] = LoadedModel(
                f"{self.folder}/{name}", ("serve",), 1, lambda kind, data: kinds.append(kind)
            )
            self.loaded[name].read_graph()
            self.loaded[name].finish()
        return self.loaded[name]

    def load(self, path: str, tags: tuple[str, ...]) -> Any:
        from workbench.server.worker.loaded_model import LoadedModel

        model = LoadedModel(path, tags, 1, lambda kind, data: None)
        model.read_graph()
        model.finish()

    def gpu_options(self, name: str, fraction: float) -> Any:
        from workbench.server.worker.loaded_model import LoadedModel

        path = f"{self.folder}/{name}"
        model = LoadedModel(path, ("serve",), 1, lambda kind, data: None, fraction)
        options = model._session._config.gpu_options
        return options.allow_growth, options.per_process_gpu_memory_fraction

    def run(self, name: str, signature: str, inputs: dict[str, Any], outputs: Any = ()) -> Any:
        return self.model(name).run(signature, inputs, outputs)

    def run_through_the_public_call(self, name: str, signature: str, inputs: Any) -> Any:
        """The same where TensorFlow's private call is missing."""
        from tensorflow.python.client.session import BaseSession

        loaded = self.model(name)
        private = BaseSession._make_callable_from_options
        del BaseSession._make_callable_from_options
        try:
            loaded._calls.clear()
            return loaded.run(signature, inputs)
        finally:
            BaseSession._make_callable_from_options = private
            loaded._calls.clear()

    def overwrite_what_was_fed(self, name: str, signature: str, key: str, size: int) -> Any:
        """Feed an array, and write other numbers into its memory afterwards."""
        array = np.arange(size, dtype=np.float32)
        self.model(name).run(signature, {key: array})
        array[:] = -1.0

    def describe(self, name: str) -> Any:
        model = self.model(name)
        signatures = {key: str(signature) for key, signature in model.signatures.items()}
        return signatures, model.metadata, sorted(model.seconds), self.progress[name]

    def calls(self, name: str) -> int:
        """How many sets of outputs are ready to run."""
        return len(self.model(name)._calls)

    def copies(self, name: str, signature: str) -> Any:
        return any(feed.copies for feed in self.model(name)._call(signature, ()).feeds)

    def twins_in(self, graph: str, signatures: dict[str, Any]) -> Any:
        """Those of a graph in text format, whose signatures have float inputs and outputs."""
        from google.protobuf import text_format
        from tensorflow.core.framework.graph_pb2 import GraphDef
        from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

        from workbench.server.worker.twins import twins

        definitions = {}
        for name, (inputs, outputs) in signatures.items():
            definition = definitions[name] = SignatureDef()
            for alias, tensor in inputs.items():
                definition.inputs[alias].name = tensor
            for alias, tensor in outputs.items():
                definition.outputs[alias].name = tensor
        return twins(text_format.Parse(graph, GraphDef()), definitions)

    def twins(self, name: str) -> Any:
        """The signatures that another is run for, and how many are ready to run."""
        model = self.model(name)
        return model.twins, sorted(signature for signature, _ in model._calls)

    def for_serving(self, name: str, edit: str = "pass") -> Any:
        """What is left of a saved graph, after `edit` has been done to `meta`: whether it is
        another, its nodes by operation, and its functions; and all nodes and functions that it
        names must be there."""
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        from workbench.server.worker.pruning import for_serving

        with open(f"{self.folder}/{name}/saved_model.pb", "rb") as file:
            (meta,) = SavedModel.FromString(file.read()).meta_graphs
        exec(edit, {"meta": meta})
        found = for_serving(meta)
        graph = found.graph_def
        names = {node.name for node in graph.node}
        for node in graph.node:
            assert {i.removeprefix("^").split(":")[0] for i in node.input} <= names
        assert found.signature_def == meta.signature_def
        assert found.saver_def == meta.saver_def
        functions = sorted(f.signature.name for f in graph.library.function)
        return found is not meta, sorted(node.op for node in graph.node), functions

    def translate(self, error: Exception) -> Any:
        from workbench.server.worker.loaded_model import translate

        found = translate(error)
        return found.code, found.message


def main() -> None:
    session = Session(sys.argv[1])
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            method, arguments = pickle.load(questions)
        except EOFError:
            return
        answer: Any
        try:
            answer = getattr(session, method)(*arguments)
        except ServingError as error:
            answer = (ServingError, error.code, error.message)
        except Exception:
            answer = (ServingError, Code.UNKNOWN, traceback.format_exc())
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
