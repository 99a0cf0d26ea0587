import { Buffer } from "node:buffer";
import {
  bandOf,
  type PermitRequest,
  PRIORITIES,
  type RoomBounds,
  type Turned,
} from "../../core/fairness/permit.ts";
import { neverFits } from "../../core/limits/combine.ts";
import type { LimitSpec } from "../../core/limits/limit-spec.ts";
import type { ReservationId } from "../../ports/limit-store.ts";
import type {
  FreedRequest,
  PermitCall,
  PermitDecision,
  WaitingCall,
  WaitingOfFlow,
} from "../../ports/permit-queue.ts";
import { decodeReply, type EncodedCall } from "./request-codec.ts";

/** A request to `room.lua`: a letter, and what follows it. */
export interface RoomRequest {
  readonly letter: "e" | "f" | "l" | "p" | "v";
  readonly args: readonly (string | Buffer)[];
}

/** The bands of the script count from 1. */
const bandInScript = (priority: PermitRequest["priority"]) => String(bandOf(priority) + 1);

function doubles(numbers: readonly number[]): Buffer {
  return Buffer.from(Float64Array.from(numbers).buffer);
}

/** `encoded` is the call for the limits; its subjects' keys in Redis are the first of its keys. */
export function encodeEnter(call: PermitCall, bounds: RoomBounds, encoded: EncodedCall): RoomRequest {
  const { subjects, isShared } = call;
  let contest = "";
  let own = "";
  for (let i = 0; i < subjects.length; i++) {
    let ids = "";
    for (const { spec } of subjects[i].charges) ids += `,${spec.id}`;
    if (isShared[i]) contest += `\n${encoded.keys[i]}\t${ids}`;
    else own += `\r${encoded.keys[i]}\t${ids}`;
  }
  return {
    letter: "e",
    args: [encodeCall(call, encoded), encodeBounds(bounds, neverFits(subjects)), contest, own],
  };
}

/** The id, the numbers for the limits and for the room, then flow and keys, each behind its length. */
function encodeCall(call: PermitCall, { request, keys }: EncodedCall): Buffer {
  const { isShared, flow, priority, weight, size, bytes, maxWaitMs } = call;
  const numbers = [...isShared.map(Number), bandOf(priority) + 1, weight, size, bytes, maxWaitMs];
  const strings = [flow, ...keys];
  let length = request.length + COUNT_BYTES + 8 * numbers.length;
  for (const text of strings) length += STRING_LENGTH_BYTES + UTF8_BYTES_MAX * text.length;
  const all = Buffer.allocUnsafe(length);
  all.set(request.subarray(0, TICKET_BYTES));
  all.writeUInt16LE((request.length - TICKET_BYTES) / 8 + numbers.length, TICKET_BYTES);
  all.set(request.subarray(TICKET_BYTES), TICKET_BYTES + COUNT_BYTES);
  let at = request.length + COUNT_BYTES;
  for (const number of numbers) at = all.writeDoubleLE(number, at);
  for (const text of strings) {
    const written = all.write(text, at + STRING_LENGTH_BYTES);
    all.writeUInt32LE(written, at);
    at += STRING_LENGTH_BYTES + written;
  }
  return all.subarray(0, at);
}

/** How many numbers there are. */
const COUNT_BYTES = 2;
const STRING_LENGTH_BYTES = 4;
/** Of one unit of a string's length. */
const UTF8_BYTES_MAX = 3;

function encodeBounds(bounds: RoomBounds, neverFits: boolean): Buffer {
  const { waitingMax, waitingPerFlowMax, bytesMax, bytesPerFlowMax, minShares } = bounds;
  return doubles([
    waitingMax,
    waitingPerFlowMax,
    bytesMax,
    bytesPerFlowMax,
    ...PRIORITIES.map((_, band) => minShares[band] ?? 0),
    neverFits ? 1 : 0,
  ]);
}

/** For how long a call was open, where nobody knows. */
const OPEN_UNKNOWN = -1;

export function encodeFreed({ openMs, served }: FreedRequest, subjectKeys: readonly string[]): RoomRequest {
  const band = served === undefined ? 0 : bandOf(served.priority) + 1;
  return {
    letter: "f",
    args: [
      doubles([openMs ?? OPEN_UNKNOWN, band, served?.correction ?? 0]),
      served?.flow ?? "",
      ...subjectKeys,
    ],
  };
}

/** `tellsWait`: whether when it would have been served is wanted, which costs as much as there are calls in front of it. */
export function encodeLeave(id: ReservationId, tellsWait: boolean): RoomRequest {
  return { letter: "l", args: [tellsWait ? "1" : "0", ticketName(id)] };
}

/** When the call would have been served, 0 where that was not asked; undefined where it does not wait. */
export function decodeLeft(reply: unknown): number | undefined {
  const leftMs = Number(reply);
  return leftMs < 0 ? undefined : leftMs;
}

/** `max`: so many calls are looked at. */
export function encodeView(flow: string, priority: PermitRequest["priority"], max: number): RoomRequest {
  return { letter: "v", args: [bandInScript(priority), flow, String(max)] };
}

/** A ticket's name in the script. */
export function ticketName({ instance, sequence }: ReservationId): Buffer {
  const name = Buffer.alloc(TICKET_BYTES);
  name.writeUIntLE(instance, 0, 6);
  name.writeUIntLE(sequence, 6, 6);
  return name;
}

const TICKET_BYTES = 12;

/** A grant: whose, and the reply of its reserve. */
export interface PublishedGrant {
  readonly id: ReservationId;
  readonly reply: Buffer;
}

/** Those of one run of the script. */
export interface PublishedGrants {
  /** Of the room that granted them. */
  readonly generation: number;
  readonly grants: readonly PublishedGrant[];
}

export function decodeGrants(message: Buffer): PublishedGrants {
  const grants: PublishedGrant[] = [];
  for (let at = GENERATION_BYTES; at < message.length; ) {
    const id = { instance: message.readUIntLE(at, 6), sequence: message.readUIntLE(at + 6, 6) };
    const from = at + TICKET_BYTES + REPLY_LENGTH_BYTES;
    at = from + message.readUInt32LE(at + TICKET_BYTES);
    grants.push({ id, reply: message.subarray(from, at) });
  }
  return { generation: message.readDoubleLE(0), grants };
}

const GENERATION_BYTES = 8;
const REPLY_LENGTH_BYTES = 4;

export type EnterReply =
  | Exclude<PermitDecision, { readonly kind: "timed_out" }>
  /** `generation` is the room's: another one begins where it has lost everything. */
  | { readonly kind: "waiting"; readonly expectedMs: number; readonly generation: number };

const REASONS: readonly Turned[] = ["limited", "never_fits", "queue_full"];

export function decodeGranted(
  reply: Buffer,
  specs: readonly LimitSpec[],
  isCounted: boolean,
): Extract<PermitDecision, { readonly kind: "granted" }> {
  const outcome = decodeReply(reply, specs);
  if (outcome.kind !== "admitted") throw new TypeError(`a permit was granted with ${outcome.kind}`);
  return { kind: "granted", outcome, isCounted };
}

export function decodeEnterReply(
  reply: Buffer | readonly unknown[],
  specs: readonly LimitSpec[],
): EnterReply {
  if (Buffer.isBuffer(reply))
    return { kind: "waiting", expectedMs: reply.readDoubleLE(0), generation: reply.readDoubleLE(8) };
  switch (reply[0]) {
    case 0:
      return decodeGranted(reply[2] as Buffer, specs, reply[1] === 1);
    case 1: {
      const outcome = reply[3] as Buffer;
      return {
        kind: "refused",
        reason: REASONS[reply[1] as number],
        waitMs: Number(reply[2]),
        outcome: outcome.length === 0 ? undefined : decodeReply(outcome, specs),
      };
    }
    default:
      throw new TypeError(`the waiting room answered ${String(reply[0])}`);
  }
}

/** How many calls of this gateway wait, and the room's generation. */
export function decodePumped(reply: unknown): { readonly waiting: number; readonly generation: number } {
  const [waiting, generation] = reply as readonly unknown[];
  return { waiting: Number(waiting), generation: Number(generation) };
}

export function decodeView([total, ...reply]: readonly unknown[]): WaitingOfFlow {
  const calls: WaitingCall[] = [];
  for (let i = 0; i + 2 < reply.length; i += 3) {
    calls.push({
      waitedMs: Number(reply[i]),
      position: Number(reply[i + 1]),
      expectedMs: Number(reply[i + 2]),
    });
  }
  return { total: Number(total), first: calls };
}
