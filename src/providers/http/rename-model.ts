import type { ParsedCall } from "../../ports/provider-format.ts";
import { withModel } from "./json-splice.ts";

/** See `ProviderFormat.withModel`: both formats name the model in the same place. */
export const renameModel = (call: ParsedCall, model: string): ParsedCall => ({
  ...call,
  model,
  upstreamBody: withModel(call.upstreamBody, model),
});
