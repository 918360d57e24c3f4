"""Networks as ONNX graphs: of a ResNet's weights (`resnet`), or of a Keras model (`keras_layers`).

Every graph takes `image`, (N, height, width, 3) float32, RGB from 0 to 255, and returns
`landmarks`, (N, k, 2 or 3) float32, as the Keras networks of `models.networks` do. Within the graph
images are (N, C, H, W).
"""
