"""Pack a finished run into one file, a bundle, and unpack it again."""
