"""AWS: three paths of the instance metadata service, version 2."""

import re
import time
from collections.abc import Sequence
from typing import Final

from consumers.interruption.answers import Answer, Rubbish, asg_state, aws_action, aws_rebalance
from consumers.interruption.source import Busy, Http, Look, Pace, Tell, Unreachable

TTL_S: Final = 21_600
_TTL: Final = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/=_-]{1,1024}")
_NOTICE: Final = "spot/instance-action"
_OTHERS: Final = (
    ("events/recommendations/rebalance", aws_rebalance),
    ("autoscaling/target-lifecycle-state", asg_state),
)


class Aws:
    """Asks with one token for as long as it is good."""

    name = "aws"

    def __init__(self, http: Http, base: str, pace: Pace) -> None:
        self._http = http
        self._base = base
        self._wait_s = pace.answer_s
        self._token = ""
        self._good_until = 0.0

    async def recognise(self) -> bool:
        """Ask for a token: only AWS gives one, and says for how long."""
        return not isinstance(await self._renew(), Rubbish)

    def looks(self) -> Sequence[Look]:
        """Ask all paths one after the other."""
        return (self._look,)

    async def _look(self, tell: Tell) -> None:
        tell(aws_action(await self._get(_NOTICE)), _NOTICE)
        for path, read in _OTHERS:
            try:
                reading = read(await self._get(path))
            except (Busy, Unreachable) as error:
                # Not raised: the notice would then be asked for as seldom as what fails.
                reading = Rubbish(str(error))
            tell(reading, path)

    async def _get(self, path: str) -> Answer:
        """Ask with the token that we have; if it died, which it may do early, with a new one."""
        if time.monotonic() < self._good_until:
            answer = await self._ask(path)
            if answer.status != 401:
                return answer
        flaw = await self._renew()
        if isinstance(flaw, Rubbish):
            raise Unreachable(f"{self._base} gives no token: {flaw.text}")
        answer = await self._ask(path)
        if answer.status == 401:
            self._good_until = 0.0
            raise Busy(f"{self._base} refuses the token that it gave a moment ago")
        return answer

    async def _ask(self, path: str) -> Answer:
        return await self._http.get(
            f"{self._base}/latest/meta-data/{path}",
            {"X-aws-ec2-metadata-token": self._token},
            wait_s=self._wait_s,
        )

    async def _renew(self) -> Rubbish | None:
        url = f"{self._base}/latest/api/token"
        answer = await self._http.put(url, {_TTL: str(TTL_S)}, wait_s=self._wait_s)
        token = answer.body.decode(errors="replace")
        ttl = answer.headers.get(_TTL.lower(), "")
        if answer.status != 200:
            return Rubbish(f"status {answer.status}")
        if not _TOKEN.fullmatch(token) or not re.fullmatch("[1-9][0-9]{0,5}", ttl):
            return Rubbish("not a token")
        # Renewed a little early, so that it does not die between two questions.
        self._token, self._good_until = token, answer.at + 0.9 * int(ttl)
        return None
