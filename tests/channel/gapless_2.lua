#!lua name=gapless_2
--[[
The log's kernel (docs/architecture.md, "The log's kernel"). The name carries the version: a change of this file that an
older gateway could not live with is another name. Never loaded with REPLACE.

Keys, all with the partition's hash tag (`base` = "{gapless:<partition>}:"):
  base log                    stream: every entry; fields, in this order: c(hannel) s(cope) b(ody) p(revious id) t(otal
                              bytes before it)
  base meta                   hash, never expires: ms n epoch run born floor bytes clock told kept span till, end:<epoch>,
                              cap:<channel> <scope>
  base scope <channel> <scope>   stream: the same ids; field b. A space cannot occur in a name.
  base topics <channel>       stream: every topic event of the channel; fields s b
  base once <channel> <sub> <key>   "<id> <fingerprint>" of an event published under an idempotency key
  base request <key>          the reply to an append whose first answer may have been lost

An id is <ms>-<seq>, seq = epoch * 2^20 + n: both below 2^53, so Lua's doubles hold them exactly.
]]

local SPAN = 1048576
local STEP = 500

-- An idle scope's stream goes that much later than its last entry does, in parts of the retention: what Redis's clock lets
-- go is on record (`kept`) long before it is gone, also for a successor whose clock is behind.
local GRACE = 0.1
-- One that gets entry after entry goes that much later still, so that its expiry is not set for each of them.
local AHEAD = 0.1

-- Of how many streams this process remembers something: some 200 bytes each.
local MOST_STREAMS = 10000

-- What of a log is in meta: numbers, and then texts.
local FIELDS = { 'ms', 'n', 'epoch', 'born', 'bytes', 'clock', 'told', 'kept', 'span', 'till', 'run', 'floor' }
local NUMBERS = 10

-- Of this server process: a library is loaded anew in every process, so a copy of the data elsewhere has another one.
local process
-- The newest id that this process wrote, to each log: its other databases may hold other logs, known apart by the number
-- of their first epoch (`born`). Data whose tail is older was put back under our feet: by a backup, or from a replica that
-- lagged. A library that was just loaded does not know, and takes it for so.
local newest_ms, newest_seq, latest_ms = {}, {}, 0

-- What this process remembers of each log's streams, so as not to ask Redis at every event: `expiry`, when a stream goes,
-- and `room`, how many entries it takes before its cap has to be looked at. See `recall`.
local memories, remembered = {}, 0

-- How numbers are written: as integers, in half the time, unless this process's are too small for them (32 bits).
local WHOLE, ID

local function meet_process()
  process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  WHOLE = string.format('%d', 2 ^ 52) == '4503599627370496' and '%d' or '%.0f'
  ID = WHOLE .. '-' .. WHOLE
end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text(number)
  return string.format(WHOLE, number)
end

local function join(ms, seq)
  return string.format(ID, ms, seq)
end

local function split(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function below(a, b)
  local a_ms, a_seq = split(a)
  local b_ms, b_seq = split(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

-- MINID keeps what is at or above its threshold: this one lies just above `id`.
local function after(id)
  local ms, seq = split(id)
  return join(ms, seq + 1)
end

local function scope_key(log, channel, scope)
  return log.base .. 'scope ' .. channel .. ' ' .. scope
end

local function topics_key(log, channel)
  return log.base .. 'topics ' .. channel
end

local function is_topic(scope)
  return string.sub(scope, 1, 6) == 'topic:'
end

-- Write what has changed since it was read.
local function save(log)
  newest_ms[log.born], newest_seq[log.born] = log.ms, log.epoch * SPAN + log.n
  latest_ms = math.max(latest_ms, log.ms)
  if log.retention == log.span then
    log.till = math.max(log.now, log.ms)
  end
  log.clock = log.now
  local changed, read = {}, log.read
  for at, field in ipairs(FIELDS) do
    local value = log[field]
    if value ~= read[at] then
      changed[#changed + 1] = field
      changed[#changed + 1] = at <= NUMBERS and text(value) or value
      read[at] = value
    end
  end
  if #changed > 0 then
    redis.call('HSET', log.meta, unpack(changed))
  end
end

local function was_replaced(log)
  local ms = newest_ms[log.born]
  return log.run ~= process or not ms or log.ms < ms
    or (log.ms == ms and log.epoch * SPAN + log.n < newest_seq[log.born])
end

-- Rule 3: everything is kept that is younger than `kept`, which never goes back, whatever the clock does. A retention
-- that is raised brings nothing back: what was written under the shorter one, `span`, up to `till`, goes after it.
local function look_back(log)
  local horizon = log.now - log.retention
  if log.retention <= log.span or horizon > log.till then
    log.span = log.retention
  else
    horizon = math.max(horizon, math.min(log.now - log.span, log.till + 1))
  end
  log.kept = math.max(log.kept, horizon)
end

-- The id of the newest entry, as text.
local function set_tail(log)
  log.tail = join(log.ms, log.epoch * SPAN + log.n)
end

-- Rule 1: the next id comes from meta, never from the clock alone.
local function advance(log)
  if log.now > log.ms then
    log.ms, log.n = log.now, 0
  elseif log.n + 1 < SPAN then
    log.n = log.n + 1
  else
    log.ms, log.n = log.ms + 1, 0
  end
  set_tail(log)
end

-- The log is trimmed with the first entry of a call: the others would find nothing to trim.
local function write(log, channel, scope, body, previous)
  if log.is_trimmed then
    redis.call('XADD', log.key, log.tail, 'c', channel, 's', scope, 'b', body, 'p', previous, 't', text(log.bytes))
  else
    redis.call('XADD', log.key, 'MINID', '~', text(log.kept), log.tail,
      'c', channel, 's', scope, 'b', body, 'p', previous, 't', text(log.bytes))
    log.is_trimmed = true
  end
  return log.tail
end

-- A marker has no scope; its body says why it is there.
local function mark(log, why)
  local previous = log.tail
  advance(log)
  return write(log, '', '', why, previous)
end

-- Rule 2: a log that this process has not written before begins a new epoch. Its number is random: two successors of one
-- log, on two servers, must not take the same one.
local function begin(log)
  local previous = ''
  if log.epoch then
    previous = log.tail
    redis.call('HSET', log.meta, 'end:' .. text(log.epoch), previous)
  else
    local last = redis.call('XREVRANGE', log.key, '+', '-', 'COUNT', 1)[1]
    log.ms = last and split(last[1]) or 0
  end
  local time = redis.call('TIME')
  local seed = redis.sha1hex(process .. ' ' .. time[1] .. ' ' .. time[2] .. ' ' .. previous)
  log.epoch = tonumber(string.sub(seed, 1, 8), 16) % 2147483648
  log.born = log.born or log.epoch
  log.ms, log.n, log.run = math.max(log.now, log.ms + 1, latest_ms + 1), 0, process
  set_tail(log)
  local marker = write(log, '', '', 'epoch', previous)
  log.told = 0 -- by this server's clock, nothing is known to have come before
  if previous == '' then
    log.floor, log.told = marker, log.now
  end
  save(log)
end

local function open(keys, args)
  if not process then
    meet_process()
  end
  local log = {
    key = keys[1], meta = keys[2], base = args[1], retention = tonumber(args[2]), now = clock(),
    bytes = 0, told = 0, kept = 0, till = 0, span = tonumber(args[2]),
  }
  local read = redis.call('HMGET', log.meta, unpack(FIELDS))
  for at, field in ipairs(FIELDS) do
    if at <= NUMBERS then
      read[at] = tonumber(read[at])
    end
    log[field] = read[at] or log[field]
  end
  log.read = read
  if log.now < (log.clock or 0) then
    log.told = 0 -- by a clock that goes back neither
  end
  look_back(log)
  if log.epoch then
    set_tail(log)
  end
  if not log.epoch or was_replaced(log) then
    begin(log)
  end
  return log
end

-- Rule 9: cut a scope to its cap in steps of a hundredth, and keep where the cut ended. Returns how many more it takes.
local function cap(log, stream, field, most)
  local length, slack = redis.call('XLEN', stream), math.floor(most / 100)
  if length <= most + slack then
    return most + slack - length
  end
  local gone = redis.call('XRANGE', stream, '-', '+', 'COUNT', length - most)
  local last = gone[#gone][1]
  redis.call('XTRIM', stream, 'MINID', '=', after(last))
  redis.call('HSET', log.meta, 'cap:' .. field, last)
  return slack
end

local function held_bytes(log)
  local oldest = redis.call('XRANGE', log.key, '-', '+', 'COUNT', 1)[1]
  return oldest and log.bytes - tonumber(oldest[2][10]) or 0
end

-- Rule 9: cut the oldest entries of the log out of every stream that holds them, until at most so many bytes are held, and
-- raise the floor. A step at a time: returns whether there is more to cut. The tail stays: cursors are compared with it.
local function cut(log, most)
  local oldest = redis.call('XRANGE', log.key, '-', '+', 'COUNT', STEP + 1)
  local last, streams = nil, { [log.key] = true }
  for at = 1, #oldest - 1 do
    local id, fields = oldest[at][1], oldest[at][2]
    if log.bytes - tonumber(fields[10]) <= most then
      break
    end
    local channel, scope = fields[2], fields[4]
    if scope ~= '' then
      streams[scope_key(log, channel, scope)] = true
      if is_topic(scope) then
        streams[topics_key(log, channel)] = true
      end
    end
    last = id
  end
  if not last then
    return false
  end
  for stream in pairs(streams) do
    redis.call('XTRIM', stream, 'MINID', '=', after(last))
  end
  if below(log.floor, last) then
    log.floor = last
  end
  return last == oldest[#oldest - 1][1]
end

local function relieve(log, most)
  if most <= 0 or held_bytes(log) <= most then
    return
  end
  for _ = 1, 20 do
    if not cut(log, most * 0.9) then
      return
    end
  end
end

-- What is remembered of a log's streams holds while nobody else appends: another version of this library, somebody with
-- other limits, or another server whose data were then put here. The tail shows it: whoever appends moves it, and so does
-- a new epoch. The logs of other databases are known apart by `born`. What trims a stream only makes more room.
local function recall(log, limits)
  local memory = memories[log.born]
  if remembered > MOST_STREAMS then
    memories, remembered, memory = {}, 0, nil
  end
  if not memory or memory.tail ~= log.tail or memory.limits ~= limits then
    memory = { limits = limits, expiry = {}, room = {} }
    memories[log.born] = memory
  end
  return memory
end

-- Rule 9: append to a stream, which goes when it is idle, is trimmed, and has no more than its cap. All that is seen to
-- when it is not remembered, and again after a tenth of the retention, or when the cap may be reached. A stream that is
-- remembered may have been deleted by somebody: then Redis appends nothing.
local function keep(log, stream, field, most, id, ...)
  local expiry, room = log.memory.expiry, log.memory.room
  local known, least = expiry[stream], log.ms + log.lives
  if known and known >= least and room[stream] > 0 and redis.call('XADD', stream, 'NOMKSTREAM', id, ...) then
    room[stream] = room[stream] - 1
    return
  end
  redis.call('XADD', stream, 'MINID', '~', text(log.kept), id, ...)
  if known then
    least = least + math.floor(log.retention * AHEAD)
  else
    remembered = remembered + 1
  end
  redis.call('PEXPIREAT', stream, text(least))
  expiry[stream], room[stream] = least, cap(log, stream, field, most)
end

local function add(log, caps, channel, scope, body)
  local previous = log.tail
  advance(log)
  local id = write(log, channel, scope, body, previous)
  local name = channel .. ' ' .. scope
  keep(log, log.base .. 'scope ' .. name, name, caps.scope, id, 'b', body)
  local copies = 2
  if is_topic(scope) then
    keep(log, topics_key(log, channel), channel .. ' topic:*', caps.topics, id, 's', scope, 'b', body)
    copies = 3
  end
  -- Every copy of an event counts: the log's, its scope's, the topic stream's; and what Redis needs around each.
  log.bytes = log.bytes + (#body + #channel + #scope + 64) * copies
  return id
end

-- Idempotency of one batch: which events are there already, and which are twice in it. Returns what each position
-- repeats: an id, or the position of an earlier event of the batch; or `nil` and the first position in conflict.
local function repeats(log, args, first)
  local found, here = {}, {}
  for at = first + 3, #args, 5 do
    local once, fingerprint = args[at], args[at + 1]
    if once ~= '' then
      local position = (at - first + 2) / 5
      local earlier = here[once]
      local held = not earlier and redis.call('GET', log.base .. 'once ' .. once)
      local id, known
      if earlier then
        id, known = earlier, args[first + earlier * 5 - 1]
      elseif held then
        id, known = string.match(held, '^(%S+) (%S+)$')
      else
        here[once] = position
      end
      if id and known ~= fingerprint then
        return nil, position
      end
      found[position] = id
    end
  end
  return found
end

-- append(log, meta; base, retention, scope cap, topics cap, most bytes, request, request ttl, once ttl,
--        then channel, scope, body, once, fingerprint of each event)
-- -> "ok <id> <0|1: repeated> ..." or "conflict <position>". All or nothing; the same request gives the same reply.
local function append(keys, args)
  local request = args[1] .. 'request ' .. args[6]
  local earlier = redis.call('GET', request)
  if earlier then
    return earlier
  end
  local log = open(keys, args)
  local found, conflict = repeats(log, args, 9)
  if not found then
    return 'conflict ' .. conflict
  end
  local caps = { scope = tonumber(args[3]), topics = tonumber(args[4]) }
  log.memory = recall(log, args[2] .. ' ' .. args[3] .. ' ' .. args[4])
  log.lives = math.floor(log.retention * (1 + GRACE) + 1000.5)
  local before, ids, reply = log.bytes, {}, { 'ok' }
  for at = 9, #args, 5 do
    local position, once = #ids + 1, args[at + 3]
    local id = found[position]
    if not id then
      id = add(log, caps, args[at], args[at + 1], args[at + 2])
      reply[position + 1] = id .. ' 0'
      if once ~= '' then
        redis.call('SET', log.base .. 'once ' .. once, id .. ' ' .. args[at + 4], 'PX', args[8])
      end
    else
      id = ids[id] or id
      reply[position + 1] = id .. ' 1'
    end
    ids[position] = id
  end
  log.memory.tail = log.tail
  local most = tonumber(args[5])
  if most > 0 and math.floor(before * 100 / most) ~= math.floor(log.bytes * 100 / most) then
    relieve(log, most)
  end
  save(log)
  local answer = table.concat(reply, ' ')
  redis.call('SET', request, answer, 'PX', args[7])
  return answer
end

-- Rule 3's third part: the lowest good cursor for a reader of these streams, always the id of an entry.
local function floor_of(log, fields)
  local floor = log.floor
  if #fields > 0 then
    for _, boundary in ipairs(redis.call('HMGET', log.meta, unpack(fields))) do
      if boundary and below(floor, boundary) then
        floor = boundary
      end
    end
  end
  local horizon = join(log.kept, 0)
  if below(floor, horizon) then
    local oldest = redis.call('XRANGE', log.key, horizon, '+', 'COUNT', 1)[1]
    floor = oldest and oldest[1] or log.tail
  end
  return floor
end

-- Rule 3's second part: its epoch got as far as this id here.
local function is_here(log, id)
  local _, seq = split(id)
  local epoch = math.floor(seq / SPAN)
  local stop = epoch == log.epoch and log.tail or redis.call('HGET', log.meta, 'end:' .. text(epoch))
  return stop and not below(stop, id)
end

-- Rule 3.
local function is_good(log, cursor, floor)
  return cursor == log.tail or (is_here(log, cursor) and not below(cursor, floor))
end

-- check(log, meta; base, retention, cursor or "", horizon or "", then "cap:<channel> <scope>" of each stream that is read)
-- -> good (1 or 0), floor, tail, whether the log has the horizon (1 or 0). A horizon of another log bounds nothing here:
-- a position up to there would be good on that one, where something else lies before it.
local function check(keys, args)
  local log = open(keys, args)
  local fields = {}
  for at = 5, #args do
    fields[#fields + 1] = args[at]
  end
  local floor = floor_of(log, fields)
  local good = args[3] ~= '' and is_good(log, args[3], floor)
  local complete = args[4] ~= '' and is_here(log, args[4])
  return { good and 1 or 0, floor, log.tail, complete and 1 or 0 }
end

-- A boundary below what is kept decides nothing any more. One step of a walk over meta at each touch.
local walk = '0'

local function sweep(log)
  local step = redis.call('HSCAN', log.meta, walk, 'COUNT', 100)
  walk = step[1]
  local horizon = join(log.kept, 0)
  for at = 1, #step[2], 2 do
    local field, value = step[2][at], step[2][at + 1]
    local kind = string.match(field, '^(%a+):')
    if kind and below(value, horizon) then
      redis.call('HDEL', log.meta, field)
    end
  end
end

-- touch(log, meta; base, retention, most bytes) -> tail, floor, Redis's now in ms. Rule 6.
local function touch(keys, args)
  local log = open(keys, args)
  if log.now - log.ms >= log.retention / 10 then
    mark(log, 'idle')
  end
  relieve(log, tonumber(args[3]))
  sweep(log)
  save(log)
  return { log.tail, floor_of(log, {}), text(log.now) }
end

-- fence(log, meta; base, retention, witness, ms since it was witnessed) -> 1 when the floor was raised, else 0; tail.
-- Rule 5: somebody followed, or was acknowledged, an id that this log does not have. It is said once: not when another
-- gateway's fence came after it, nor when the log began empty after it.
local function fence(keys, args)
  local log = open(keys, args)
  local raised = not is_here(log, args[3]) and log.now - tonumber(args[4]) >= log.told
  if raised then
    log.floor, log.told = mark(log, 'fence'), log.now
    save(log)
  end
  return { raised and 1 or 0, log.tail }
end

redis.register_function('gapless_2_append', append)
redis.register_function('gapless_2_check', check)
redis.register_function('gapless_2_touch', touch)
redis.register_function('gapless_2_fence', fence)
