import type { ProviderFormat } from "../../ports/provider-format.ts";
import { renameModel } from "../http/rename-model.ts";
import { endpointOf } from "./endpoints.ts";
import { failure, inStreamError, refusal } from "./errors.ts";
import { authHeader, hidesHeader, limitHeaders } from "./headers.ts";
import { meter } from "./meter.ts";
import { parseCall } from "./request.ts";

/** The wire format of OpenAI and what is compatible with it, see `ProviderFormat`. */
export const openaiFormat: ProviderFormat = {
  name: "openai",
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
