import type { ProviderFormat } from "../../ports/provider-format.ts";
import { renameModel } from "../http/rename-model.ts";
import { endpointOf } from "./endpoints.ts";
import { failure, inStreamError, refusal } from "./errors.ts";
import { authHeader, hidesHeader, limitHeaders } from "./headers.ts";
import { meter } from "./meter.ts";
import { parseCall } from "./request.ts";

/** The wire format of Anthropic, see `ProviderFormat`. */
export const anthropicFormat: ProviderFormat = {
  name: "anthropic",
  endpointOf,
  parseCall,
  withModel: renameModel,
  authHeader,
  meter,
  limitHeaders,
  hidesHeader,
  refusal,
  inStreamError,
  failure,
};
