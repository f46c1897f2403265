// Checks signatures by the runtime's Ed25519, called as the edge calls it. Takes a JSON array of
// `[key, message, signature]`, each an array of bytes; answers an array of booleans.
export default {
  async fetch(request) {
    const said = [];
    for (const parts of await request.json()) {
      const [raw, message, signature] = parts.map((bytes) => Uint8Array.from(bytes));
      const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
      said.push(await crypto.subtle.verify("Ed25519", key, signature, message));
    }
    return Response.json(said);
  },
};
