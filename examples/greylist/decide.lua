-- Decides about one triplet, in one step, so that filters that ask at the same time get answers that fit together.
--
-- KEYS[1]  the triplet
-- ARGV     now, delay, retry window, lifetime: milliseconds; the caller's clock, so that all filters' lists can be tested
--          and moved without Redis's
-- returns  a verdict, and how many milliseconds to wait
--
-- The value is "first passed": when the triplet came first, and when it passed last, 0 if it never did. Keys expire when
-- they say no more; what is decided here does not depend on it.
local now, delay, window, lifetime = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local first, passed = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
local since = first and now - tonumber(first)

if first and passed ~= '0' then
	if now - tonumber(passed) < lifetime then
		redis.call('SET', KEYS[1], first .. ' ' .. ARGV[1], 'PX', ARGV[4])
		return {'known', 0}
	end
elseif first and since < window then
	if since < delay then
		return {'early', math.min(delay - since, delay)} -- a clock that is behind adds nothing
	end
	redis.call('SET', KEYS[1], first .. ' ' .. ARGV[1], 'PX', ARGV[4])
	return {'retried', 0}
end

redis.call('SET', KEYS[1], ARGV[1] .. ' 0', 'PX', ARGV[3])
return {'first_seen', delay}
