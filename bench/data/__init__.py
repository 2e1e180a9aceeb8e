"""Getting data sets: download, check and unpack."""
