import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { onRequests, startRawServer } from "../support/raw-server.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";

const YAML = `
providers:
  openai: { base_url: "PROVIDER", accounts: [{ name: main, key: k }], service_tiers: { flex: 0.5 } }
  anthropic: { base_url: "PROVIDER", accounts: [{ name: main, key: k }] }
prices: [{ model: own, input: 3, output: 7 }]
plans:
  priced: { when_limited: reject, limits: [{ meter: cost, limit: 100, per: day, mode: shadow }] }
  free: { when_limited: reject, limits: [{ meter: requests, limit: 100, per: day }] }
identity:
  keys:
    - { key: key-of-alice, user: alice, plan: priced }
    - { key: key-of-bob, user: bob, plan: free }
`;

const headersOf = (key: string) => ({ authorization: `Bearer ${key}`, "content-type": "application/json" });
const post = (url: string, path: string, body: object, key = "key-of-alice") =>
  rawCall(url, { path, headers: headersOf(key), body: JSON.stringify(body) });
const messages = [{ role: "user", content: "hello there" }];

describe("x-sluice-cost-usd", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: YAML });
  });
  after(() => under.close());

  const used = async () => (await limitsPage(under.url, "key-of-alice"))[0].used;

  test("says what an answer that is no stream costs, as it is charged, on every endpoint; the body stays as it is (E6, S1)", async () => {
    const calls: readonly (readonly [path: string, body: object])[] = [
      ["/v1/chat/completions", { model: "gpt-4o-mini", messages, max_tokens: 20 }],
      ["/v1/chat/completions", { model: "own", messages, max_tokens: 20 }],
      ["/v1/responses", { model: "gpt-4o-mini", input: "hello", max_output_tokens: 20 }],
      ["/v1/embeddings", { model: "text-embedding-3-small", input: "hello" }],
      ["/v1/messages", { model: "claude-sonnet-4-5", messages, max_tokens: 20 }],
    ];
    for (const [path, body] of calls) {
      const before = await used();
      const answer = await post(under.url, path, body);
      assert.equal(answer.status, 200, answer.body.toString());
      const cost = Number(answer.headers["x-sluice-cost-usd"]);
      assert.ok(cost > 0, `${path}: ${JSON.stringify(answer.headers)}`);
      assert.match(answer.headers["x-sluice-cost-usd"], /^\d+(\.\d{1,9})?$/);
      assert.equal(Math.round(cost * 1e9), Math.round((await used()) * 1e9 - before * 1e9), path);
      const direct = await rawCall(under.provider.url, {
        path,
        headers: { "content-type": "application/json", authorization: "Bearer k" },
        body: JSON.stringify(body),
      });
      assert.ok(answer.body.equals(direct.body), path);
      assert.equal(answer.headers["content-length"], direct.headers["content-length"]);
    }
  });

  test("is not there where the cost is not known before the body: in streams, errors, refusals, and where nothing counts money", async () => {
    const chat = { model: "gpt-4o-mini", messages, max_tokens: 20 };
    const answers = [
      await post(under.url, "/v1/chat/completions", { ...chat, stream: true }),
      await post(under.url, "/v1/chat/completions", { ...chat, max_tokens: 0 }),
      await post(under.url, "/v1/chat/completions", { ...chat, model: "nobody-knows" }),
      await post(under.url, "/v1/chat/completions", chat, "key-of-bob"),
    ];
    under.provider.switches.set({ failStatus: 500 });
    answers.push(await post(under.url, "/v1/chat/completions", chat));
    under.provider.switches.reset();
    for (const { headers } of answers) assert.equal(headers["x-sluice-cost-usd"], undefined);
  });

  test("prices a call by the tier that it was served in, and says loudly where that has no price (E6)", async () => {
    const cost = async (service_tier: string | undefined) => {
      const body = { model: "gpt-4o-mini", messages, max_tokens: 20, seed: 1, service_tier };
      return Number((await post(under.url, "/v1/chat/completions", body)).headers["x-sluice-cost-usd"]);
    };
    const ofTokens = async (service_tier: string | undefined) => {
      const body = { model: "own", messages, max_tokens: 20, service_tier };
      const answer = await post(under.url, "/v1/chat/completions", body);
      const { usage } = JSON.parse(answer.body.toString()) as {
        usage: { prompt_tokens: number; completion_tokens: number };
      };
      const usd = Number(answer.headers["x-sluice-cost-usd"]);
      return usd / ((usage.prompt_tokens * 3 + usage.completion_tokens * 7) / 1e6);
    };
    assert.ok((await cost("flex")) > 0);
    assert.equal(await under.metric("sluice_tiers_unpriced_total"), 0);
    // The own price says nothing of tiers.
    assert.ok(Math.abs((await ofTokens("flex")) - 1) < 1e-6);
    assert.equal(await under.metric('sluice_tiers_unpriced_total{tier="flex"}'), 1);
    await ofTokens("flex");
    await cost("priority");
    assert.equal(await under.metric('sluice_tiers_unpriced_total{tier="priority"}'), 1);
    const lines = under.lines.filter((line) => line.includes("service tier has no known price"));
    assert.equal(lines.length, 2);
    assert.match(lines[0], /"model":"own","tier":"flex"/);
  });

  test("a call that is passed on unread while limits count money is counted and said once (E6)", async () => {
    const image = { model: "gpt-image-1", prompt: "a cat" };
    for (let i = 0; i < 2; i++) await post(under.url, "/v1/images/generations", image);
    await post(under.url, "/v1/files", {});
    await rawCall(under.url, { method: "GET", path: "/v1/batches", headers: headersOf("key-of-alice") });
    assert.equal(await under.metric('sluice_calls_unread_total{path="images"}'), 2);
    assert.equal(await under.metric('sluice_calls_unread_total{path="batches"}'), 0);
    assert.equal(under.lines.filter((line) => line.includes("passed on unread")).length, 1);
  });
});

describe("an answer that is held back for its cost", () => {
  const JSON_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  const chat = { model: "own", messages, max_tokens: 20 };

  /** A gateway before a provider that answers every request with `answer`. */
  async function behind(answer: (send: (bytes: string) => void, end: () => void) => void) {
    const provider = await startRawServer((socket) =>
      onRequests(socket, () =>
        answer(
          (bytes) => socket.write(bytes),
          () => socket.destroy(),
        ),
      ),
    );
    const under = await startGatewayUnderTest({ yaml: YAML.replaceAll("PROVIDER", provider.origin) });
    return {
      under,
      close: async () => {
        await under.close();
        await provider.close();
      },
    };
  }

  test("comes with its cost when it comes in pieces", async () => {
    const body = JSON.stringify({ choices: [], usage });
    const { under, close } = await behind((send) => {
      send(`${JSON_HEAD}content-length: ${body.length}\r\n\r\n${body.slice(0, 9)}`);
      setImmediate(() => send(body.slice(9)));
    });
    try {
      const answer = await post(under.url, "/v1/chat/completions", chat);
      assert.equal(answer.body.toString(), body);
      assert.equal(answer.headers["x-sluice-cost-usd"], "0.000065");
    } finally {
      await close();
    }
  });

  test("goes on as it comes when it is too long or too slow, without the header (S1, S3)", async () => {
    const long = JSON.stringify({ text: "x".repeat(1_000_000), usage });
    const { under, close } = await behind((send) => {
      send(`${JSON_HEAD}content-length: ${long.length}\r\n\r\n${long}`);
    });
    try {
      const answer = await post(under.url, "/v1/chat/completions", chat);
      assert.equal(answer.body.toString(), long);
      assert.equal(answer.headers["x-sluice-cost-usd"], undefined);
      const [{ used: spent }] = await limitsPage(under.url, "key-of-alice");
      assert.equal(spent, 0.000065);
    } finally {
      await close();
    }
  });

  test("reaches a client before its end where a host sends blanks while it thinks (S1)", async () => {
    let finish = () => {};
    const body = JSON.stringify({ choices: [], usage });
    const { under, close } = await behind((send) => {
      send(`${JSON_HEAD}content-length: ${body.length + 2}\r\n\r\n\n\n`);
      finish = () => send(body);
    });
    try {
      const blanks = await new Promise<string>((resolve, reject) => {
        const { hostname, port } = new URL(under.url);
        const options = {
          hostname,
          port,
          method: "POST",
          path: "/v1/chat/completions",
          headers: headersOf("key-of-alice"),
        };
        const sent = request(options, (answer) => {
          assert.equal(answer.headers["x-sluice-cost-usd"], undefined);
          let text = "";
          answer.on("data", (chunk: Buffer) => {
            text += chunk.toString();
            if (text === "\n\n") finish();
          });
          answer.on("end", () => resolve(text));
        });
        sent.on("error", reject);
        sent.end(JSON.stringify(chat));
      });
      assert.equal(blanks, `\n\n${body}`);
    } finally {
      await close();
    }
  });

  test("is cut for the client where the provider cuts it, and charged (S2)", async () => {
    const { under, close } = await behind((send, end) => {
      send(`${JSON_HEAD}content-length: 500\r\n\r\n{"choices":`);
      setImmediate(end);
    });
    try {
      await assert.rejects(post(under.url, "/v1/chat/completions", chat));
      const [{ used: spent, held }] = await limitsPage(under.url, "key-of-alice");
      assert.ok(spent > 0 && held === 0);
    } finally {
      await close();
    }
  });
});
