// What was answered from memory, by the text of the body that asked: who sends the same again needn't be read
// again. Wasm keeps what was asked under a ticket, and decides anew each time; here is the part of the answer
// that stays as it is.
//
// Two generations, as in `generations.rs`: what is used moves to the young one; once that is half the budget, it
// becomes the old one, and the former old one is dropped.

const HALF_BUDGET_BYTES = 2.5 * 1024 * 1024;
// What one takes besides its texts.
const ENTRY_BYTES = 128;
// The first of a verdict's members that differ each time.
const CHANGING = '"freshness":{';

let young = new Map();
let old = new Map();
let youngBytes = 0;

// What was answered to this body, of so many bytes as it was sent; none where that is not known.
export function recall(body, length) {
  let answered = young.get(body);
  if (answered === undefined) {
    answered = old.get(body);
    if (answered === undefined) return;
    old.delete(body);
    admit(body, answered);
  }
  // Else the runtime replaced something that is no UTF-8, where the other had what it puts in its place.
  if (answered.length === length) return answered;
}

// Keeps what was answered under this ticket to a body.
export function remember(body, length, ticket, answer) {
  old.delete(body);
  admit(body, { ticket, length, start: answer.slice(0, answer.lastIndexOf(CHANGING)) });
}

function admit(body, answered) {
  // A text that is not Latin-1 takes twice its length.
  const bodyBytes = body.length === answered.length ? body.length : 2 * body.length;
  const bytes = bodyBytes + 2 * answered.start.length + ENTRY_BYTES;
  if (youngBytes + bytes > HALF_BUDGET_BYTES) {
    old = young;
    young = new Map();
    youngBytes = 0;
  }
  youngBytes += bytes;
  young.set(body, answered);
}
