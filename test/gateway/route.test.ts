import assert from "node:assert/strict";
import { test } from "node:test";
import type { ProviderRoute } from "../../src/gateway/gateway-settings.ts";
import { RequestHeaders } from "../../src/gateway/http-server/request-headers.ts";
import { routeOf } from "../../src/gateway/route.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";

const provider = (name: string, format: ProviderRoute["format"]): ProviderRoute => ({
  name,
  format,
  origin: "http://127.0.0.1:1",
  basePath: "",
  account: { name: "main", key: undefined },
});
const OPENAI = provider("openai", openaiFormat);
const ANTHROPIC = provider("anthropic", anthropicFormat);
const NO_HEADERS = new RequestHeaders([]);
const VERSION = new RequestHeaders(["anthropic-version", "2023-06-01"]);

/** To which provider a path goes. */
function target(url: string, headers = NO_HEADERS, providers = [OPENAI, ANTHROPIC]): string | undefined {
  const route = routeOf(new Map(providers.map((one) => [one.name, one])), url, headers);
  return route.kind === "provider" ? route.provider.name : undefined;
}

test("routeOf sends what only one format has to its provider, whatever else the client says", () => {
  for (const path of [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/responses/resp_1",
    "/v1/embeddings?x=1",
  ]) {
    assert.equal(target(path), "openai", path);
    assert.equal(target(path, VERSION), "openai", path);
  }
  for (const path of ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages?beta=true"]) {
    assert.equal(target(path), "anthropic", path);
  }
});

test("routeOf sends what both formats have to Anthropic where the client says its version", () => {
  for (const path of ["/v1/models", "/v1/models/m", "/v1/files"]) {
    assert.equal(target(path), "openai", path);
    assert.equal(target(path, VERSION), "anthropic", path);
  }
});

test("routeOf takes the other format where there is no provider of the one", () => {
  assert.equal(target("/v1/messages", NO_HEADERS, [OPENAI]), "openai");
  assert.equal(target("/v1/chat/completions", VERSION, [ANTHROPIC]), "anthropic");
  assert.equal(target("/anthropic/v1/models"), "anthropic");
});
