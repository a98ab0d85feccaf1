#!lua name=gapless_leases_1

--[[
Who has how many streams open, over all gateways. A hash for each user or address: stream -> "<since> <member> <token>".

A member is a worker; while it lives it renews one key of its own, `alive <member>`, and what a dead one held is let go
by whoever asks next: a crash needs no cleaning up, and nobody renews anything for a single connection.
]]

local function text(number)
  return string.format('%.0f', number)
end

local function parts(value)
  local since, member, token = string.match(value, '^(%d+) (%S+) (%S+)$')
  return tonumber(since), member, token
end

-- take(streams; base, member, stream, token, most, replace (1 or 0), life of a member in ms)
-- -> {1} taken, {1, stream, member} taken in place of the oldest, which was another's; {0} all are taken.
-- A stream that is there already is taken over: its client has come back before we knew that it had gone.
local function take(keys, args)
  local streams, base, member, stream, token = keys[1], args[1], args[2], args[3], args[4]
  local most, replace, life = tonumber(args[5]), args[6] == '1', args[7]
  redis.call('SET', base .. 'alive ' .. member, '1', 'PX', life)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local held = redis.call('HGETALL', streams)
  local count, oldest, oldest_since, oldest_member = 0, nil, nil, nil
  for at = 1, #held, 2 do
    local since, holder = parts(held[at + 1])
    if redis.call('EXISTS', base .. 'alive ' .. holder) == 0 then
      redis.call('HDEL', streams, held[at])
    elseif held[at] ~= stream then
      count = count + 1
      if not oldest or since < oldest_since then
        oldest, oldest_since, oldest_member = held[at], since, holder
      end
    end
  end
  if count >= most and not replace then
    return { 0 }
  end
  redis.call('HSET', streams, stream, text(now) .. ' ' .. member .. ' ' .. token)
  redis.call('PEXPIRE', streams, 86400000)
  if count < most then
    return { 1 }
  end
  redis.call('HDEL', streams, oldest)
  return { 1, oldest, oldest_member }
end

-- release(streams; stream, token) -> 1 when it was ours, 0 when somebody has taken it over.
local function release(keys, args)
  local value = redis.call('HGET', keys[1], args[1])
  if not value then
    return 0
  end
  local _, _, token = parts(value)
  if token ~= args[2] then
    return 0
  end
  return redis.call('HDEL', keys[1], args[1])
end

redis.register_function('gapless_leases_1_take', take)
redis.register_function('gapless_leases_1_release', release)
