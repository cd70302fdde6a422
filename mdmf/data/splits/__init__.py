"""Published few-shot class splits as YAML: class names of train, val and test, read by `mdmf.data.listing.splits`.

The order of the classes of a split is the numbering of the published video lists: `test3` is the class at place 3 of
`test`. The number beside a class is that of its videos in these lists: CMN's for Kinetics-100 and SSv2-Small, OTAM's
for SSv2-Full, ARN's for HMDB51 and UCF101 (6,766 and 13,320 clips in all).
"""
