// More for V8 to count, so that it collects sooner.
//
// V8 frees what the runtime keeps of past requests in one pause, once some 40 MB have grown in its heap, where a
// request leaves 2 KiB, a part of what it holds: by then 20,000 requests have gathered, and the pause takes 150 ms.
// With ballast it comes for a part of them, and takes as much less. That costs processor time, some 1 ms for each
// ballast, so who has none to spare gets little of it, and who is asked seldom gets none: there a pause is met by few.

// 1 MiB.
const BITS = 8n * 1024n * 1024n;
// One request in so many carries it where there is time to spare, and where there is none.
const AT_LEISURE = 24;
const IN_A_CROWD = 256;
// There is time to spare while fewer than so many others, on average, are being read when a request comes.
const CROWD = 4;
// How many requests that average goes back, more or less.
const LOOKS_BACK = 64;
// Requests in a millisecond below which far fewer than one in a hundred meet a pause.
const OFTEN = 0.5;

let crowd = 0;
let left = 0;
let every = AT_LEISURE;
let began = 0;

// Has a request carry ballast, if it is its turn, given how many others are being read and the time in
// milliseconds. It has to be the request, for the ballast shall live as long as what that holds; and a number, which V8
// neither copies nor looks into.
export function weigh(request, others, now) {
  crowd += (others - crowd) / LOOKS_BACK;
  if (--left > 0) return;
  if (every > OFTEN * (now - began)) request.ballast = 1n << BITS;
  every = crowd < CROWD ? AT_LEISURE : IN_A_CROWD;
  left = every;
  began = now;
}
