-- The sum of the digests of the names on one page of a scan: equal sums mean the same names, whatever their order.
-- ARGV: cursor, COUNT, salt. Answer: the next cursor, how many names, and two sums modulo 2^48.
local page = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local low, high, modulus = 0, 0, 281474976710656
for _, name in ipairs(page[2]) do
  local digest = redis.sha1hex(ARGV[3] .. name)
  low = (low + tonumber(string.sub(digest, 1, 12), 16)) % modulus
  high = (high + tonumber(string.sub(digest, 13, 24), 16)) % modulus
end
return { page[1], #page[2], string.format('%.0f', low), string.format('%.0f', high) }
