-- wrk script: posts the bodies of a file, one a line, in turn. Arguments: the file and the path.
-- Prints one line for the program that runs it: requests, duration in µs, p50 and p99 in µs,
-- answers that were not 2xx, and connection errors.
function init(args)
  requests = {}
  local headers = { ["Content-Type"] = "application/json" }
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", args[2], headers, line)
  end
  position = 0
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
