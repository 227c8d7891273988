"""How large the numbers of a message may be, for sums go on with them. Pure.

Who may write may write anything, and JSON has no largest number: one that no float holds would end
whoever divides by it, at every look, for as long as the message is kept.
"""

from typing import Annotated, TypeAlias

import msgspec

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
# Since the epoch.
Time: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2**37)]
# Of a length of time; a difference of two clocks may be below nothing.
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=-(2**37), le=2**37)]
Usd: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2**20)]
