-- The sum of the digests of the names on one page of a scan: equal sums mean the same names, whatever their order.
-- longhaul's own keys (copy/filter.h) do not count. ARGV: cursor, COUNT, salt. Answer: the next cursor, how many names, and two sums modulo 2^48.
local page = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local count, low, high, modulus = 0, 0, 0, 281474976710656
local own = { 'probe:', 'doctor:', 'tmp:{.*}$', '{.*}:state$', '{.*}:lease$', '{.*}:epoch$', '{.*}:order$' }
local function is_own(name)
  if string.sub(name, 1, 9) ~= 'longhaul:' then return false end
  for _, pattern in ipairs(own) do
    if string.find(name, '^longhaul:' .. pattern) then return true end
  end
  return false
end
for _, name in ipairs(page[2]) do
  if not is_own(name) then
    local digest = redis.sha1hex(ARGV[3] .. name)
    count = count + 1
    low = (low + tonumber(string.sub(digest, 1, 12), 16)) % modulus
    high = (high + tonumber(string.sub(digest, 13, 24), 16)) % modulus
  end
end
return { page[1], count, string.format('%.0f', low), string.format('%.0f', high) }
