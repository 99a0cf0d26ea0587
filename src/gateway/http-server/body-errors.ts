import { OperationalError } from "../../core/operational-error.ts";

export const bodyTooLarge = (bytesMax: number) =>
  new OperationalError(
    "body_too_large",
    `the request body is larger than the ${bytesMax} bytes allowed here`,
  );

export const brokenOff = (cause: unknown) =>
  new OperationalError("invalid_request", "the request was broken off before its body was complete", {
    cause,
  });
