"""Writers of the forms that `harness/export.py` offers: ONNX, TFLite and torch.export, and the reader of a user's own file."""
