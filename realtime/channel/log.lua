#!lua name=gapless_3
--[[
The log's kernel (docs/architecture.md, "The log's kernel"). The name carries the version: a change of this file that an
older gateway could not live with is another name. Never loaded with REPLACE.

Keys, all with the partition's hash tag (`base` = "{gapless:<partition>}:"):
  base log                    stream: every entry; fields, in this order: c(hannel) s(cope) b(ody) p(revious id) t(otal
                              bytes before it)
  base meta                   hash, never expires: ms n epoch run born floor bytes kept span till; end:<epoch>;
                              lost:<epoch>; seen:<epoch>; cap:<channel> <scope>; held:<channel> <scope>. The values of the
                              last five are ids, or look like one: gapless_2 walks over them too
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
local FIELDS = { 'ms', 'n', 'epoch', 'born', 'bytes', 'kept', 'span', 'till', 'run', 'floor' }
local NUMBERS = 8

-- A name of the topic stream, where a scope could be.
local EVERY_TOPIC = 'topic:*'

-- Of this server process: a library is loaded anew in every process, so a copy of the data elsewhere has another one.
local process
-- The newest id that this process wrote, to each log: its other databases may hold other logs, known apart by the number
-- of their first epoch (`born`). Data whose tail is older was put back under our feet: by a backup, or from a replica that
-- lagged. A library that was just loaded does not know, and takes it for so.
local newest_ms, newest_seq, latest_ms = {}, {}, 0

-- What this process remembers of each log's streams, so as not to ask Redis at every event: `expiry`, when a stream goes,
-- and `room`, how many entries it takes before its cap has to be looked at. See `recall`.
local memories, remembered = {}, 0

-- The server's maxmemory-policy, and when it was asked.
local POLICY_EVERY = 60000
local policy, policy_asked

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

-- The stream that "<channel> <scope>" names.
local function stream_of(log, name)
  local channel, scope = string.match(name, '^(%S+) (.*)$')
  if scope == EVERY_TOPIC then
    return topics_key(log, channel)
  end
  return scope_key(log, channel, scope)
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

-- Whether an epoch has ended here, or another log's has become known here.
local function is_known(log, epoch)
  local number = text(epoch)
  local known = redis.call('HMGET', log.meta, 'end:' .. number, 'lost:' .. number, 'seen:' .. number)
  return known[1] or known[2] or known[3]
end

-- Rule 2: the number of an epoch is random: two successors of one log, on two servers, must not take the same one. One
-- that the log knows already, as its own or as another log's, is drawn again.
local function draw_epoch(log, previous)
  local time, draws = redis.call('TIME'), 0
  while true do
    local seed = redis.sha1hex(process .. ' ' .. time[1] .. ' ' .. time[2] .. ' ' .. previous .. ' ' .. draws)
    local epoch = tonumber(string.sub(seed, 1, 8), 16) % 2147483648
    if not is_known(log, epoch) then
      return epoch
    end
    draws = draws + 1
  end
end

-- Rule 2: a log that this process has not written before begins a new epoch.
local function begin(log)
  local previous = ''
  if log.epoch then
    previous = log.tail
    redis.call('HSET', log.meta, 'end:' .. text(log.epoch), previous)
  else
    local last = redis.call('XREVRANGE', log.key, '+', '-', 'COUNT', 1)[1]
    log.ms = last and split(last[1]) or 0
  end
  log.epoch = draw_epoch(log, previous)
  log.born = log.born or log.epoch
  log.ms, log.n, log.run = math.max(log.now, log.ms + 1, latest_ms + 1), 0, process
  set_tail(log)
  local marker = write(log, '', '', 'epoch', previous)
  log.is_new = previous == ''
  if log.is_new then
    log.floor = marker
  end
  redis.call('HDEL', log.meta, 'told') -- gapless_2's clock, by which it would keep silent about a loss
  policy = nil
  save(log)
end

-- Read what is known of the log; nothing is written.
local function look(keys, args)
  if not process then
    meet_process()
  end
  local log = {
    key = keys[1], meta = keys[2], base = args[1], retention = tonumber(args[2]), now = clock(),
    bytes = 0, kept = 0, till = 0, span = tonumber(args[2]),
  }
  local read = redis.call('HMGET', log.meta, unpack(FIELDS))
  for at, field in ipairs(FIELDS) do
    if at <= NUMBERS then
      read[at] = tonumber(read[at])
    end
    log[field] = read[at] or log[field]
  end
  log.read = read
  look_back(log)
  if log.epoch then
    set_tail(log)
  end
  return log
end

-- Whether this process has written this log, and nobody has put other data in its place.
local function is_ours(log)
  return log.epoch and not was_replaced(log)
end

local function epoch_of(id)
  local _, seq = split(id)
  return math.floor(seq / SPAN)
end

-- Rule 3's second part: its epoch got as far as this id here.
local function is_here(log, id)
  local epoch = epoch_of(id)
  local stop = epoch == log.epoch and log.tail or redis.call('HGET', log.meta, 'end:' .. text(epoch))
  return stop and not below(stop, id)
end

-- Whether the log's entries go around an id that its epoch got past. So it is when a machine's snapshot was restored: the
-- server process is the same, remembers nothing of what it lost, and goes on in its epoch.
local function is_gone(log, id)
  if #redis.call('XRANGE', log.key, id, id, 'COUNT', 1) > 0 then
    return false
  end
  local oldest = redis.call('XRANGE', log.key, '-', '+', 'COUNT', 1)[1]
  return oldest and below(oldest[1], id) and below(log.floor, id)
end

-- Rule 5: whether somebody followed, or was acknowledged, an id that this log does not have, and has not said so yet.
-- However old it is: it may be of a server whose clock was behind.
local function is_missed(log, witness, closely)
  if witness == log.tail then
    return false
  end
  if is_here(log, witness) and not (closely and is_gone(log, witness)) then
    return false
  end
  local said = redis.call('HGET', log.meta, 'lost:' .. text(epoch_of(witness)))
  return not said or below(said, witness)
end

-- Whether there is one witness, of the epoch that goes on, and not beyond its tail: so it nearly always is.
local function is_plain(log, witnesses)
  local ms, seq = string.match(witnesses, '^(%d+)-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  local first = log.epoch * SPAN
  return ms and seq >= first and seq < first + SPAN and (ms < log.ms or (ms == log.ms and seq <= first + log.n))
end

-- Append a marker that says: something before this was lost. No cursor below it is good.
local function fence(log)
  log.floor = mark(log, 'fence')
  log.fenced = true
end

-- Rule 5: say what was lost of what these witnesses saw ("<id> <id> ..."), once by epoch: the highest id of which it was
-- said is kept. A log that begins empty says it by that: its first entry is above all cursors of another one.
local function heed(log, witnesses, closely)
  local missed
  if not closely and is_plain(log, witnesses) then
    return
  end
  for witness in string.gmatch(witnesses, '%S+') do
    if is_missed(log, witness, closely) then
      missed = missed or {}
      missed[#missed + 1] = witness
    end
  end
  if not missed then
    return
  end
  for _, witness in ipairs(missed) do
    if epoch_of(witness) == log.epoch then
      begin(log) -- else its ids would be good again as soon as the log got past them
    end
  end
  if not log.is_new then
    fence(log)
  end
  for _, witness in ipairs(missed) do
    redis.call('HSET', log.meta, 'lost:' .. text(epoch_of(witness)), witness)
  end
  save(log)
end

local function open(keys, args)
  local log = look(keys, args)
  if not is_ours(log) then
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
  redis.call('HSET', log.meta, 'cap:' .. field, last)
  redis.call('XTRIM', stream, 'MINID', '=', after(last))
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
  if below(log.floor, last) then
    log.floor = last
    save(log)
  end
  for stream in pairs(streams) do
    redis.pcall('XTRIM', stream, 'MINID', '=', after(last)) -- what somebody put in its place is none of ours
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

-- Rule 10: whether a stream that is not there should be: it was there, and its time had not come. `held` says until when,
-- and how much longer that is than its newest entry can be kept. What another clock let go is below `kept`.
local function is_due(log, held)
  if not held then
    return false
  end
  local gone, lives = split(held)
  return gone > log.now and gone - lives > log.kept
end

-- Somebody evicted or deleted a scope's stream: no cursor below this id is good for who reads it.
local function lose(log, name, upto)
  redis.call('HSET', log.meta, 'cap:' .. name, upto)
  redis.call('HDEL', log.meta, 'held:' .. name)
end

-- Rule 9: append to a stream, which goes when it is idle, is trimmed, and has no more than its cap. All that is seen to
-- when it is not remembered, and again after a tenth of the retention, or when the cap may be reached. A stream that is
-- remembered may have been deleted by somebody: then Redis appends nothing.
local function keep(log, name, stream, most, previous, ...)
  local expiry, room = log.memory.expiry, log.memory.room
  local known, least = expiry[stream], log.ms + log.lives
  if known and known >= least and room[stream] > 0 and redis.call('XADD', stream, 'NOMKSTREAM', log.tail, ...) then
    room[stream] = room[stream] - 1
    return
  end
  if is_due(log, redis.call('HGET', log.meta, 'held:' .. name)) and redis.call('EXISTS', stream) == 0 then
    lose(log, name, previous)
  end
  redis.call('XADD', stream, 'MINID', '~', text(log.kept), log.tail, ...)
  if known then
    least = least + math.floor(log.retention * AHEAD)
  else
    remembered = remembered + 1
  end
  redis.call('PEXPIREAT', stream, text(least))
  redis.call('HSET', log.meta, 'held:' .. name, join(least, log.lives))
  expiry[stream], room[stream] = least, cap(log, stream, name, most)
end

-- Append an event under the id that was advanced to.
local function add(log, caps, previous, channel, scope, body)
  local name = channel .. ' ' .. scope
  write(log, channel, scope, body, previous)
  keep(log, name, log.base .. 'scope ' .. name, caps.scope, previous, 'b', body)
  local copies = 2
  if is_topic(scope) then
    local all = channel .. ' ' .. EVERY_TOPIC
    keep(log, all, topics_key(log, channel), caps.topics, previous, 's', scope, 'b', body)
    copies = 3
  end
  -- Every copy of an event counts: the log's, its scope's, the topic stream's; and what Redis needs around each.
  log.bytes = log.bytes + (#body + #channel + #scope + 64) * copies
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

-- Where an event's arguments begin: channel, scope, body, once, fingerprint.
local EVENTS = 10

-- Append what is not there yet of a batch; `ids` gets the id of each, before anything is written under it.
local function add_all(log, args, found, ids)
  local caps, reply = { scope = tonumber(args[3]), topics = tonumber(args[4]) }, { 'ok' }
  for at = EVENTS, #args, 5 do
    local position, once = #ids + 1, args[at + 3]
    local id = found[position]
    if not id then
      local previous = log.tail
      advance(log)
      id = log.tail
      ids[position] = id
      add(log, caps, previous, args[at], args[at + 1], args[at + 2])
      reply[position + 1] = id .. ' 0'
      if once ~= '' then
        redis.call('SET', log.base .. 'once ' .. once, id .. ' ' .. args[at + 4], 'PX', args[8])
      end
    else
      id = ids[id] or id
      ids[position] = id
      reply[position + 1] = id .. ' 1'
    end
  end
  return table.concat(reply, ' ')
end

-- Take back what was written of a batch: Redis does not when a function fails. A marker has the last id instead, so that
-- none is used twice and the log's entries still follow each other.
local function undo(log, before, args, found, ids)
  for position, id in ipairs(ids) do
    local at = EVENTS + (position - 1) * 5
    local channel, scope, once = args[at], args[at + 1], args[at + 3]
    if not found[position] then
      redis.pcall('XDEL', log.key, id)
      redis.pcall('XDEL', scope_key(log, channel, scope), id)
      if is_topic(scope) then
        redis.pcall('XDEL', topics_key(log, channel), id)
      end
      if once ~= '' then
        redis.pcall('DEL', log.base .. 'once ' .. once)
      end
    end
  end
  memories[log.born] = nil
  log.bytes = before.bytes
  advance(log)
  write(log, '', '', 'idle', before.tail)
  save(log)
end

-- append(log, meta; base, retention, scope cap, topics cap, most bytes, request, request ttl, once ttl, witnesses,
--        then channel, scope, body, once, fingerprint of each event)
-- -> "ok <id> <0|1: repeated> ..." or "conflict <position>". All or nothing; the same request gives the same reply.
local function append(keys, args)
  local request = args[1] .. 'request ' .. args[6]
  local earlier = redis.call('GET', request)
  if earlier then
    redis.call('PEXPIRE', request, args[7]) -- a write: WAIT and WAITAOF wait for nothing else on a new connection
    return earlier
  end
  local log = open(keys, args)
  heed(log, args[9])
  local found, conflict = repeats(log, args, EVENTS)
  if not found then
    return 'conflict ' .. conflict
  end
  log.memory = recall(log, args[2] .. ' ' .. args[3] .. ' ' .. args[4])
  log.lives = math.floor(log.retention * (1 + GRACE) + 1000.5)
  local before, ids = { bytes = log.bytes, tail = log.tail }, {}
  local is_done, answer = pcall(add_all, log, args, found, ids)
  if not is_done then
    undo(log, before, args, found, ids)
    return type(answer) == 'table' and answer or redis.error_reply(tostring(answer))
  end
  log.memory.tail = log.tail
  local most = tonumber(args[5])
  if most > 0 and math.floor(before.bytes * 100 / most) ~= math.floor(log.bytes * 100 / most) then
    relieve(log, most)
  end
  save(log)
  redis.call('SET', request, answer, 'PX', args[7])
  return answer
end

-- Rule 3's third part: the lowest good cursor for a reader of these streams, always the id of an entry.
local function floor_of(log, names)
  local floor = log.floor
  if #names > 0 then
    local fields = {}
    for at, name in ipairs(names) do
      fields[at] = 'cap:' .. name
    end
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

-- Rule 10: which of these streams should be there, and are not.
local function missing(log, names)
  local gone, fields, streams, due = {}, {}, {}, {}
  for at, name in ipairs(names) do
    fields[at] = 'held:' .. name
  end
  local held = #fields > 0 and redis.call('HMGET', log.meta, unpack(fields)) or {}
  for at, name in ipairs(names) do
    if is_due(log, held[at]) then
      due[#due + 1], streams[#streams + 1] = name, stream_of(log, name)
    end
  end
  if #streams == 0 or redis.call('EXISTS', unpack(streams)) == #streams then
    return gone
  end
  for at, stream in ipairs(streams) do
    if redis.call('EXISTS', stream) == 0 then
      gone[#gone + 1] = due[at]
    end
  end
  return gone
end

-- Rule 3.
local function is_good(log, cursor, floor)
  return cursor == log.tail or (is_here(log, cursor) and not below(cursor, floor))
end

-- Whether a cursor is of an epoch that the log has never heard of, neither as its own nor as one of which something was
-- lost, or beyond the current one's tail.
local function is_strange(log, cursor)
  return not is_known(log, epoch_of(cursor)) and not is_here(log, cursor)
end

-- A client comes from a log that shares a part of this one's past, and has perhaps read on there. It is not put at an
-- entry that both have: a gateway that still follows the other one would give it the same events again. The marker is in
-- no log of the cursor's epoch, for that began before it. Others of that epoch need no further one.
local function part(log, cursor)
  if is_strange(log, cursor) then
    local marker = mark(log, 'idle')
    if epoch_of(cursor) ~= log.epoch then
      redis.call('HSET', log.meta, 'seen:' .. text(epoch_of(cursor)), marker)
    end
  end
end

local function from(args, first)
  local rest = {}
  for at = first, #args do
    rest[#rest + 1] = args[at]
  end
  return rest
end

local function is_replica()
  return string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true)
end

-- Rule 3 for a reader of these streams. Returns nothing when there has to be a touch first: this process has not begun an
-- epoch of this log, or the log lacks what a witness saw. Nothing is written, so that it is answered when memory is full.
-- A horizon of another log bounds nothing here: a position up to there would be good on that one, where something else lies
-- before it.
local function judge(log, cursor, horizon, witnesses, names)
  if not is_ours(log) or is_replica() then
    return nil
  end
  if not is_plain(log, witnesses) then
    for witness in string.gmatch(witnesses, '%S+') do
      if is_missed(log, witness) then
        return nil
      end
    end
  end
  local gone, floor = missing(log, names), nil
  floor = #gone > 0 and log.tail or floor_of(log, names)
  local good = cursor ~= '' and is_good(log, cursor, floor)
  local complete = horizon ~= '' and is_here(log, horizon)
  local strange = cursor ~= '' and not good and is_strange(log, cursor)
  return { good and 1 or 0, floor, log.tail, complete and 1 or 0, strange and 1 or 0, gone }
end

-- check(log, meta; base, retention, cursor or "", horizon or "", witnesses, then "<channel> <scope>" of each stream that is
-- read) -> good (1 or 0), floor, tail, whether the log has the horizon (1 or 0), whether the cursor is of an epoch that
-- it never heard of (1 or 0), and which streams are missing; or nothing.
local function check(keys, args)
  return judge(look(keys, args), args[3], args[4], args[5], from(args, 6)) or false
end

-- The next entries of a stream, `source`, of a read: one by one at first, then as many as fit into AT_ONCE bytes of all
-- streams, were all as large as the largest so far. At most MOST_AT_ONCE: the next ones may be larger.
local AT_ONCE, MOST_AT_ONCE = 262144, 16

local function refill(read, source)
  local fit = read.largest > 0 and math.floor(AT_ONCE / read.largest / math.max(1, #read.sources)) or 1
  local count = math.max(1, math.min(fit, MOST_AT_ONCE))
  source.entries = redis.call('XRANGE', source.key, '(' .. source.last, read.upto, 'COUNT', count)
  source.at = 0
  for _, entry in ipairs(source.entries) do
    read.largest = math.max(read.largest, #entry[2][#entry[2]])
  end
end

-- Go on to the next entry of a stream; false at its end.
local function step(read, source)
  if source.at >= #source.entries then
    refill(read, source)
  end
  source.at = source.at + 1
  local entry = source.entries[source.at]
  if entry then
    source.last, source.ms, source.seq = entry[1], split(entry[1])
  end
  return entry ~= nil
end

-- Put the last of the sources in its place: they are in order of their next ids, the lowest at the end.
local function place(sources)
  for at = #sources, 2, -1 do
    local a, b = sources[at - 1], sources[at]
    if a.ms > b.ms or (a.ms == b.ms and a.seq >= b.seq) then
      return
    end
    sources[at - 1], sources[at] = b, a
  end
end

local function starts_with_one(text, prefixes)
  for _, prefix in ipairs(prefixes) do
    if string.sub(text, 1, #prefix) == prefix then
      return true
    end
  end
  return false
end

-- Whether an entry's scope and type are wanted. Types are wanted by name, or by a prefix that ends in a dot.
local function is_wanted(read, scope, is_by_pattern, body)
  if is_by_pattern and not starts_with_one(scope, read.prefixes) then
    return false
  end
  if not read.is_filtered then
    return true
  end
  local kind = string.match(body, '^"event":"([^"]*)"') or ''
  return read.types[kind] or starts_with_one(kind, read.kinds)
end

-- A read examines at most so many bytes, counting COST for each entry more: Redis serves nobody else meanwhile.
local MOST_EXAMINED, COST = 1048576, 512

-- Merge the streams, in order of id and each entry once. Returns the position up to which all was examined, whether a
-- wanted entry follows that was not taken, and id, scope and body of those that were taken.
local function merge(read, limit, least)
  local sources, found, taken = read.sources, {}, 0
  local position, examined, newest = read.after, 0, nil
  while #sources > 0 do
    local source = sources[#sources]
    local id, fields = source.last, source.entries[source.at][2]
    local scope, body = source.scope or fields[2], fields[#fields]
    if id ~= position and examined >= MOST_EXAMINED then
      return position, 0, found
    end
    if id ~= newest and is_wanted(read, scope, not source.scope, body) then
      if taken >= limit or (taken >= least and #body > read.bytes) then
        return position, 1, found
      end
      taken, newest, read.bytes = taken + 1, id, math.max(0, read.bytes - #body)
      found[taken * 3 - 2], found[taken * 3 - 1], found[taken * 3] = id, scope, body
    end
    position, examined = id, examined + #body + COST
    if step(read, source) then
      place(sources)
    else
      sources[#sources] = nil
    end
  end
  return read.upto, 0, found
end

local function filter(read, wanted)
  read.is_filtered, read.types, read.kinds = wanted ~= '', {}, {}
  for kind in string.gmatch(wanted, '[^,]+') do
    if string.sub(kind, -1) == '.' then
      read.kinds[#read.kinds + 1] = kind
    else
      read.types[kind] = true
    end
  end
end

-- read(log, meta; base, retention, cursor, horizon, witnesses, upto, limit, bytes, least, types wanted or "", number of
--      patterns' prefixes, these, then "<channel> <scope>" of each stream)
-- -> what `check` returns, the position, whether more follows (1 or 0), id, scope and body of each entry; or nothing.
-- Rule 7. Of entries in (cursor, upto] so many are taken as `limit` and `bytes` allow, and at least `least`.
local function read_streams(keys, args)
  local log, prefixes = look(keys, args), {}
  local patterns = tonumber(args[11])
  for at = 1, patterns do
    prefixes[at] = args[11 + at]
  end
  local names = from(args, 12 + patterns)
  local verdict = judge(log, args[3], args[4], args[5], names)
  if not verdict then
    return false
  end
  if verdict[4] == 0 then
    return { verdict, args[3], 0, {} }
  end
  local read = { after = args[3], upto = args[6], bytes = tonumber(args[8]), prefixes = prefixes, sources = {} }
  read.largest = 0
  filter(read, args[10])
  for _, name in ipairs(names) do
    local scope = string.match(name, '^%S+ (.*)$')
    local source = { key = stream_of(log, name), scope = scope ~= EVERY_TOPIC and scope, last = read.after, at = 0 }
    source.entries = {}
    if step(read, source) then
      read.sources[#read.sources + 1] = source
      place(read.sources)
    end
  end
  return { verdict, merge(read, tonumber(args[7]), tonumber(args[9])) }
end

-- lose(log, meta; base, retention, then "<channel> <scope>" of streams that a check found missing): remember it.
local function lose_missing(keys, args)
  local log = open(keys, args)
  for _, name in ipairs(missing(log, from(args, 3))) do
    lose(log, name, log.tail)
  end
end

-- A cap below what is kept decides nothing any more, nor does a stream whose time has come. One step of a walk over meta at
-- each touch. Ends and losses stay, a field for each start of a server: what somebody witnessed is compared with them, and
-- how old it is can't be told by the clock of another server.
local SWEPT = { cap = true, held = true, seen = true }

local walk = '0'

local function sweep(log)
  local step = redis.call('HSCAN', log.meta, walk, 'COUNT', 100)
  walk = step[1]
  local horizon = join(log.kept, 0)
  for at = 1, #step[2], 2 do
    local field, value = step[2][at], step[2][at + 1]
    local kind = string.match(field, '^(%a+):')
    if SWEPT[kind] and below(value, kind == 'held' and join(log.now, 0) or horizon) then
      redis.call('HDEL', log.meta, field)
    end
  end
end

-- Rule 10: what the server does when its memory is full. Asked at an epoch's begin, once a minute, and at each touch as
-- long as it would evict.
local function eviction(log)
  if policy ~= 'noeviction' or math.abs(log.now - policy_asked) >= POLICY_EVERY then
    policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:(%S+)')
    policy_asked = log.now
  end
  return policy
end

-- touch(log, meta; base, retention, most bytes, witnesses, strange cursor or "", 1: something was lost)
-- -> tail, floor, Redis's now in ms, whether there was a fence (1 or 0), the first epoch, the server's maxmemory-policy.
-- Rules 5 and 6.
local function touch(keys, args)
  local log = open(keys, args)
  heed(log, args[4], true)
  if args[6] == '1' and not log.fenced then
    fence(log)
  end
  if args[5] ~= '' then
    part(log, args[5])
  end
  if log.now - log.ms >= log.retention / 10 then
    mark(log, 'idle')
  end
  relieve(log, tonumber(args[3]))
  sweep(log)
  save(log)
  return { log.tail, floor_of(log, {}), text(log.now), log.fenced and 1 or 0, text(log.born), eviction(log) }
end

-- `allow-oom`: what makes room, and keeps the log honest, works when memory is full. `no-writes` implies it.
redis.register_function('gapless_3_append', append)
redis.register_function{ function_name = 'gapless_3_check', callback = check, flags = { 'no-writes' } }
redis.register_function{ function_name = 'gapless_3_read', callback = read_streams, flags = { 'no-writes' } }
redis.register_function{ function_name = 'gapless_3_touch', callback = touch, flags = { 'allow-oom' } }
redis.register_function{ function_name = 'gapless_3_lose', callback = lose_missing, flags = { 'allow-oom' } }
