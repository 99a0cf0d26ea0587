import type { IncomingMessage, ServerResponse } from "node:http";
import { ENFORCED_METERS, type EnforcedLimit } from "./enforced-limits.ts";
import { readBody } from "./read-body.ts";
import { isObject, type Recording } from "./recording.ts";
import type { RequestLog } from "./request-log.ts";
import { type SwitchBoard, switchesOfJson, switchesToJson } from "./switches.ts";

export interface Controlled {
  readonly recordings: readonly Recording[];
  readonly log: RequestLog;
  readonly switches: SwitchBoard;
  setLimits(limits: readonly EnforcedLimit[]): void;
}

/** `/replay/…`: looks at a running provider and turns its switches. Answers JSON; 400 says what is wrong. Rejects when the connection breaks. */
export async function answerControl(
  request: IncomingMessage,
  response: ServerResponse,
  controlled: Controlled,
): Promise<void> {
  const { body } = await readBody(request);
  let status = 200;
  let answer: unknown;
  try {
    answer = control(`${request.method} ${request.url}`, body, controlled);
    if (answer === undefined) {
      status = 404;
      answer = {
        error:
          "there are: GET|PUT|DELETE /replay/switches, GET /replay/stats, GET /replay/recordings, PUT /replay/limits",
      };
    }
  } catch (error) {
    status = 400;
    answer = { error: error instanceof Error ? error.message : "not understood" };
  }
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(answer)}\n`);
}

function control(what: string, body: Buffer, { recordings, log, switches, setLimits }: Controlled): unknown {
  switch (what) {
    case "PUT /replay/switches":
      switches.set(switchesOfJson(JSON.parse(body.toString())));
      return switchesToJson(switches.current);
    case "DELETE /replay/switches":
      switches.reset();
      return {};
    case "GET /replay/switches":
      return switchesToJson(switches.current);
    case "PUT /replay/limits":
      setLimits(limitsOfJson(JSON.parse(body.toString())));
      return {};
    case "GET /replay/stats":
      return snakeCased({ ...log.stats });
    case "GET /replay/recordings":
      return recordings.map(({ id, method, path, status, stream }) => ({ id, method, path, status, stream }));
    default:
      return undefined;
  }
}

/** Reads `[{"meter", "limit", "window_ms", "charge"?}]`. Throws an `Error` that says what is wrong. */
export function limitsOfJson(value: unknown): readonly EnforcedLimit[] {
  if (!Array.isArray(value)) throw new Error("limits must be a JSON array");
  return value.map((item: unknown) => {
    if (!isObject(item)) throw new Error('a limit must be {"meter", "limit", "window_ms"}');
    const { meter, limit, window_ms: windowMs, charge } = item;
    const known = ENFORCED_METERS.find((name) => name === meter);
    if (known === undefined || typeof limit !== "number" || typeof windowMs !== "number")
      throw new Error(
        `a limit must be {"meter": one of ${ENFORCED_METERS.join(", ")}, "limit": number, "window_ms": number}`,
      );
    if (charge === undefined) return { meter: known, limit, windowMs };
    if (charge !== "shown" && charge !== "documented" && charge !== "actual")
      throw new Error('a limit\'s charge must be "shown", "documented" or "actual"');
    return { meter: known, limit, windowMs, charge };
  });
}

function snakeCased(record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [
      name.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`),
      value,
    ]),
  );
}
