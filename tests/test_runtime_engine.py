"""Engines leave the process as they found it."""

import signal
import subprocess
import sys

import pytest

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
