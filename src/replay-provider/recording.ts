/** One recorded HTTP exchange. Bodies are as they were on the wire, content encoding undone. */
export interface Recording {
  readonly id: string;
  readonly method: string;
  /** With its query, without a fragment. */
  readonly path: string;
  /** A parsed JSON body, or the text of any other; `""` or absent where there was none. */
  readonly requestBody: unknown;
  readonly status: number;
  readonly responseHeaders: Readonly<Record<string, string>>;
  readonly responseBody: string;
  readonly stream: boolean;
  /** As the provider gave it, in its own shape. */
  readonly usage: unknown;
}

/**
 * Reads recordings, one JSON object a line, in the shape that recorders write: `id, method, url_path, request_body, status, response_headers,
 * response_body, stream, usage`, and more that is not looked at. Throws an `Error` that names the line for one that is none.
 */
export function parseRecordings(jsonLines: string): readonly Recording[] {
  return jsonLines
    .split("\n")
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => line.trim() !== "")
    .map(({ line, number }) => parseRow(line, number));
}

function parseRow(line: string, number: number): Recording {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (cause) {
    throw new Error(`recordings, line ${number}: not JSON`, { cause });
  }
  if (!isObject(row)) throw new Error(`recordings, line ${number}: not an object`);
  const { id, method, url_path: path, status, response_body: responseBody } = row;
  if (
    typeof id !== "string" ||
    typeof method !== "string" ||
    typeof path !== "string" ||
    typeof status !== "number" ||
    typeof responseBody !== "string"
  )
    throw new Error(
      `recordings, line ${number}: id, method, url_path and response_body must be strings, status a number`,
    );
  return {
    id,
    method,
    path: path.split("#")[0]!,
    requestBody: row.request_body,
    status,
    responseHeaders: stringsOf(row.response_headers),
    responseBody,
    stream: row.stream === true,
    usage: row.usage,
  };
}

function stringsOf(headers: unknown): Readonly<Record<string, string>> {
  if (!isObject(headers)) return {};
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}

/** Narrows parsed JSON to an object, arrays left out. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
