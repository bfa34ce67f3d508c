-- One step each, so that no other process comes in between. KEYS: the stream, its dead letters.
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
local function needed()
  local low
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = pairs_of(flat)
    local from
    if group['pending'] > 0 then
      from = redis.call('XPENDING', stream, group['name'])[2]
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

function steps.publish(capacity, envelope)
  capacity = tonumber(capacity)
  local unrouted = 0
  if redis.call('XLEN', stream) >= capacity then
    local low = needed()
    if low then
      redis.call('XTRIM', stream, 'MINID', '=', low)
    else
      unrouted = redis.call('XTRIM', stream, 'MAXLEN', '=', capacity - 1)
    end
    if redis.call('XLEN', stream) >= capacity then return { 'full', 0 } end
  end
  redis.call('XADD', stream, '*', 'envelope', envelope)
  return { 'taken', unrouted }
end

function steps.ack(group, id, consumer, attempts)
  if not held(group, id, consumer, attempts) then return { 'late' } end
  redis.call('XACK', stream, group, id)
  return { 'done' }
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
