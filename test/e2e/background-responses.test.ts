import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { onRequests, type RawServer, startRawServer } from "../support/raw-server.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";

const YAML = (origin: string) => `
providers: { openai: { base_url: "${origin}", accounts: [{ name: main, key: k }] } }
defaults: { output_tokens: 700 }
plans:
  p: { when_limited: reject, limits: [{ meter: output_tokens, limit: 1000000, per: day }] }
identity: { keys: [{ key: key-of-alice, user: alice }] }
`;

const QUEUED =
  '{"id":"resp_1","object":"response","status":"queued","background":true,"output":[],"usage":null}';
const DONE =
  '{"id":"resp_1","object":"response","status":"completed","output":[],"usage":{"input_tokens":5,"output_tokens":9,"total_tokens":14}}';

describe("a response that the provider writes in the background, unseen", () => {
  let provider: RawServer;
  let under: GatewayUnderTest;
  let answer = "";
  before(async () => {
    provider = await startRawServer((socket) =>
      onRequests(socket, () => {
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${answer.length}\r\n\r\n${answer}`,
        );
      }),
    );
    under = await startGatewayUnderTest({ yaml: YAML(provider.origin) });
  });
  after(async () => {
    await under.close();
    await provider.close();
  });

  const used = async () => {
    let found: { readonly used: number; readonly held: number } = { used: -1, held: -1 };
    await until(async () => {
      [found] = await limitsPage(under.url, "key-of-alice");
      return found.held === 0;
    });
    return found.used;
  };
  const charged = async (fields: object) => {
    const before = await used();
    const body = JSON.stringify({ model: "gpt-4o-mini", input: "hello", ...fields });
    const headers = { authorization: "Bearer key-of-alice", "content-type": "application/json" };
    const { status } = await rawCall(under.url, { path: "/v1/responses", headers, body });
    assert.equal(status, 200);
    return (await used()) - before;
  };

  test("is charged its own maximum, or what was expected of it where it has none (S2)", async () => {
    answer = QUEUED;
    assert.equal(await charged({ background: true, max_output_tokens: 4_000 }), 4_000);
    assert.equal(await charged({ background: true }), 700);
  });

  test("is charged what the provider says, where it says it at once (S2)", async () => {
    answer = DONE;
    assert.equal(await charged({ background: true, max_output_tokens: 4_000 }), 9);
  });
});
