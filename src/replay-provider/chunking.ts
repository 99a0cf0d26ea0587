import { Seed } from "./synthetic-text.ts";

/** Sizes that cut in the middle of events, names and characters, without making thousands of writes. */
const RANDOM_CHUNK_BYTES_MAX = 200;

export type ChunkSize = number | "event" | "random";

/** Cuts a body into chunks; together they are the body. `event`: after each blank line. */
export function chunksOf(body: Buffer, size: ChunkSize | undefined, seed = 1): readonly Buffer[] {
  if (size === undefined || body.length === 0) return [body];
  if (size === "event") return eventsOf(body);
  const random = new Seed((seed >>> 0).toString(16).padStart(8, "0"));
  const chunks: Buffer[] = [];
  for (let from = 0; from < body.length; ) {
    const length = size === "random" ? 1 + random.below(RANDOM_CHUNK_BYTES_MAX) : size;
    chunks.push(body.subarray(from, from + length));
    from += length;
  }
  return chunks;
}

/** The server-sent events of a stream, each with the blank line that ends it. */
export function eventsOf(body: Buffer): readonly Buffer[] {
  const chunks: Buffer[] = [];
  let from = 0;
  while (from < body.length) {
    const end = endOfEvent(body, from);
    chunks.push(body.subarray(from, end));
    from = end;
  }
  return chunks;
}

function endOfEvent(body: Buffer, from: number): number {
  const ends = ["\n\n", "\r\n\r\n"].flatMap((blank) => {
    const at = body.indexOf(blank, from);
    return at < 0 ? [] : [at + blank.length];
  });
  return ends.length === 0 ? body.length : Math.min(...ends);
}
