"""How the model that comes with cvpipe is made: drawn scenes, a small network, a training, an ONNX file and its card.

Only `scenes` and `facts` are for others: they need no PyTorch.
"""
