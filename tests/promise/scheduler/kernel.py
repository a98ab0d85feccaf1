"""The kernel's source as the scheduler loads it: the time, the run id and the expiries come from keys under test."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CLOCK: Final = "scheduler:clock"
"""Unix milliseconds, as this server's clock shows them."""
RUN: Final = "scheduler:run"
"""The run id of the server's process, in hexadecimal."""
ASKED: Final = "local asked = 0"
"""How often the time was asked for: a server that loads the library begins somewhere else each time."""
EXPIRY: Final = "scheduler:expiry"
"""A hash: when each key expires, in unix milliseconds of this server's clock."""

_EXPECTED: Final = ("redis.call('TIME')", "redis.call('INFO', 'server')", "'run_id:(%x+)'", "redis.call('PEXPIREAT', ")
"""What the source asks its server for, and the prelude answers in the server's place."""

_PRELUDE: Final = """
-- Each time it is asked for, the time is a microsecond later.
{asked}
local function expire(key, at)
  return redis.call('HSET', '{expiry}', key, at)
end
local function later(ms)
  return string.format('%d', tonumber(redis.call('GET', '{clock}')) + tonumber(ms))
end
local simulated = {{
  TIME = function()
    asked = asked + 1
    local ms = tonumber(redis.call('GET', '{clock}'))
    return {{ string.format('%d', math.floor(ms / 1000)), string.format('%d', ms % 1000 * 1000 + asked % 1000) }}
  end,
  INFO = function(section)
    return (string.gsub(redis.call('INFO', section), 'run_id:%x+', 'run_id:' .. redis.call('GET', '{run}')))
  end,
  PEXPIREAT = expire,
  PEXPIRE = function(key, ms)
    return expire(key, later(ms))
  end,
  SET = function(key, value, option, ms)
    assert(option == nil or option == 'PX', 'the scheduler does not simulate this option of SET')
    if option then
      expire(key, later(ms))
    end
    return redis.call('SET', key, value)
  end,
}}
local function simulated_call(command, ...)
  local answer = simulated[command]
  if answer then
    return answer(...)
  end
  return redis.call(command, ...)
end
local function simulated_pcall(command, ...)
  local answer = simulated[command]
  if answer then
    return answer(...)
  end
  return redis.pcall(command, ...)
end
"""


def source() -> str:
    """Return the kernel's source as it is."""
    return files("realtime.channel").joinpath("log.lua").read_text()


def simulated(changes: Sequence[tuple[str, str]] = ()) -> str:
    """Return the source with a simulated clock and process, and with some of its text changed.

    Raises:
        ValueError: the source does not ask for the time or the run id as expected, or lacks a text to change.
    """
    text = source()
    for expected in _EXPECTED:
        if expected not in text:
            raise ValueError(f"log.lua has changed: {expected} is not there; the scheduler simulates what it calls")
    head, _, body = replaced(text, changes).partition("\n")
    prelude = _PRELUDE.format(clock=CLOCK, run=RUN, asked=ASKED, expiry=EXPIRY)
    return head + prelude + body.replace("redis.call(", "simulated_call(").replace("redis.pcall(", "simulated_pcall(")


def replaced(text: str, changes: Sequence[tuple[str, str]]) -> str:
    """Change some text, each piece of which must be there exactly once.

    Raises:
        ValueError: it is not.
    """
    for old, new in changes:
        count = text.count(old)
        if count != 1:
            raise ValueError(f"the source has {count} times, and not once: {old}")
        text = text.replace(old, new)
    return text
