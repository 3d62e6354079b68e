"""Data sets: readers from files on disk to items, splits of the items, and the identity of a data set."""
