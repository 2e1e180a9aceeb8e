"""Images from files to the input of a network, and the features computed from them."""
