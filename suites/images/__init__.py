"""Images from files to what a network is fed, and the features it makes of them."""
