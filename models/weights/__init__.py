"""Reads weights files of every published kind strictly and one tensor at a time, converts them, and inspects them.

Reading takes four steps, each in a module or two:

    paths, files        a path to the tensors in the file, unread; npz, safetensors and pickled are its formats
    containers          the state dict in a training checkpoint, without the prefixes of wrapped modules
    conventions         official names and timm's (names/) to this project's; layout has the order of the axes
    load, resize        the head, the tanh layer and the position grid that a network needs; then all must match
"""
