"""Published few-shot class splits as YAML: class names of train, val and test, read by `mdmf.data.listing.splits`.

The order of each list is the numbering of the published video lists: `test3` is the class at place 3 of `test`.
"""
