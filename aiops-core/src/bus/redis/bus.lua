-- One step each, so that no other process comes in between. KEYS: the stream, its dead letters; for `publish` the
-- stream of each entry.
-- ARGV: the step and its arguments.
local stream, dead = KEYS[1], KEYS[2]

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function less(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local function after(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
end

local function pairs_of(flat)
  local all = {}
  for i = 1, #flat, 2 do all[flat[i]] = flat[i + 1] end
  return all
end

-- The first entry that some group has not settled; none without groups.
local function needed(key)
  local low
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local group = pairs_of(flat)
    local from
    if group['pending'] > 0 then
      from = redis.call('XPENDING', key, group['name'])[2]
    else
      from = after(group['last-delivered-id'])
    end
    if not low or less(from, low) then low = from end
  end
  return low
end

-- Whether the entry is still out under this delivery.
local function held(group, id, consumer, attempts)
  local found = redis.call('XPENDING', stream, group, id, id, 1)[1]
  return found and found[2] == consumer and found[4] == tonumber(attempts)
end

local function payload(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'envelope' then return fields[i + 1] end
  end
  return table.concat(fields, ' ')
end

local steps = {}

-- One entry into one stream, unless the stream is full of what groups still need. `lengths`: of the streams as far as
-- they are known.
local function add(key, capacity, envelope, lengths)
  local unrouted = 0
  local length = lengths[key] or redis.call('XLEN', key)
  if length >= capacity then
    local low = needed(key)
    if low then
      redis.call('XTRIM', key, 'MINID', '=', low)
    else
      unrouted = redis.call('XTRIM', key, 'MAXLEN', '=', capacity - 1)
    end
    length = redis.call('XLEN', key)
  end
  lengths[key] = length
  if length >= capacity then return 'full', unrouted end
  redis.call('XADD', key, '*', 'envelope', envelope)
  lengths[key] = length + 1
  return 'taken', unrouted
end

-- An entry into each stream: its outcome, and how many that nobody had asked for went. Where one of several fails it
-- is said to have; its publisher comes again with it alone.
function steps.publish(capacity, ...)
  local envelopes, lengths, out = { ... }, {}, {}
  capacity = tonumber(capacity)
  if #KEYS == 1 then return { add(stream, capacity, envelopes[1], lengths) } end
  for i, key in ipairs(KEYS) do
    local well, outcome, unrouted = pcall(add, key, capacity, envelopes[i], lengths)
    table.insert(out, well and outcome or 'failed')
    table.insert(out, well and unrouted or 0)
  end
  return out
end

-- Entries, each with the consumer that has it and how often it was given out.
function steps.ack(group, ...)
  local words, done, out = { ... }, {}, {}
  for i = 1, #words, 3 do
    local still = held(group, words[i], words[i + 1], words[i + 2])
    if still then table.insert(done, words[i]) end
    table.insert(out, still and 'done' or 'late')
  end
  if #done > 0 then redis.call('XACK', stream, group, unpack(done)) end
  return out
end

-- `idle`: how long the entry is to look as if nobody had touched it; `counted`: attempts from now on.
function steps.nak(group, id, consumer, attempts, idle, counted)
  if not held(group, id, consumer, attempts) then return { 'late' } end
  redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', idle, 'RETRYCOUNT', counted, 'JUSTID')
  return { 'done' }
end

function steps.bury(group, id, consumer, attempts, kept, letter)
  if not held(group, id, consumer, attempts) then return { 'late' } end
  redis.call('XADD', dead, '*', 'envelope', letter)
  local dropped = redis.call('XTRIM', dead, 'MAXLEN', '=', kept)
  redis.call('XACK', stream, group, id)
  return { 'done', dropped }
end

-- Takes entries that nobody settled in time, from a cursor on.
function steps.claim(group, consumer, idle, cursor, count)
  local reply = redis.call('XAUTOCLAIM', stream, group, consumer, idle, cursor, 'COUNT', count)
  local out = { reply[1], reply[3] and #reply[3] or 0 }
  for _, entry in ipairs(reply[2]) do
    local id = entry[1]
    local found = redis.call('XPENDING', stream, group, id, id, 1)[1]
    table.insert(out, id)
    table.insert(out, found and found[4] or 1)
    table.insert(out, payload(entry[2]))
  end
  return out
end

-- Last id that was given out, entries that were not yet (-1: not known), entries that are out.
function steps.status(group)
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local one = pairs_of(flat)
    if one['name'] == group then
      local lag = one['lag']
      if type(lag) ~= 'number' then
        -- After entries were deleted the server does not know it, and it is counted.
        lag = #redis.call('XRANGE', stream, after(one['last-delivered-id']), '+', 'COUNT', 10000)
      end
      return { one['last-delivered-id'], lag, one['pending'] }
    end
  end
  return redis.error_reply('NOGROUP no consumer group ' .. group)
end

-- Forgets consumers that are gone and hold nothing: one that holds something must stay until it is claimed.
function steps.sweep(group, idle)
  for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local consumer = pairs_of(flat)
    if consumer['pending'] == 0 and consumer['idle'] >= tonumber(idle) then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer['name'])
    end
  end
  return { 'done' }
end

return steps[ARGV[1]](unpack(ARGV, 2))
