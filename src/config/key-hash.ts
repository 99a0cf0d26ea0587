import { hash } from "node:crypto";

/** How a client's key is known: by its SHA-256 in hexadecimal, never as it is (X1). `gateway/identify.ts` hashes the keys that arrive in the same way. */
export const keyHash = (key: string): string => hash("sha256", key, "hex");
