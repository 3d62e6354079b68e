"""The image backbone: architectures, weights, feature extraction, precision. Start at `architectures.py`.

May import data, images and the modules at the top of the package. `config.py` imports neither torch nor torchvision.
"""
