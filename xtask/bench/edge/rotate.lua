-- wrk script: posts the bodies of a file, one a line, in turn. Arguments: the file, the path, and if
-- wanted the mean pause of a connection between two requests in ms (0 for none), and `bearer` to
-- send each body's token as a header too.
-- Prints one line for the program that runs it: requests, duration in µs, p50 and p99 in µs,
-- answers that were not 2xx, and connection errors.
function init(args)
  requests = {}
  local pause = tonumber(args[3] or "0")
  for line in io.lines(args[1]) do
    local headers = { ["Content-Type"] = "application/json" }
    if args[4] == "bearer" then
      headers["Authorization"] = "Bearer " .. line:match('"token":"([^"]*)"')
    end
    requests[#requests + 1] = wrk.format("POST", args[2], headers, line)
  end
  position = 0
  if pause > 0 then
    -- Pauses of random length, as of clients that know nothing of one another.
    delay = function()
      return math.floor(-math.log(1 - math.random()) * pause + 0.5)
    end
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    "RESULT %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
