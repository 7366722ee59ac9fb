"""Models as graphs for other engines: ONNX, OpenVINO and .pt2, each checked against the model on real frames."""
