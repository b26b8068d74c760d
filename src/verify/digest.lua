-- One digest for many keys, made on their server: what compare --digest asks of both sides.
--
-- KEYS: the keys. ARGV: salt; step of expiry in ms; 1: an answer per key; 1: fields may expire; 1: expiry is left out;
-- and more keys, which need not be of one slot. Answer, five words:
--   1  digest of all values, or 32 characters per key
--   2  digest of all expiries, rounded down to COARSE steps; 3  the same, half of that later
--   4  numbers of the keys that were left out: those of many elements or large values, which would take long;
--      "57+" says that the script ended before the 57th key
--   5  a character per key, its expiry in steps modulo RING, "!" for none; empty where no key expires. In an answer per
--      key instead the expiries themselves, separated by commas
local salt, step, each, fields, endless = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4] == '1', ARGV[5] == '1'
local RING, COARSE, FIRST_CHARACTER = 92, 46, 35
local BYTES, MEMBERS, VALUE, ELEMENTS, PENDING = 131072, 250, 65536, 128, 128
local COUNT = { list = 'LLEN', set = 'SCARD', hash = 'HLEN', zset = 'ZCARD', stream = 'XLEN' }
local left_bytes, left_members = BYTES, MEMBERS
local function number(n) return string.format('%.0f', n) end
local function put(out, word)
  if type(word) == 'number' then word = number(word) end
  if type(word) ~= 'string' then word = '-' end
  out[#out + 1] = #word .. ':' .. word
end
local function put_all(out, words)
  put(out, #words)
  for _, word in ipairs(words) do
    if type(word) == 'table' then put_all(out, word) else put(out, word) end
  end
end
local function by_name(words)
  local named = {}
  for i = 1, #words, 2 do named[words[i]] = words[i + 1] end
  return named
end
local read = {}
function read.string(key, out)
  put(out, redis.call('GET', key))
end
function read.list(key, out) put_all(out, redis.call('LRANGE', key, 0, -1)) end
function read.set(key, out)
  local members = redis.call('SMEMBERS', key)
  table.sort(members)
  put_all(out, members)
end
function read.hash(key, out)
  local named = by_name(redis.call('HGETALL', key))
  local names, expiry = {}, {}
  for name in pairs(named) do names[#names + 1] = name end
  table.sort(names)
  if fields then expiry = redis.pcall('HPEXPIRETIME', key, 'FIELDS', #names, unpack(names)) end
  if expiry.err then return false end
  for i, name in ipairs(names) do
    put(out, name)
    put(out, named[name])
    put(out, expiry[i] or -1)
  end
end
function read.zset(key, out)
  local words = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #words, 2 do
    put(out, words[i])
    put(out, string.format('%.17g', tonumber(words[i + 1])))
  end
end
function read.stream(key, out)
  put_all(out, redis.call('XRANGE', key, '-', '+'))
  local info = by_name(redis.call('XINFO', 'STREAM', key))
  put(out, info['last-generated-id'])
  put(out, info['entries-added'])
  put(out, info['max-deleted-entry-id'])
  local groups = redis.call('XINFO', 'GROUPS', key)
  if #groups > ELEMENTS then return false end
  for _, words in ipairs(groups) do
    local group, consumers = by_name(words), {}
    put(out, group['name'])
    put(out, group['last-delivered-id'])
    put(out, group['entries-read'])
    if group['pending'] > PENDING or group['consumers'] > ELEMENTS then return false end
    for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', key, group['name'])) do
      consumers[#consumers + 1] = by_name(one)['name']
    end
    table.sort(consumers)
    put_all(out, consumers)
    for _, one in ipairs(redis.call('XPENDING', key, group['name'], '-', '+', PENDING)) do
      put(out, one[1])
      put(out, one[2])
      put(out, one[4])
    end
  end
end
-- 'large': left out; 'full': this script has done enough.
local function judge(kind, key)
  local size, members = 0, 1
  if kind == 'string' then
    size = redis.call('STRLEN', key)
  else
    members = redis.call(COUNT[kind], key)
    if members > ELEMENTS then return 'large' end
    size = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 0)
    if type(size) ~= 'number' then return 'large' end
  end
  if size > VALUE then return 'large' end
  left_bytes, left_members = left_bytes - size, left_members - members
  return (left_bytes < 0 or left_members < 0) and 'full'
end
local function server_ms()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end
-- Before 7.0 a server tells only the time left: exact when the clock shows the same millisecond before and after.
local function expiry_of(key)
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) == 'number' then return at end
  for _ = 1, 3 do
    local before = server_ms()
    local ms = redis.call('PTTL', key)
    if ms < 0 then return ms end
    at = before + ms
    if server_ms() == before then break end
  end
  return at
end
local sums, near, far, fine, expiries, left = {}, {}, {}, {}, {}, {}
local any_expires = false
local function add_expiry(at)
  if each then
    expiries[#expiries + 1] = number(at)
  elseif at < 0 then
    near[#near + 1], far[#far + 1], fine[#fine + 1] = '-', '-', '!'
  else
    any_expires = true
    near[#near + 1] = number(math.floor(at / step / COARSE))
    far[#far + 1] = number(math.floor(at / step / COARSE + 0.5))
    fine[#fine + 1] = string.char(FIRST_CHARACTER + math.floor(at / step) % RING)
  end
end
local keys = KEYS
if #keys == 0 then keys = { unpack(ARGV, 6) } end
for i, key in ipairs(keys) do
  local kind = redis.call('TYPE', key)['ok']
  local out = { salt, kind }
  local verdict = read[kind] and judge(kind, key)
  if verdict == 'full' and i > 1 then
    left[#left + 1] = i .. '+'
    break
  end
  if verdict ~= nil and verdict ~= 'large' and read[kind](key, out) ~= false then
    sums[#sums + 1] = string.sub(redis.sha1hex(table.concat(out, ' ')), 1, 32)
    add_expiry(endless and -1 or expiry_of(key))
  else
    left[#left + 1] = i
  end
end
left = table.concat(left, ',')
if each then return { table.concat(sums), '', '', left, table.concat(expiries, ',') } end
local function digest(list, length) return string.sub(redis.sha1hex(salt .. table.concat(list, ',')), 1, length) end
return { digest(sums, 32), digest(near, 16), digest(far, 16), left, any_expires and table.concat(fine) or '' }
