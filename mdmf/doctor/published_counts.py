"""Videos per class in the published lists of the five data sets: what a data set on disk is counted against.

Counted from the published lists that the shipped class splits (`splits/*.yaml`) are of: CMN's for Kinetics-100 and
SSv2-Small, OTAM's for SSv2-Full, ARN's for HMDB51 and UCF101. The last two hold 6,766 and 13,320 clips in all.
"""

from mdmf.class_names import class_key
from mdmf.data.listing.splits import load_class_split

VIDEOS_PER_CLASS_OF_CMN = 100  # in each class of each split of Kinetics-100 and SSv2-Small
N_VIDEOS_OF_SMALL_TEST_IN_FULL_TRAIN = 568  # of SSv2: test videos of SSv2-Small that SSv2-Full trains on

# fmt: off
_HMDB51 = {
    # train
    "brush hair": 107, "catch": 102, "chew": 109, "clap": 130, "climb": 108, "climb stairs": 112, "dive": 127,
    "draw sword": 103, "dribble": 145, "drink": 164, "fall floor": 136, "flic flac": 107, "handstand": 113,
    "hug": 118, "jump": 151, "kiss": 102, "pullup": 104, "punch": 126, "push": 116, "ride bike": 103,
    "ride horse": 116, "shake hands": 162, "shoot bow": 112, "situp": 105, "stand": 154, "sword": 127,
    "sword exercise": 127, "throw": 102, "turn": 240, "walk": 548, "wave": 104,
    # val
    "cartwheel": 107, "eat": 108, "golf": 105, "hit": 127, "laugh": 128, "shoot ball": 131, "shoot gun": 103,
    "smile": 102, "somersault": 140, "swing baseball": 143,
    # test
    "fencing": 116, "kick": 130, "kick ball": 128, "pick": 106, "pour": 106, "pushup": 103, "run": 232, "sit": 142,
    "smoke": 109, "talk": 120,
}
_UCF101 = {
    # train
    "ApplyEyeMakeup": 145, "Archery": 145, "BabyCrawling": 132, "BalanceBeam": 108, "BandMarching": 155,
    "BaseballPitch": 150, "Basketball": 134, "BasketballDunk": 131, "BenchPress": 160, "Biking": 134,
    "Billiards": 150, "BlowDryHair": 131, "BodyWeightSquats": 112, "Bowling": 155, "BoxingPunchingBag": 163,
    "BoxingSpeedBag": 134, "BreastStroke": 101, "BrushingTeeth": 131, "CricketBowling": 139, "Drumming": 161,
    "Fencing": 111, "FieldHockeyPenalty": 126, "FrisbeeCatch": 126, "FrontCrawl": 137, "Haircut": 130,
    "Hammering": 140, "HeadMassage": 147, "HulaHoop": 125, "JavelinThrow": 117, "JugglingBalls": 121,
    "JumpingJack": 123, "Kayaking": 141, "Knitting": 123, "LongJump": 131, "Lunges": 127, "MilitaryParade": 125,
    "Mixing": 136, "MoppingFloor": 110, "Nunchucks": 132, "ParallelBars": 114, "PizzaTossing": 113,
    "PlayingCello": 164, "PlayingDhol": 164, "PlayingFlute": 155, "PlayingPiano": 105, "PlayingSitar": 157,
    "PlayingTabla": 111, "PlayingViolin": 100, "PoleVault": 149, "PullUps": 100, "PushUps": 102, "Rafting": 111,
    "RopeClimbing": 119, "Rowing": 137, "ShavingBeard": 161, "Skijet": 100, "SoccerJuggling": 147,
    "SoccerPenalty": 137, "SumoWrestling": 116, "Swing": 131, "TableTennisShot": 140, "TaiChi": 100,
    "ThrowDiscus": 130, "TrampolineJumping": 119, "Typing": 136, "UnevenBars": 104, "WalkingWithDog": 123,
    "WallPushups": 130, "WritingOnBoard": 152, "YoYo": 128,
    # val
    "ApplyLipstick": 114, "CricketShot": 167, "HammerThrow": 150, "HandstandPushups": 128, "HighJump": 123,
    "HorseRiding": 164, "PlayingDaf": 151, "PlayingGuitar": 160, "Shotput": 144, "SkateBoarding": 120,
    # test
    "BlowingCandles": 109, "CleanAndJerk": 112, "CliffDiving": 138, "CuttingInKitchen": 110, "Diving": 150,
    "FloorGymnastics": 125, "GolfSwing": 139, "HandstandWalking": 111, "HorseRace": 124, "IceDancing": 158,
    "JumpRope": 144, "PommelHorse": 123, "Punch": 160, "RockClimbingIndoor": 144, "SalsaSpin": 133, "Skiing": 135,
    "SkyDiving": 110, "StillRings": 112, "Surfing": 126, "TennisSwing": 166, "VolleyballSpiking": 116,
}
_SSV2_FULL = {
    # train
    "Bending something until it breaks": 487, "Closing something": 1068, "Covering something with something": 2727,
    "Dropping something behind something": 783, "Dropping something in front of something": 890,
    "Dropping something into something": 903, "Folding something": 972, "Holding something": 1459,
    "Holding something next to something": 1403, "Letting something roll along a flat surface": 783,
    "Letting something roll down a slanted surface": 669,
    "Lifting a surface with something on it but not enough for it to slide down": 225,
    "Lifting something with something on it": 1501, "Moving away from something with your camera": 1076,
    "Moving something across a surface until it falls down": 687,
    "Moving something and something closer to each other": 1563,
    "Moving something and something so they collide with each other": 464, "Moving something down": 2741,
    "Moving something up": 3170, "Plugging something into something": 1195, "Poking a hole into something soft": 185,
    "Poking something so lightly that it doesn't or almost doesn't move": 2075,
    "Poking something so that it falls over": 679, "Pouring something into something": 873,
    "Pouring something into something until it overflows": 239, "Pouring something onto something": 274,
    "Pretending to be tearing something that is not tearable": 796,
    "Pretending to close something without actually closing it": 908, "Pretending to pick something up": 1547,
    "Pretending to put something next to something": 1204, "Pretending to spread air onto something": 169,
    "Pretending to take something out of something": 924, "Pulling something onto something": 290,
    "Pulling two ends of something so that it gets stretched": 292,
    "Pulling two ends of something so that it separates into two pieces": 199,
    "Pushing something from left to right": 2949, "Pushing something off of something": 526,
    "Pushing something so that it falls off the table": 1687, "Pushing something so that it slightly moves": 1874,
    "Putting number of something onto something": 955, "Putting something and something on the table": 1103,
    "Putting something onto a slanted surface but it doesn't glide down": 156,
    "Putting something onto something": 1608,
    "Putting something similar to other things that are already on the table": 1766,
    "Showing a photo of something to the camera": 837, "Showing something behind something": 1678,
    "Something colliding with something and both are being deflected": 462,
    "Spilling something next to something": 162, "Spilling something onto something": 266,
    "Spinning something that quickly stops spinning": 1071, "Spreading something onto something": 415,
    "Squeezing something": 1936, "Stuffing something into something": 1379, "Taking something from somewhere": 1032,
    "Tearing something into two pieces": 1736,
    "Tilting something with something on it slightly so it doesn't fall down": 604,
    "Tilting something with something on it until it falls off": 928,
    "Tipping something with something in it over, so something in it falls out": 326,
    "Turning the camera downwards while filming something": 867,
    "Turning the camera left while filming something": 1029,
    "Turning the camera upwards while filming something": 851,
    "Twisting (wringing) something wet until water comes out": 240, "Twisting something": 724,
    "Uncovering something": 2426,
    # val
    "Holding something over something": 254, "Lifting something up completely, then letting it drop down": 110,
    "Lifting up one end of something, then letting it drop down": 111,
    "Plugging something into something but pulling it right out as you remove your hand": 237,
    "Pretending or failing to wipe something off of something": 107,
    "Pretending to pour something out of something, but something is empty": 56, "Pushing something so it spins": 121,
    "Putting something in front of something": 135, "Scooping something up with something": 65,
    "Showing something to the camera": 261, "Taking one of many similar things on the table": 360,
    "Throwing something in the air and catching it": 109,
    # test
    "Approaching something with your camera": 116, "Digging something out of something": 33,
    "Dropping something next to something": 137, "Dropping something onto something": 234,
    "Failing to put something into something because something does not fit": 40,
    "Lifting up one end of something without letting it drop down": 74, "Picking something up": 199,
    "Poking a stack of something without the stack collapsing": 24, "Pouring something out of something": 79,
    "Pretending to open something without actually opening it": 201,
    "Pretending to put something behind something": 23, "Pretending to put something into something": 68,
    "Pretending to put something underneath something": 18, "Pretending to sprinkle air onto something": 58,
    "Pulling something from left to right": 170, "Pulling something out of something": 83,
    "Pushing something from right to left": 236, "Removing something, revealing something behind": 88,
    "Showing something next to something": 103, "Showing that something is empty": 272,
    "Spilling something behind something": 17, "Taking something out of something": 239,
    "Throwing something in the air and letting it fall": 127, "Tipping something over": 218,
}
# fmt: on

_VARYING = {"hmdb51": _HMDB51, "ucf101": _UCF101, "ssv2_full": _SSV2_FULL}
PUBLISHED = ("kinetics100", "ssv2_small", *_VARYING)
"""Data sets whose counts are known."""


def published_counts(name: str) -> dict[str, dict[str, int]]:
    """Split -> class -> number of videos, in the order of the shipped class split.

    Raises:
        ValueError: for a data set whose counts are not known.
    """
    if name not in PUBLISHED:
        raise ValueError(f"the published counts of {name!r} are not known; known are those of {', '.join(PUBLISHED)}")
    splits = load_class_split(name)
    if name not in _VARYING:
        return {split: dict.fromkeys(names, VIDEOS_PER_CLASS_OF_CMN) for split, names in splits.items()}
    return {split: {each: _VARYING[name][each] for each in names} for split, names in splits.items()}


def published_name(*names: str | None) -> str | None:
    """The first of some names (of the data set, of its class split) that is a published data set, up to spelling."""
    by_key = {class_key(name): name for name in PUBLISHED}
    return next((by_key[class_key(name)] for name in names if name and class_key(name) in by_key), None)
