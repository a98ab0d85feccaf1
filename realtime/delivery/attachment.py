"""One client attached to the channel: reader + transport + exchange, and a table of states.

    OPENING   finding out where to begin; nothing written
    READING   behind: reading on from the cursor, in the window or in the log
    LIVE      at the tail, in the hub's hands; its cursor is the hub's position
    STALLED   the connection takes nothing more; left alone until it drains
    RESTING   heard a moment ago; left alone until its `min_interval` has passed
    AWAY      answered, and expected back on the same exchange: its place among those at the tail is kept
    ENDED     answered, closed, or gone

An answer that does not stay open (long-poll, polling, SSE-polling) goes the same way: it ends with the first thing it
has to say, or when its hold has passed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import structlog

from realtime.delivery.answers import encode, refusal, whole
from realtime.delivery.controls import control, heartbeat, truncated
from realtime.delivery.group import share
from realtime.delivery.meter import AS_POLLING, GONE
from realtime.delivery.owed import CATCH_UP_MS
from realtime.delivery.state import MOVES, State
from realtime.errors import Draining, HistoryTruncated, InternalError, LogUnavailable
from realtime.metrics import ACCEPTED
from transports.transport import Delivery, with_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.channel.event import Control, Cursor, Entry
    from realtime.channel.reader import Part, Reader, Truncation
    from realtime.delivery.crowd import Crowd
    from realtime.delivery.exchange import Exchange
    from realtime.delivery.group import Group
    from realtime.delivery.hub import Hub
    from realtime.delivery.plan import Plan
    from realtime.errors import GaplessError
    from transports.transport import Answer, Transport

_PATIENCE_S = 2.0
_RETRY_S = 0.5
_RESTING_PART = 0.9
"""How much of a hold may be rested away: in what is left of it the log is read, where that has to be asked."""

_log = structlog.get_logger("gapless.delivery")
_level = logging.getLogger("gapless.delivery")
"""Asked before a line about one client is made: there are thousands a second, and usually nobody reads them."""


_WAITING = (State.LIVE, State.RESTING)
_PLACED = (State.LIVE, State.AWAY)
_GOING_ON = (State.OPENING, State.READING)
_OVER = (State.AWAY, State.ENDED)


class Attachment:
    """A client, from its request to the end of the answer."""

    __slots__ = (
        "_bytes",
        "_ending",
        "_ends_ms",
        "_events",
        "_expires_ms",
        "_farewell",
        "_hub",
        "_joined_ms",
        "_on_end",
        "_own",
        "_patience_ms",
        "_plain_until_ms",
        "_rests_ms",
        "_slept",
        "_stamp_ms",
        "_task",
        "_unsaid",
        "_unsent",
        "crowd",
        "exchange",
        "group",
        "plan",
        "reader",
        "since_ms",
        "state",
        "transport",
    )

    def __init__(  # noqa: PLR0913 - what is joined here
        self,
        hub: Hub,
        reader: Reader,
        transport: Transport,
        exchange: Exchange,
        plan: Plan,
        *,
        crowd: Crowd | None = None,
        plain_until_ms: int = 0,
    ) -> None:
        """Serve an exchange; nothing is written before `start`.

        One of a `crowd` is answered like all of it, and will wait `again`; `plain_until_ms` says until when, in unix
        milliseconds, nothing but events need be in its answers.
        """
        self.reader = reader
        self.transport = transport
        self.exchange = exchange
        self.plan = plan
        self.state = State.OPENING
        self.group: Group | None = None
        """Where it is at home while it is at the tail."""
        self._joined_ms = 0
        self._hub = hub
        self.since_ms = self._stamp_ms = now = hub.wheel.now_ms()
        """When it began, by the wheel's clock."""
        self._unsaid: tuple[Control, ...] = ()
        """What came up before it could be said."""
        self._farewell: Control | None = None
        self._on_end: Callable[[], None] | None = None
        self._ending = "lifetime" if plan.terms.stays_open else "answered"
        """Why it will end when its time is over."""
        self._events = self._bytes = 0
        self._unsent = self._patience_ms = 0
        """Of one that is stalled: what it had not taken, and until when it may take nothing more."""
        resting_ms = min(plan.min_interval_ms, int(plan.hold_ms * _RESTING_PART))
        self._rests_ms = 0 if plan.terms.stays_open else now + resting_ms
        """Until when nothing is written but what can't wait."""
        self._ends_ms = now + plan.hold_ms
        self._expires_ms = now + plan.expires_in_ms if plan.expires_in_ms else self._ends_ms
        if crowd is not None:
            self._ends_ms = self._expires_ms = now + self._hold_ms
        self._task: asyncio.Task[None] | None = None
        self.crowd = crowd
        self._own = share(reader.interest)[1] if crowd is not None else ()
        self._plain_until_ms = plain_until_ms
        self._slept = False
        """Whether it was away when it was due: it hangs on the wheel no more."""
        exchange.listener = self

    @property
    def stays_open(self) -> bool:
        """Whether the answer goes on after its first delivery."""
        return self.plan.terms.stays_open

    @property
    def _hold_ms(self) -> int:
        """How long one of a crowd may wait: who polls is only to catch up, and answered before that."""
        return self.plan.hold_ms or 2 * CATCH_UP_MS

    @property
    def is_over(self) -> bool:
        """Whether it has been answered to the end."""
        return self.state in _OVER

    @property
    def position(self) -> Cursor:
        """The cursor up to which everything visible has been written."""
        return self._hub.position_of(self) if self.state is State.LIVE else self.reader.cursor

    def on_end(self, ended: Callable[[], None]) -> None:
        """Have somebody told when it ends, however it does."""
        self._on_end = ended

    def wait(self) -> None:
        """Begin at the tail, as one of a crowd."""
        self._hub.began(self)
        self._move(State.LIVE)
        self._arm()

    def start(self) -> None:
        """Begin: at once when the cursor is in the window, else after the log has been asked."""
        self._hub.began(self)
        self._go_on()
        if self.stays_open or self.plan.hold_ms:
            self._arm()

    # The hub, the exchange and the wheel call these.

    def deliver(self, entries: Sequence[Entry], data: bytes, position: Cursor) -> None:
        """Send what came in one tick: `data` is `entries` joined for this transport; `position` lies behind them."""
        if self.is_over:  # within this tick, by what another's delivery brought about
            return
        if not self.stays_open:
            if self._hub.wheel.now_ms() < self._rests_ms:
                self._rest(self.position)
                return
            limit = self.plan.limit
            position = entries[limit - 1].id if len(entries) > limit else position
            self._answer(entries[:limit], position=position, more=len(entries) > limit)
            return
        self._put(data, len(entries))
        if not self.exchange.writable:
            self.stall(position)
        elif self.plan.min_interval_ms:
            self._rest(position)

    def stall(self, cursor: Cursor) -> None:
        """Leave the client alone until its connection has drained; then it reads on from a cursor."""
        self._move(State.STALLED)
        self.reader.cursor = cursor
        self._unsent = self.exchange.unsent
        self._patience_ms = self._hub.wheel.now_ms() + self._hub.patience_ms
        self._arm()

    @property
    def is_even(self) -> bool:
        """Whether it is written to as soon as there is something, as long as its connection takes it."""
        return self.plan.terms.stays_open and not self.plan.min_interval_ms

    def pay(self, cursor: Cursor) -> Cursor | None:
        """Answer as all of the crowd are, with what is after a cursor; return the id of the first event.

        `None`: there was nothing after all, and it waits on; or more is to be said, and it reads on by itself.
        """
        crowd = self.crowd
        since = crowd.after(cursor) if crowd is not None else None
        own = None if crowd is None else crowd.own(self._own, self.reader.interest, cursor)
        if crowd is None or since is None or own is None or time.time_ns() // 1_000_000 >= self._plain_until_ms:
            self._move(State.READING)
            self.reader.cursor = cursor
            self._go_on()
            return None
        entries = own or since.entries
        if entries or not self.plan.hold_ms:
            self._be_away(crowd.answer(since, own, crowd.next_poll()), len(entries))
        return entries[0].id if entries else None

    def _be_away(self, answer: Answer, events: int) -> None:
        """Give an answer that is the same for others too, and keep the place of a client that will wait again."""
        self._events, self._bytes = events, len(answer.body)
        if _level.isEnabledFor(logging.DEBUG):
            self._tell_end("answered")
        self.state = State.AWAY
        self._hub.size -= 1
        self.exchange.answer(answer)

    def again(self, plan: Plan) -> bool:
        """Wait again at the tail, if it is away and was served by the same plan."""
        if self.state is not State.AWAY or self.plan is not plan:
            return False
        hub = self._hub
        self.since_ms = self._stamp_ms = now = hub.wheel.now_ms()
        self._ends_ms = self._expires_ms = now + self._hold_ms
        self.state = State.LIVE
        if self._slept:  # else it is armed for an earlier time, and will look again then
            self._slept = False
            self._arm()
        hub.size += 1
        if plan.replaceable:
            hub.waits(self)
        return True

    def join(self, group: Group) -> None:
        """Be at home in a group: what is written to all its members is not told to each of them."""
        self.group = group
        self._joined_ms = self._hub.wheel.now_ms()
        self.count(-group.events, -group.size)

    def leave_group(self) -> Group:
        """Take along what was written meanwhile; return the group that was left."""
        group = self.group
        if group is None:
            raise RuntimeError("an attachment can't leave a group that it is not in")
        self.count(group.events, group.size)
        self._stamp_ms = self._stamped_ms()
        self.group = None
        return group

    def count(self, events: int, size: int) -> None:
        """Remember, for its end, what it was given."""
        self._events += events
        self._bytes += size

    def restart(self) -> None:
        """Read on by oneself: the window began anew."""
        self._move(State.READING)
        asyncio.get_running_loop().call_soon(self._go_on)

    def drained(self) -> None:
        """Read on after the connection was stalled."""
        if self.state is State.STALLED:
            self._move(State.READING)
            self._go_on()

    def left(self) -> None:
        """Answer a client that sends no more with what there is: it waits for nothing, or has gone altogether."""
        if self.state is State.STALLED:
            self.exchange.abort()
        elif self.state in _GOING_ON and not self.stays_open:
            self.plan = self.plan._replace(hold_ms=0)
        elif self.state in _GOING_ON:
            self._ending, self._ends_ms = GONE, self._hub.wheel.now_ms()
            self._arm()
        elif not self.is_over:
            self.close(GONE)

    def closed(self) -> None:
        """Forget a client that went away."""
        if self.state is not State.ENDED:
            if self.state is State.OPENING:
                self._hub.meter.attached(self.transport.name, GONE)
            self._end(GONE)

    def close(self, reason: str = "closed") -> None:
        """End the answer as the transport ends one: nothing is lost, the client comes back with its cursor."""
        if self.state is State.OPENING:
            self._refuse(Draining("this gateway is going away: try again"))
        elif self.state is State.AWAY:
            self._end(reason)
        elif self.stays_open and not self.is_over:
            self._end(reason)
            self.exchange.end(self.transport.close(self.plan.terms))
        elif not self.is_over:
            self._answer(())

    def leave(self, said: Control, at_ms: int) -> None:
        """Tell a client to move; a stream that is still there ends at a moment of the wheel's clock."""
        self.tell(said)
        if not self.is_over:
            self._ending = said.event
            self._ends_ms = min(self._ends_ms, at_ms)
            self._arm()

    def stay(self, said: Control) -> None:
        """Tell a client on a stream that was to leave that it is where it should be, and let it stay."""
        self.tell(said)
        self._ends_ms = self.since_ms + self.plan.hold_ms
        self._arm()

    def dismiss(self, said: Control) -> None:
        """Tell a client to stop, and end the answer so that it does not come back by itself."""
        if self.state is State.OPENING:
            self._farewell = said
        elif self.stays_open and not self.is_over:
            self._end(str(said.data.get("code", said.event)))
            self.exchange.end(self.transport.dismiss(self.plan.terms, said))
        elif not self.is_over:
            self._answer((), (said,))

    def pace(self, heartbeat_ms: int, min_interval_ms: int) -> None:
        """Take on what the policy now says of how often the client hears from us."""
        if (heartbeat_ms, min_interval_ms) != (self.plan.heartbeat_ms, self.plan.min_interval_ms):
            if self.state is State.LIVE:  # it may belong to another group
                self._move(State.READING)
                asyncio.get_running_loop().call_soon(self._go_on)
            self.plan = self.plan._replace(heartbeat_ms=heartbeat_ms, min_interval_ms=min_interval_ms)
            self._rests_ms = min(self._rests_ms, self._hub.wheel.now_ms() + min_interval_ms)
            self._arm()

    def tell(self, said: Control) -> None:
        """Say something to a client: on a stream at once, or as soon as it has begun; else as the answer."""
        if self.is_over:
            return
        if self.state is State.OPENING:
            self._unsaid = (*self._unsaid, said)
        elif self.stays_open:
            self._write(self.transport.control(said))
        else:
            self._answer((), (said,))

    def due(self, now_ms: int) -> None:
        """Look which deadline has passed."""
        if self.state is State.RESTING and self._rests_ms <= now_ms:
            self._move(State.READING)
            self._go_on()
        if self.is_over:
            self._slept = True
            return
        if self.state is State.OPENING:
            self._give_up(now_ms)
        elif self.state is State.STALLED and self._patience_ms <= now_ms:
            self._lose_patience()
        elif self._expires_ms <= now_ms and self._expires_ms < self._ends_ms:
            self._expire()
        elif self._ends_ms <= now_ms:
            self.close(self._ending)
        elif self._beats_at() <= now_ms:
            self._beat()
        self._arm()

    # Time

    def _arm(self) -> None:
        if self.state is State.ENDED:
            return
        soonest = min(self._ends_ms, self._expires_ms, self._beats_at())
        if self.state is State.RESTING:
            soonest = min(soonest, self._rests_ms)
        elif self.state is State.STALLED:
            soonest = min(soonest, self._patience_ms)
        self._hub.wheel.arm(self, max(soonest, self._hub.wheel.now_ms() + 1))

    def _beats_at(self) -> int:
        if not (self.plan.heartbeat_ms and self.stays_open):
            return self._ends_ms
        return self._stamped_ms() + self.plan.heartbeat_ms

    def _stamped_ms(self) -> int:
        """Return when it was last written to: by itself, or with its group."""
        if self.group is None or self.group.stamp_ms < self._joined_ms:
            return self._stamp_ms
        return max(self._stamp_ms, self.group.stamp_ms)

    def _beat(self) -> None:
        """Show that the line is alive; where it is not, at least look again only after another interval."""
        self._stamp_ms = self._hub.wheel.now_ms()
        if self.state is not State.OPENING and self.exchange.writable:
            position = self.position
            self._write(self.transport.control(heartbeat(position)))

    def _expire(self) -> None:
        self.tell(control("ticket.expired"))
        if self.stays_open:
            self.close("ticket.expired")

    def _give_up(self, now_ms: int) -> None:
        """Let a client go whose position could not be judged, or reached, within its hold."""
        if not self.stays_open and self._ends_ms <= now_ms:
            self._refuse(LogUnavailable("the log did not answer in time: try again"))
        else:
            self._stamp_ms = now_ms

    # Reading on

    def _go_on(self) -> None:
        """Read on until at the tail, blocked, answered, or in need of the log."""
        while self.state in _GOING_ON and self._task is None:
            before = self.reader.cursor
            part = self.reader.take(self.plan.limit)
            if part is None:
                self._task = asyncio.get_running_loop().create_task(self._fetch())
                return
            if self.state is State.OPENING and self.reader.resumes:
                self._hub.meter.resumed("window")
            self._accept(part, before)
            if part.more and self.state is State.READING:
                asyncio.get_running_loop().call_soon(self._go_on)
                return

    async def _fetch(self) -> None:
        before = self.reader.cursor
        try:
            part = await self._ask()
        except LogUnavailable as error:
            self._refuse(error)
            return
        except Exception:  # noqa: BLE001 - whatever it is, the client must not wait for what never comes
            _log.exception("reading on failed", transport=self.transport.name)
            self._give_back()
            return
        finally:
            self._task = None
        if self.state in _GOING_ON:
            if part.truncation is not None:
                self._hub.meter.truncated(part.truncation.cause)
            elif self.state is State.OPENING and self.reader.resumes:
                self._hub.meter.resumed("log")
            self._accept(part, before)
            self._go_on()

    def _give_back(self) -> None:
        """Let a client go that can't be served: it comes back with its cursor, and waits for nothing here."""
        if self.state is State.OPENING:
            self._refuse(InternalError("the service failed to answer: try again"))
        else:
            self.close("failed")

    async def _ask(self) -> Part:
        """Ask the log; a client that hears from us already waits as long as Redis is away."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S
        while True:
            try:
                return await self.reader.fetch(self.plan.limit, wait=self.stays_open or self.plan.hold_ms > 0)
            except LogUnavailable:
                if self.state is State.OPENING and loop.time() > deadline:
                    raise
            await asyncio.sleep(_RETRY_S)

    def _accept(self, part: Part, before: Cursor) -> None:
        if self.stays_open:
            self._stream(part)
        elif part.truncation:
            self._answer_truncated(part.truncation)
        elif part.entries and not part.more and not self._pressing() and self._hub.wheel.now_ms() < self._rests_ms:
            self._rest(self.reader.started if self.state is State.OPENING else before)
        elif part.entries or self._pressing() or not (self.plan.hold_ms or part.more):
            self._answer(part.entries, more=part.more)
        elif self.reader.is_at_tail:
            self._move(State.LIVE)

    def _stream(self, part: Part) -> None:
        frames = [self.transport.control(truncated(part.truncation))] if part.truncation else []
        if self.state is State.OPENING:
            unsaid = [self.transport.control(one) for one in self._unsaid]
            frames = [self._begin(), *frames, self.transport.control(self._established()), *unsaid]
            self._move(State.READING)
        if part.entries:
            events = [encode(self.transport, entry) for entry in part.entries]
            frames.append(self.transport.join(events, self.reader.cursor))
        if frames:
            data = b"".join(frames)
            self._put(data, len(part.entries))
            self._hub.meter.delivered(self.transport.name, len(part.entries), len(data))
        if self._farewell is not None:
            self.dismiss(self._farewell)
        elif not self.exchange.writable:
            self.stall(self.reader.cursor)
        elif not part.more and part.entries and self.plan.min_interval_ms:
            self._rest(self.reader.cursor)
        elif not part.more and self.reader.is_at_tail:
            self._move(State.LIVE)

    # Writing

    def _begin(self) -> bytes:
        answer = self.transport.open(self.plan.terms)
        self._hub.meter.attached(self.transport.name, ACCEPTED)
        if _level.isEnabledFor(logging.DEBUG):
            _log.debug("connection opened", transport=self.transport.name, session=self.plan.session)
        self.exchange.begin(answer.status, answer.headers)
        return answer.body

    def _established(self) -> Control:
        position = self.reader.started
        return control(
            "connection.established",
            position,
            session=self.plan.session,
            transport=self.transport.name,
            cursor=str(position),
            heartbeat_ms=self.plan.heartbeat_ms,
            lifetime_ms=self.plan.terms.lifetime_ms,
        )

    def _write(self, data: bytes) -> None:
        """Write what is no event."""
        self._put(data, 0)
        self._hub.meter.wrote(self.transport.name, len(data))

    def _put(self, data: bytes, events: int) -> None:
        self._stamp_ms = self._hub.wheel.now_ms()
        self.count(events, len(data))
        self.exchange.write(data)

    def _answer_truncated(self, truncation: Truncation) -> None:
        if self.plan.terms.public:
            detail = "history after this cursor is gone: fetch your state, then go on without a cursor"
            self._refuse(HistoryTruncated(detail, floor=str(truncation.floor)))
        else:
            self._answer((), (truncated(truncation),))

    def _answer(
        self,
        entries: Sequence[Entry],
        controls: Sequence[Control] = (),
        *,
        position: Cursor | None = None,
        more: bool = False,
    ) -> None:
        plan, transport, terms = self.plan, self.transport, self.plan.terms
        position = position or self.position
        more = more and not plan.min_interval_ms  # it promises that the next request will not wait
        if plan.notices or self._unsaid or self._farewell is not None:
            controls = (*controls, *self._pressing())
        ticket = plan.renew()
        if controls or ticket or terms.public or terms.unchanged or transport.stays_open:
            if terms.public:
                position, controls = entries[-1].id if entries else terms.given or position, ()
            frames = [encode(transport, entry) for entry in entries]
            if transport.stays_open:  # its clients take their position from what they are told last
                frames.append(transport.control(heartbeat(position)))
            delivery = Delivery(frames, [transport.control(one) for one in controls], position, more, ticket)
            answer = whole(transport, terms, delivery, gzip=plan.gzip)
        else:
            answer = self._hub.answers.plain(
                transport, entries, position, more=more, next_poll_ms=terms.next_poll_ms, gzip=plan.gzip
            )
        self._events += len(entries)
        self._hub.meter.delivered(transport.name, len(entries), len(answer.body))
        self._hub.meter.attached(transport.name, AS_POLLING if transport.stays_open else ACCEPTED)
        self._send(answer, self._ending)

    def _pressing(self) -> tuple[Control, ...]:
        """Return what an answer has to say whatever else it says, and for which it does not wait."""
        farewell = () if self._farewell is None else (self._farewell,)
        return (*self.plan.notices, *self._unsaid, *farewell)

    def _refuse(self, error: GaplessError) -> None:
        if self.state is not State.ENDED:
            answer = refusal(self.transport, error, self.plan.refusal)
            self._hub.meter.attached(self.transport.name, error.code)
            self._hub.meter.wrote(self.transport.name, len(answer.body))
            self._send(with_length(answer), error.code)

    def _send(self, answer: Answer, reason: str) -> None:
        self._bytes += len(answer.body)
        self._end(reason)
        self.exchange.begin(answer.status, answer.headers)
        self.exchange.end(answer.body)

    # States

    def _move(self, state: State) -> None:
        if state not in MOVES[self.state]:
            message = f"an attachment can't go from {self.state.name} to {state.name}"
            raise RuntimeError(message)
        if self.state is State.LIVE:
            self.reader.cursor = self._hub.position_of(self)
        if self.state in _PLACED:
            self._hub.release(self)
        self.state = state
        if state is State.LIVE:
            self._hub.adopt(self)
        if state in _WAITING:
            self._hub.waits(self)

    def _lose_patience(self) -> None:
        """Drop a client that has taken nothing for long; one that takes a little gets as long again."""
        if self.exchange.unsent < self._unsent:
            self._unsent = self.exchange.unsent
            self._patience_ms = self._hub.wheel.now_ms() + self._hub.patience_ms
        else:
            self._hub.meter.stalled(self.transport.name)
            self._end("stalled")
            self.exchange.abort()

    def _rest(self, cursor: Cursor) -> None:
        """Leave the client alone for its interval; then it reads on from a cursor."""
        self._move(State.RESTING)
        self.reader.cursor = cursor
        if self.stays_open:
            self._rests_ms = self._hub.wheel.now_ms() + self.plan.min_interval_ms
        self._arm()

    def _end(self, reason: str) -> None:
        was_away = self.state is State.AWAY
        self._move(State.ENDED)
        if not was_away and _level.isEnabledFor(logging.DEBUG):
            self._tell_end(reason)
        self._hub.ended(self, was_away=was_away)
        if self.exchange.listener is self:  # what refers to each other would wait for the garbage collector
            self.exchange.listener = None
        if self._on_end is not None:
            self._on_end()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _tell_end(self, reason: str) -> None:
        _log.debug(
            "connection closed",
            transport=self.transport.name,
            session=self.plan.session,
            reason=reason,
            events=self._events,
            bytes=self._bytes,
            duration_ms=self._hub.wheel.now_ms() - self.since_ms,
        )
