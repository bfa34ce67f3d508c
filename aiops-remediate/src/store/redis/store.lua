-- The remediation store in Redis: one script, so that each call is one atomic step, in a cluster too, where
-- all keys share the hash tag of KEYS[1]. ARGV[1] names the call. An answer begins with the names of what was
-- forgotten in it, separated by blanks. JSON comes and goes as it is: it is never written anew here.

local PAST_KEPT, MARKS_KEPT, SETTLED_KEPT, GUARDS_KEPT = 100000, 20000, 1000, 10000
local OPEN_MAX, UNTOLD_KEPT = 10000, 10000

local gone = {}
local function key(name) return KEYS[1] .. ':' .. name end
local function call(command, name, ...) return redis.call(command, key(name), ...) end
local function text(number) return string.format('%.0f', number) end

-- Grows with each record that is kept in order.
local function next_number() return call('INCR', 'numbers') end

-- Forgets the oldest of an ordered set beyond its bound.
local function trim(order, kept, what, forget)
  while call('ZCARD', order) > kept do
    forget(call('ZPOPMIN', order)[1])
    gone[#gone + 1] = what
  end
end

-- Values of many fields; Lua unpacks only some thousands at once.
local function values(name, fields)
  local found = {}
  for first = 1, #fields, 1000 do
    for _, value in ipairs(call('HMGET', name, unpack(fields, first, math.min(first + 999, #fields)))) do
      found[#found + 1] = value
    end
  end
  return found
end

local ops = {}

-- Kill switch, ends of episodes, guards.

function ops.kill_switch() return { call('GET', 'kill_switch') } end

function ops.set_kill_switch(switch)
  call('SET', 'kill_switch', switch)
  return {}
end

-- `at` begins with digits that sort as time does.
function ops.resolve(episode, at)
  local known = call('HGET', 'resolved', episode)
  if known and known >= at then return {} end
  if not known then
    call('ZADD', 'resolved_order', next_number(), episode)
    trim('resolved_order', MARKS_KEPT, 'resolved', function(old) call('HDEL', 'resolved', old) end)
  end
  call('HSET', 'resolved', episode, at)
  return {}
end

function ops.set_guard(name, bad_at, guard)
  if guard == '' then
    call('HDEL', 'guards', name)
    call('ZREM', 'guards_order', name)
    return {}
  end
  call('HSET', 'guards', name, guard)
  call('ZADD', 'guards_order', bad_at, name)
  trim('guards_order', GUARDS_KEPT, 'guard', function(old) call('HDEL', 'guards', old) end)
  return {}
end

-- Marks.

local function marks_since(since)
  return values('marks', call('ZRANGEBYSCORE', 'marks_at', since, '+inf'))
end

function ops.snapshot(episode, since)
  local guards, marks = call('HGETALL', 'guards'), marks_since(since)
  local found = { call('GET', 'kill_switch'), call('HGET', 'resolved', episode), text(#guards) }
  for _, part in ipairs(guards) do found[#found + 1] = part end
  for _, mark in ipairs(marks) do found[#found + 1] = mark end
  return found
end

-- What a reservation is decided on: the version of all marks, how many reports were opened before and are
-- open (-1 where this one is not), the marks of the time, and earlier ones of the same steps.
function ops.read_marks(since, report, ...)
  local number, others = call('ZSCORE', 'open', report), -1
  if number then others = call('ZCOUNT', 'open', '-inf', '(' .. number) end
  local found = { call('GET', 'marks_version') or '0', text(others) }
  for _, mark in ipairs(marks_since(since)) do found[#found + 1] = mark end
  for _, step in ipairs({ ... }) do
    local at = call('ZSCORE', 'marks_at', step)
    if at and tonumber(at) < tonumber(since) then found[#found + 1] = call('HGET', 'marks', step) end
  end
  return found
end

local function drop_mark(step)
  call('ZREM', 'marks_at', step)
  return call('HDEL', 'marks', step)
end

local function is_closed(report) return call('HEXISTS', 'closed', report) == 1 end

-- Takes marks (step, time, JSON each) for a report that is not closed, unless they have changed since they were
-- read.
function ops.take_marks(version, report, ...)
  if is_closed(report) then return { 'closed' } end
  if (call('GET', 'marks_version') or '0') ~= version then return { 'changed' } end
  local marks = { ... }
  for first = 1, #marks, 3 do
    local step, number = marks[first], next_number()
    if call('HSETNX', 'marks', step, text(number) .. ' ' .. marks[first + 2]) == 1 then
      call('ZADD', 'marks_at', marks[first + 1], step)
      call('ZADD', 'marks_order', number, step)
    end
  end
  trim('marks_order', MARKS_KEPT, 'mark', drop_mark)
  call('INCR', 'marks_version')
  return { 'taken' }
end

-- Whether a report's step, whose name begins with `place`, began and may have had an effect.
local function may_have_acted(report, place)
  for _, step in ipairs(call('LRANGE', 'steps_of:' .. report, 0, -1)) do
    if string.sub(step, 1, #place) == place then
      local state = cjson.decode(call('HGET', 'step_state', step))
      local harmless = state.state == 'started' or state['end'] == 'not_run' or state['end'] == 'already_done'
      if not harmless then return true end
    end
  end
  return false
end

local function lock_of(name) return 'lock:' .. name end

-- The lock, where it still carries this token.
local function own(name, token)
  local held = call('GET', lock_of(name))
  return held and string.sub(held, 1, #token + 1) == token .. ' '
end

function ops.give_back(name, token, step, report, place)
  if not own(name, token) or is_closed(report) or may_have_acted(report, place) then return { 'no' } end
  if drop_mark(step) == 0 then return { 'no' } end
  call('ZREM', 'marks_order', step)
  call('INCR', 'marks_version')
  return { 'yes' }
end

-- Reports.

-- Keeps of a closed report's ended steps only what `begin` needs.
local function shrink(report)
  local steps = 'steps_of:' .. report
  for _, step in ipairs(call('LRANGE', steps, 0, -1)) do
    if call('SISMEMBER', 'unfinished', step) == 0 then
      call('HSET', 'past', step, call('HGET', 'step_at', step) .. ' ' .. call('HGET', 'step_state', step))
      call('ZADD', 'past_order', next_number(), step)
      for _, name in ipairs({ 'step', 'step_at', 'step_state', 'step_token', 'step_report' }) do
        call('HDEL', name, step)
      end
      call('LREM', steps, 1, step)
    end
  end
  trim('past_order', PAST_KEPT, 'step', function(old) call('HDEL', 'past', old) end)
end

local function forget_approval(id)
  local place = call('HGET', 'approval_place', id)
  if place and call('HGET', 'waiting', place) == id then call('HDEL', 'waiting', place) end
  for _, name in ipairs({ 'approval', 'approval_place', 'approval_state', 'approval_told', 'approval_reminded' }) do
    call('HDEL', name, id)
  end
end

local function forget_untold(report)
  call('HDEL', 'untold', report)
  call('HDEL', 'untold_answer', report)
end

-- An answer that is no news comes without its text.
local function close(report, record, response, disposition)
  if response ~= '' then
    call('HSET', 'untold', report, record)
    call('HSET', 'untold_answer', report, response)
    call('ZADD', 'untold_order', next_number(), report)
    trim('untold_order', UNTOLD_KEPT, 'untold', forget_untold)
  end
  call('HDEL', 'report', report)
  call('ZREM', 'open', report)
  call('HSET', 'closed', report, disposition)
  call('ZADD', 'closed_order', next_number(), report)
  shrink(report)
  local approvals = 'approvals_of:' .. report
  for _, id in ipairs(call('HVALS', approvals)) do call('ZADD', 'approvals_order', next_number(), id) end
  call('DEL', approvals)
  trim('approvals_order', SETTLED_KEPT, 'approval', forget_approval)
  trim('closed_order', PAST_KEPT, 'report', function(old) call('HDEL', 'closed', old) end)
end

function ops.open_report(report, record, response, disposition)
  local closed = call('HGET', 'closed', report)
  if closed then return { 'closed', closed } end
  if call('HEXISTS', 'report', report) == 1 then return { 'open' } end
  if disposition ~= '' then
    close(report, record, response, disposition)
    return { 'new' }
  end
  if call('ZCARD', 'open') >= OPEN_MAX then return { 'full' } end
  call('HSET', 'report', report, record)
  call('ZADD', 'open', next_number(), report)
  return { 'new' }
end

function ops.close_report(report, response, disposition)
  local record = call('HGET', 'report', report)
  if record then
    close(report, record, response, disposition)
    return { 'now' }
  end
  if is_closed(report) then return { 'before' } end
  return { 'unknown' }
end

function ops.open_reports() return values('report', call('ZRANGE', 'open', 0, -1)) end

function ops.open_report_of(report) return { call('HGET', 'report', report) } end

-- Each with its answer.
function ops.untold()
  local found = {}
  for _, report in ipairs(call('ZRANGE', 'untold_order', 0, -1)) do
    for _, name in ipairs({ 'untold', 'untold_answer' }) do
      found[#found + 1] = call('HGET', name, report)
    end
  end
  return found
end

function ops.note_told(report)
  call('ZREM', 'untold_order', report)
  forget_untold(report)
  return {}
end

-- Locks.

-- Begins at the server's time in microseconds, so that tokens do not go back when the server loses everything.
local function tokens()
  local last = call('GET', 'tokens')
  if last then return tonumber(last) end
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000000 + tonumber(now[2])
end

local function next_token()
  local token = text(tokens() + 1)
  call('SET', 'tokens', token)
  return token
end

-- Grants no token that a step has seen.
local function skip_to(token)
  if tonumber(token) > tokens() then call('SET', 'tokens', token) end
end

local function milliseconds()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

function ops.acquire(name, ttl, holder)
  local held = call('GET', lock_of(name))
  if held then return { 'held', held, text(call('PTTL', lock_of(name))) } end
  local token, now = next_token(), milliseconds()
  call('SET', lock_of(name), token .. ' ' .. holder, 'PX', ttl)
  call('ZREMRANGEBYSCORE', 'locks', '-inf', now)
  call('ZADD', 'locks', now + tonumber(ttl), name)
  return { 'granted', token }
end

function ops.renew(name, token, ttl, holder)
  if not own(name, token) then return { 'lost' } end
  if tonumber(ttl) <= call('PTTL', lock_of(name)) then return { 'longer' } end
  call('SET', lock_of(name), token .. ' ' .. holder, 'PX', ttl)
  call('ZADD', 'locks', milliseconds() + tonumber(ttl), name)
  return { 'renewed' }
end

local function drop_lock(name)
  call('DEL', lock_of(name))
  call('ZREM', 'locks', name)
end

function ops.release(name, token)
  if not own(name, token) then return { 'no' } end
  drop_lock(name)
  return { 'yes' }
end

function ops.force_release(name)
  local held = call('GET', lock_of(name))
  drop_lock(name)
  return { held }
end

function ops.leases()
  local found = {}
  for _, name in ipairs(call('ZRANGE', 'locks', 0, -1)) do
    local held = call('GET', lock_of(name))
    if held then
      found[#found + 1] = name
      found[#found + 1] = held
      found[#found + 1] = text(call('PTTL', lock_of(name)))
    end
  end
  return found
end

-- The journal.

function ops.begin(step, report, at, entry, state, token)
  local past = call('HGET', 'past', step)
  if past then return { 'past', past } end
  local known = call('HGET', 'step_at', step)
  if known then return { 'known', known, call('HGET', 'step_state', step) } end
  if is_closed(report) then return { 'closed' } end
  call('HSET', 'step', step, entry)
  call('HSET', 'step_at', step, at)
  call('HSET', 'step_state', step, state)
  call('HSET', 'step_token', step, token)
  call('HSET', 'step_report', step, report)
  call('RPUSH', 'steps_of:' .. report, step)
  call('SADD', 'unfinished', step)
  skip_to(token)
  return { 'new' }
end

function ops.advance(step, token, state, ended)
  local newest = call('HGET', 'step_token', step)
  if not newest then
    if call('HEXISTS', 'past', step) == 1 then return { 'ended' } end
    return { 'unknown' }
  end
  if tonumber(token) < tonumber(newest) then return { 'fenced', newest } end
  if call('SISMEMBER', 'unfinished', step) == 0 then return { 'ended' } end
  call('HSET', 'step_state', step, state)
  call('HSET', 'step_token', step, token)
  skip_to(token)
  if ended == '1' then
    call('SREM', 'unfinished', step)
    local report = call('HGET', 'step_report', step)
    if is_closed(report) then shrink(report) end
  end
  return { 'done' }
end

local function entries(steps)
  local found = {}
  for _, step in ipairs(steps) do
    found[#found + 1] = step
    for _, name in ipairs({ 'step', 'step_state', 'step_token' }) do
      found[#found + 1] = call('HGET', name, step)
    end
  end
  return found
end

function ops.take_over(step, token)
  local newest = call('HGET', 'step_token', step)
  if not newest then return { 'past' } end
  if tonumber(token) < tonumber(newest) then return { 'fenced', newest } end
  if tonumber(token) > tonumber(newest) then
    call('HSET', 'step_token', step, token)
    skip_to(token)
  end
  local found = entries({ step })
  table.insert(found, 1, 'taken')
  return found
end

function ops.unfinished() return entries(call('SMEMBERS', 'unfinished')) end

function ops.steps_of(report) return entries(call('LRANGE', 'steps_of:' .. report, 0, -1)) end

-- Approvals.

-- As it was asked for, what became of it, when people were told of it and reminded.
local function add_approval(found, id)
  found[#found + 1] = id
  for _, name in ipairs({ 'approval', 'approval_state', 'approval_told', 'approval_reminded' }) do
    found[#found + 1] = call('HGET', name, id)
  end
  return found
end

function ops.open_approval(id, report, index, place, approval)
  local known = call('HGET', 'approvals_of:' .. report, index)
  if known then return add_approval({ 'known' }, known) end
  if is_closed(report) then return { 'closed' } end
  local other = call('HGET', 'waiting', place)
  if other then return add_approval({ 'occupied' }, other) end
  call('HSET', 'approval', id, approval)
  call('HSET', 'approval_place', id, place)
  call('HSET', 'approvals_of:' .. report, index, id)
  call('HSET', 'waiting', place, id)
  return { 'new' }
end

function ops.settle_approval(id, state)
  if call('HEXISTS', 'approval', id) == 0 then return { 'unknown' } end
  local first = call('HSETNX', 'approval_state', id, state) == 1
  if first then call('HDEL', 'waiting', call('HGET', 'approval_place', id)) end
  return add_approval({ first and 'now' or 'before' }, id)
end

function ops.note_asked(id, at)
  if call('HEXISTS', 'approval', id) == 1 then call('HSETNX', 'approval_told', id, at) end
  return {}
end

function ops.note_reminder(id, at)
  local waits = call('HEXISTS', 'approval', id) == 1 and call('HEXISTS', 'approval_state', id) == 0
  local first = waits and call('HSETNX', 'approval_reminded', id, at) == 1
  return { first and 'yes' or 'no' }
end

function ops.approval(id)
  if call('HEXISTS', 'approval', id) == 0 then return {} end
  return add_approval({}, id)
end

local function approvals(ids)
  local found = {}
  for _, id in ipairs(ids) do add_approval(found, id) end
  return found
end

function ops.approvals_of(report) return approvals(call('HVALS', 'approvals_of:' .. report)) end

function ops.pending_approvals() return approvals(call('HVALS', 'waiting')) end

local answer = ops[ARGV[1]](unpack(ARGV, 2))
table.insert(answer, 1, table.concat(gone, ' '))
return answer
