import { isObject } from "./recording.ts";

/** A JSON text that is the same for equal values: keys sorted, no white space. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value ?? null);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`);
  return `{${members.join(",")}}`;
}

/** The body without `stream_options.include_usage`, which a gateway adds to learn the usage, and without the object that then is empty. */
export function withoutIncludeUsage(body: unknown): unknown {
  if (!isObject(body)) return body;
  const { stream_options: streamOptions, ...rest } = body;
  if (!isObject(streamOptions)) return body;
  const { include_usage: _, ...others } = streamOptions;
  return Object.keys(others).length === 0 ? rest : { ...rest, stream_options: others };
}

/** Whether a streamed OpenAI call wants its usage. */
export function asksForUsage(body: unknown): boolean {
  return (
    isObject(body) &&
    body.stream === true &&
    isObject(body.stream_options) &&
    body.stream_options.include_usage === true
  );
}
