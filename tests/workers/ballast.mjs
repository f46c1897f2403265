// How many requests carry ballast where they come in three ways: seldom, often, and often with many others being
// read. Imports what argv[2] names and prints the counts as JSON.
const { weigh } = await import(process.argv[2]);

const LEISURELY = 2;
const CROWDED = 9;
let now = 1_800_000_000_000;

// Of so many requests, one each `pause` milliseconds.
function carrying(requests, others, pause) {
  let count = 0;
  for (let number = 0; number < requests; number++) {
    now += pause;
    const request = {};
    weigh(request, others, now);
    if ("ballast" in request) count++;
  }
  return count;
}

const counts = {
  seldom: carrying(5_000, 0, 10),
  often: carrying(5_000, LEISURELY, 0.25),
  crowded: carrying(5_000, CROWDED, 0.25),
  again: carrying(5_000, LEISURELY, 0.25),
};
console.log(JSON.stringify(counts));
