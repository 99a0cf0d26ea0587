import type { Listed } from "../core/open-list.ts";
import { formatUsd } from "../core/price/usd.ts";
import type { Reservation } from "../engine/held-reservation.ts";
import type {
  MeteredUsage,
  ParsedCall,
  ProviderFormat,
  RawHeaders,
  Refusal,
  UsageMeter,
} from "../ports/provider-format.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { downstreamHeaders } from "./headers.ts";
import { HeldAnswer } from "./held-answer.ts";
import type { CallController, ResponseHandler } from "./http-client/call.ts";
import type { ClientError } from "./http-client/client-error.ts";
import type { ClientResponse, ResponseListener } from "./http-server/client-call.ts";
import { providerFailure } from "./provider-failure.ts";
import { settlementOf } from "./settlement.ts";

/** What one exchange needs to know. */
export interface ExchangeOptions {
  readonly format: ProviderFormat;
  /** Absent where the call passes through unread. */
  readonly call: ParsedCall | undefined;
  readonly reservation: Reservation;
  /** Computed at admission: the caller's limits and ours. */
  readonly headers: RawHeaders;
  readonly requestId: string;
  readonly onDisconnect: "abort" | "drain";
  readonly disconnectDrainMsMax: number;
  readonly telemetry: Telemetry;
  /** The answer is compressed, though the provider was asked not to: what it uses cannot be read. */
  readonly onUnreadable: (encoding: string) => void;
  /** Called once when nothing more will happen: both sides are done and the call is settled. */
  readonly onDone: () => void;
}

const STATUS_ERROR_MIN = 400;
const STATUS_REDIRECT_MIN = 300;
/** Has no length (RFC 9110, section 8.6). */
const STATUS_NO_CONTENT = 204;
/** For the usage behind the last word of a stream, which the provider sends at once. */
const LAST_WORD_MS = 2_000;
const JSON_TYPE = /[/+]json\b/i;

/**
 * One answer on its way from the provider to the client: bytes pass through as they come, watched by a meter, and whatever way it ends, the
 * reservation is settled or released exactly once.
 *
 * waiting ─ head ─▶ relaying ─ end ─▶ done. From `waiting` and `relaying` the client may go: with `abort` the provider is told to
 * stop and the call is done, unless it has written all of its answer and only the usage is still to come; with `drain` it goes on to its end, for the
 * exact usage, without a reader. A provider that fails before the head is a 502; after it, a cut answer.
 *
 * The head of an answer that is no stream waits for the body, within bounds, where what the call costs is to stand in it.
 */
export class Exchange implements ResponseHandler, ResponseListener, Listed {
  place = -1;
  readonly #response: ClientResponse;
  readonly #options: ExchangeOptions;
  #controller: CallController | undefined;
  #meter: UsageMeter | undefined;
  /** The answer's bytes pass, and nobody knows what they say. */
  #isUnreadable = false;
  /** What the meter has said at the end. */
  #usage: MeteredUsage | undefined;
  #state: "waiting" | "relaying" | "done" = "waiting";
  #sent = false;
  #readerGone = false;
  /** The last piece of an answer, from `onData` to the `onEnd` that follows at once. */
  #last: Buffer | undefined;
  #drainTimer: NodeJS.Timeout | undefined;
  /** What waits to be sent with the cost. */
  #held: HeldAnswer | undefined;

  constructor(response: ClientResponse, options: ExchangeOptions) {
    this.#response = response;
    this.#options = options;
    response.listen(this);
  }

  /** The hand on the call that it answers. */
  attach(controller: CallController): void {
    this.#controller = controller;
  }

  onSent(): void {
    this.#sent = true;
  }

  onHead(status: number, raw: string[]): void {
    if (this.#state !== "waiting") return;
    this.#state = "relaying";
    const { call, format } = this.#options;
    const contentType = fieldOf(raw, "content-type");
    if (call !== undefined) this.#watch(call, status, contentType, fieldOf(raw, "content-encoding"));
    if (this.#readerGone) return;
    const head = downstreamHeaders(
      raw,
      format.hidesHeader,
      (call?.usageSpliced === true && status < STATUS_ERROR_MIN) || status === STATUS_NO_CONTENT,
    );
    for (const part of this.#options.headers) head.push(part);
    const isWhole = call?.stream === false && status < STATUS_REDIRECT_MIN && JSON_TYPE.test(contentType);
    if (isWhole && this.#options.reservation.isPriced) {
      this.#held = new HeldAnswer(status, head, () => this.#sendHeld());
      return;
    }
    this.#response.writeHead(status, head);
    // A stream's head must not wait for its first event.
    if (call?.stream === true) this.#response.flushHead();
  }

  #watch(call: ParsedCall, status: number, contentType: string, encoding: string): void {
    const isPlain = encoding === "" || encoding.toLowerCase() === "identity";
    if (isPlain) {
      this.#meter = this.#options.format.meter(call, status, contentType);
    } else if (status < STATUS_ERROR_MIN) {
      this.#isUnreadable = true;
      this.#options.onUnreadable(encoding);
    }
  }

  onData(chunk: Buffer, isLast: boolean): void {
    const bytes = this.#meter === undefined ? chunk : this.#meter.push(chunk);
    if (!isLast) this.#grow();
    if (this.#readerGone || bytes.length === 0) return;
    // With the end in one write.
    if (isLast) this.#last = bytes;
    else if (this.#held !== undefined) {
      if (!this.#held.keep(bytes)) this.#sendHeld();
    }
    // The provider waits for a slow reader (S3).
    else if (!this.#response.write(bytes)) this.#controller?.pause();
  }

  /** Sends what was held back; from then on the answer goes out as it comes. */
  #sendHeld(costNanoUsd?: number): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    if (this.#readerGone) return;
    const { status, head, pieces } = held.take();
    if (costNanoUsd !== undefined) head.push("x-sluice-cost-usd", formatUsd(costNanoUsd));
    this.#response.writeHead(status, head);
    if (pieces.length === 0 && costNanoUsd === undefined) this.#response.flushHead();
    for (const piece of pieces) {
      if (!this.#response.write(piece)) this.#controller?.pause();
    }
  }

  /** Known where the provider has said what was used. */
  #cost(): number | undefined {
    if (this.#held === undefined) return undefined;
    const metered = this.#metered();
    return metered?.kind === "reported" ? this.#options.reservation.costOf(metered.usage) : undefined;
  }

  /** What has been written so far may be more than is held for it. */
  #grow(): void {
    const emitted = this.#meter?.emittedTokens() ?? 0;
    if (emitted === 0) return;
    const { reservation, telemetry } = this.#options;
    reservation.grow(emitted, this.#meter)?.then(
      (refusal) => {
        if (refusal !== undefined) this.#cutShort(refusal);
      },
      (error: unknown) => telemetry.log("error", "a hold could not grow", { error: String(error) }),
    );
  }

  /** A limit is used up that wants the stream to end: with the provider's own error event, and no more to pay for. */
  #cutShort(refusal: Refusal): void {
    const { call, format, requestId, telemetry } = this.#options;
    if (this.#state !== "relaying" || call === undefined) return;
    telemetry.count("stream-cut", { by: "limit" });
    this.#sendHeld();
    this.#done(() => this.#settle(true));
    this.#controller?.abort();
    if (!this.#readerGone)
      this.#response.end(format.inStreamError(call, format.refusal(refusal, requestId).body));
  }

  onEnd(): void {
    if (this.#state === "done") return;
    const rest = this.#meter?.finish();
    this.#sendHeld(this.#cost());
    this.#done(() => this.#settle(false));
    if (rest === undefined || rest.length === 0) {
      this.#response.end(this.#last);
      return;
    }
    if (this.#last !== undefined) this.#response.write(this.#last);
    this.#response.end(rest);
  }

  onError(error: ClientError): void {
    if (this.#state === "done") return;
    const { format, requestId, telemetry } = this.#options;
    const hasHead = this.#state === "relaying";
    // A body that the client broke off or that is too large ends the call as a failure of the provider would.
    const failure = providerFailure(error);
    const by = failure.code === "provider_unavailable" ? "provider" : "client";
    telemetry.count(hasHead ? "stream-cut" : "call-failed", { by });
    if (error.code === "handler_failed") {
      telemetry.log("error", "an answer ended in an unexpected error", {
        requestId,
        error: String(error.cause),
      });
    }
    if (hasHead) {
      this.#sendHeld();
      this.#done(() => this.#settle(true));
      this.#response.destroy();
      return;
    }
    this.#done(() => this.#settleUnanswered(error));
    const answer = format.failure(failure, requestId);
    if (this.#readerGone) return;
    this.#response.writeHead(answer.status, [...answer.headers, ...this.#options.headers]);
    this.#response.end(answer.body);
  }

  /** Ends the exchange from outside: the gateway shuts down and can wait no longer. */
  abort(): void {
    if (this.#state === "done") return;
    this.#options.telemetry.count("stream-cut", { by: "gateway" });
    this.#done(() => this.#settle(true));
    this.#controller?.abort();
    this.#response.destroy();
  }

  /** The client has taken what there was. */
  onDrain(): void {
    this.#controller?.resume();
  }

  /** The client has gone. */
  onGone(): void {
    if (this.#state === "done") return;
    this.#options.telemetry.count("stream-cut", { by: "client" });
    this.#readerGone = true;
    const { onDisconnect, disconnectDrainMsMax } = this.#options;
    if (onDisconnect === "drain") this.#drain(disconnectDrainMsMax);
    // Nothing more is written, so nothing more is paid for: only what it was comes still. SDKs stop reading here.
    else if (this.#meter?.isEnding()) this.#drain(Math.min(LAST_WORD_MS, disconnectDrainMsMax));
    else this.#giveUp();
  }

  /** Reads on without a reader, to learn what the answer has used. */
  #drain(ms: number): void {
    this.#controller?.resume();
    this.#drainTimer = setTimeout(() => this.#giveUp(), ms).unref();
  }

  #giveUp(): void {
    if (this.#state === "done") return;
    this.#done(() => this.#settle(true));
    this.#controller?.abort();
  }

  #done(settle: () => Promise<void>): void {
    this.#state = "done";
    clearTimeout(this.#drainTimer);
    this.#held?.take();
    const { onDone, telemetry } = this.#options;
    settle().then(onDone, (error: unknown) => {
      telemetry.log("error", "a call could not be settled", { error: String(error) });
      onDone();
    });
  }

  #metered(): MeteredUsage | undefined {
    this.#usage ??= this.#meter?.metered();
    return this.#usage;
  }

  /**
   * A request that has gone out may have been counted by the provider, one that has not costs nothing. What takes too long for us, the provider has worked on, and is paid
   * for as what a client does not wait for.
   */
  #settleUnanswered({ code }: ClientError): Promise<void> {
    if (code === "answer_timeout") return this.#settle(true);
    const { reservation } = this.#options;
    return this.#sent ? reservation.settle(undefined) : reservation.release();
  }

  // `async`, so that whatever is thrown ends the exchange, too.
  async #settle(isCut: boolean): Promise<void> {
    const { reservation, call, telemetry } = this.#options;
    const metered = this.#metered();
    if (this.#isUnreadable || (metered?.kind === "counted" && !isCut)) telemetry.count("usage-missing");
    if (this.#meter?.inStreamError() !== undefined) telemetry.count("call-failed", { by: "provider" });
    const settlement = settlementOf({
      call,
      metered,
      isCut,
      isSent: this.#sent,
      isUnreadable: this.#isUnreadable,
    });
    return settlement.kind === "release"
      ? reservation.release()
      : reservation.settle(settlement.usage, settlement.source);
  }
}

/** The value of a field; empty where there is none. `name` in lower case. */
function fieldOf(raw: readonly string[], name: string): string {
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i].length === name.length && raw[i].toLowerCase() === name) return raw[i + 1];
  }
  return "";
}
