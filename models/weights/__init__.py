"""Reads weights files of every published kind strictly and one tensor at a time, converts them, and inspects them.

Reading takes three steps, each in a module or two:

    paths, files        a path to all tensors in the file, unread; npz, safetensors and pickled are the formats, and
                        foreign says what a file of another kind is
    conventions         the names of the release and of libraries (names/) to this project's; layout has the order of
                        the axes, and containers finds the network among a training checkpoint's tensors
    load, resize        the head, the tanh layer and the position grid that a network needs; then all must match
"""
