"""Descriptions of operators in ONNX: there are none."""
