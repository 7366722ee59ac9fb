"""Engines leave the process as they found it."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from lrcn.runtime_engine import open_session

PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
import openvino
from openvino import opset13 as operators
from lrcn.runtime_engine import open_session

given = operators.parameter([1, 3, 8, 8], np.float32, name="x")
weights = operators.constant(np.ones((4, 3, 3, 3), np.float32))
result = operators.convolution(given, weights, [1, 1], [0, 0], [0, 0], [1, 1])
file = Path(sys.argv[1]) / "graph.xml"
openvino.save_model(openvino.Model([result], [given], "graph"), file)
sessions = [open_session(file, "openvino", 1) for _ in range(2)]
assert sessions[0].run({"x": np.ones((1, 3, 8, 8), np.float32)})
while sessions:
    del sessions[0]
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("heard"))
os.kill(os.getpid(), signal.SIGTERM)
print(*heard)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are looked after on Linux")
def test_signals_are_heard_when_models_are_gone(tmp_path):
    pytest.importorskip("openvino", reason="needs the extra openvino: pip install 'lrcn[openvino]'")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode != -signal.SIGSEGV
    assert done.stdout.split() == ["heard"], done.stderr


def test_openvino_says_the_same_of_rows_one_by_one_and_together(tmp_path):
    pytest.importorskip("openvino", reason="needs the extra openvino: pip install 'lrcn[openvino]'")
    import openvino
    from openvino import opset13 as operators

    given = operators.parameter([-1, 4], np.float32, name="x")
    weights = operators.constant(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    product = operators.matmul(given, weights, False, False, name="y")
    product.output(0).tensor.set_names({"y"})
    file = tmp_path / "graph.xml"
    openvino.save_model(openvino.Model([product], [given], "graph"), file, compress_to_fp16=False)
    session = open_session(file, "openvino", 1)
    rows = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    together = session.run({"x": rows})["y"]
    alone = [session.run({"x": row[None]})["y"] for row in rows]
    assert together.shape == (5, 3)
    np.testing.assert_allclose(np.concatenate(alone), together, atol=1e-6)
    # What was given out stays as it is when the next is run.
    np.testing.assert_array_equal(session.run({"x": rows[:1]})["y"], alone[0])
