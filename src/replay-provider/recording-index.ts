import { createHash } from "node:crypto";
import { asksForUsage, canonicalJson, withoutIncludeUsage } from "./canonical-json.ts";
import type { Recording } from "./recording.ts";

/** Finds the recording that answers a request. */
export class RecordingIndex {
  readonly size: number;
  readonly #byId = new Map<string, Recording>();
  readonly #byRequest = new Map<string, Recording[]>();
  /** Where no recording has the path, the body need not be looked at. */
  readonly #paths = new Set<string>();

  constructor(recordings: readonly Recording[]) {
    this.size = recordings.length;
    for (const recording of recordings) {
      const { id, method, path, requestBody } = recording;
      this.#byId.set(id, recording);
      this.#paths.add(`${method} ${path}`);
      const key = requestKey(method, path, requestBody);
      const same = this.#byRequest.get(key);
      if (same === undefined) this.#byRequest.set(key, [recording]);
      else same.push(recording);
    }
  }

  byId(id: string): Recording | undefined {
    return this.#byId.get(id);
  }

  /**
   * The recording with this method, path (with its query) and body, compared as JSON values; `include_usage` is not compared, but of several
   * the first that agrees on it is taken, then the first.
   */
  byRequest(method: string, path: string, body: unknown): Recording | undefined {
    if (!this.#paths.has(`${method} ${path}`)) return undefined;
    const found = this.#byRequest.get(requestKey(method, path, body));
    const wanted = asksForUsage(body);
    return found?.find(({ requestBody }) => asksForUsage(requestBody) === wanted) ?? found?.[0];
  }
}

function requestKey(method: string, path: string, body: unknown): string {
  // No body is recorded as null, as "" or not at all.
  const canonical = body === "" ? "null" : canonicalJson(withoutIncludeUsage(body));
  return createHash("sha1").update(`${method} ${path}\n${canonical}`).digest("base64");
}
