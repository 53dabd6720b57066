"""ONNX -> the graph: one function for each ONNX operator, which says it in operators of ours. Anything else is Unsupported, naming the node."""
