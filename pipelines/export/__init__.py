"""ONNX export, quantisation, import from Hugging Face, parity checks."""
