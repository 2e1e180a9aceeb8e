"""Reads weights files of every published kind strictly and one tensor at a time, converts them, and inspects them.

Reading takes three steps, each in a module or two:

    paths, files        a path to the tensors in the file or in a training checkpoint, unread, without the prefixes of
                        wrapped modules; npz, safetensors and pickled are the formats
    conventions         official names and timm's (names/) to this project's; layout has the order of the axes
    load, resize        the head, the tanh layer and the position grid that a network needs; then all must match
"""
