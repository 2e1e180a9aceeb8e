"""Getting data sets: what is downloaded, unpacked and checked."""
