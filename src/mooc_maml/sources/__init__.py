"""One file a raw format; each reads its files into the same event table."""
