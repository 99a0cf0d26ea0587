import { OperationalError } from "../../src/core/operational-error.ts";
import type { LimitStore } from "../../src/ports/limit-store.ts";

/** A store that can be made to fail before it acts (`down`) or after (`replies lost`). */
export class UnreliableStore implements LimitStore {
  mode: "up" | "down" | "replies lost" = "up";
  readonly #store: LimitStore;

  constructor(store: LimitStore) {
    this.#store = store;
  }

  reserve: LimitStore["reserve"] = (request) => this.#through(() => this.#store.reserve(request));
  extend: LimitStore["extend"] = (request) => this.#through(() => this.#store.extend(request));
  settle: LimitStore["settle"] = (request) => this.#through(() => this.#store.settle(request));
  release: LimitStore["release"] = (request) => this.#through(() => this.#store.release(request));
  read: LimitStore["read"] = (requests) => this.#through(() => this.#store.read(requests));
  beat: LimitStore["beat"] = (instance, leaseMs) => this.#through(() => this.#store.beat(instance, leaseMs));
  close: LimitStore["close"] = () => this.#store.close();

  async #through<T>(step: () => Promise<T>): Promise<T> {
    if (this.mode === "down") throw new OperationalError("store_unavailable", "the store is down");
    const result = await step();
    if (this.mode === "replies lost") throw new OperationalError("store_unavailable", "the reply was lost");
    return result;
  }
}
