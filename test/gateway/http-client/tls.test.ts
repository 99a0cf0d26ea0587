import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import { HttpClient } from "../../../src/gateway/http-client/http-client.ts";
import { ClientCall, send } from "../../support/client-call.ts";
import { onRequests, type RawServer, startRawServer } from "../../support/raw-server.ts";

/** A certificate for localhost that nobody has signed but its own key. */
function selfSigned(): { readonly key: string; readonly cert: string } {
  const directory = mkdtempSync(join(tmpdir(), "sluice-tls-"));
  try {
    const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const made = spawnSync("openssl", [
      "req",
      "-x509",
      "-nodes",
      "-days",
      "2",
      ...curve,
      ...name,
      "-keyout",
      key,
      "-out",
      cert,
    ]);
    assert.equal(made.status, 0, String(made.stderr));
    return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const own = selfSigned();
const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function server(onConnection: (socket: Socket) => void, options: TlsOptions = {}): Promise<RawServer> {
  const started = await startRawServer(onConnection, createServer({ ...own, ...options }), "https");
  closing.push(() => started.close());
  return { ...started, origin: `https://localhost:${started.port}` };
}

function client(ca?: string): HttpClient {
  const made = new HttpClient({
    keepAliveMs: 60_000,
    connectionsMax: 10,
    tickMs: 5,
    ...(ca === undefined ? {} : { ca }),
  });
  closing.unshift(() => made.close());
  return made;
}

const echo = (socket: Socket) =>
  onRequests(socket, (_, body) =>
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`, "latin1"),
  );

test("HttpClient speaks TLS: the server's name is indicated and proven, http/1.1 offered, bodies whole (X1)", async () => {
  const { origin, sockets } = await server(echo, { ALPNProtocols: ["h2", "http/1.1"] });
  const used = client(own.cert);
  for (const length of [0, 10, 16_384, 16_385, 1_000_000]) {
    const body = Buffer.from(Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
    const call = await send(used, origin, { method: "POST", body }).done;
    assert.equal(call.error, undefined);
    assert.ok(call.body.equals(body), `${length} bytes`);
  }
  assert.equal(sockets.length, 1);
  const socket = sockets[0] as TLSSocket & { readonly servername: string };
  assert.deepEqual([socket.servername, socket.alpnProtocol], ["localhost", "http/1.1"]);
});

test("HttpClient sends nothing to a server whose certificate it does not trust, or is another's (X1)", async () => {
  const { origin, port } = await server(echo);
  const untrusted = await send(client(), origin).done;
  assert.deepEqual([untrusted.error?.code, untrusted.isSent], ["tls_failed", false]);
  const misnamed = await send(client(own.cert), `https://127.0.0.1:${port}`).done;
  assert.deepEqual([misnamed.error?.code, misnamed.isSent], ["tls_failed", false]);
});

test("HttpClient tells a server that does not speak TLS", async () => {
  const plain = await startRawServer((socket) =>
    socket.on("data", () => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")),
  );
  closing.push(() => plain.close());
  const call = await send(client(), `https://localhost:${plain.port}`).done;
  assert.deepEqual([call.error?.code, call.isSent], ["tls_failed", false]);
  const silent = await startRawServer(() => {});
  closing.push(() => silent.close());
  const late = await send(client(), `https://localhost:${silent.port}`, {}, { connectMs: 20 }).done;
  assert.deepEqual([late.error?.code, late.isSent], ["connect_timeout", false]);
});

test("HttpClient resumes TLS sessions, of both versions", async () => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const resumed: boolean[] = [];
    const { origin } = await server(
      (socket) =>
        onRequests(socket, () => {
          resumed.push((socket as TLSSocket).isSessionReused());
          socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }),
      { minVersion: version, maxVersion: version },
    );
    const used = client(own.cert);
    for (let i = 0; i < 2; i++) assert.equal((await send(used, origin).done).body.toString(), "ok");
    assert.deepEqual(resumed, [false, true], version);
  }
});

test("HttpClient makes a TLS server wait for a slow reader, too (S3)", async () => {
  const total = 32 * 1024 * 1024;
  const piece = Buffer.alloc(65_536, "x");
  let written = 0;
  const { origin } = await server((socket) =>
    onRequests(socket, () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      const more = () => {
        while (written < total) {
          written += piece.length;
          if (!socket.write(piece)) return;
        }
      };
      socket.on("drain", more);
      more();
    }),
  );
  const used = client(own.cert);
  const call = new ClientCall();
  let read = 0;
  call.onChunk = (chunk) => {
    read += chunk.length;
    call.chunks.length = 0;
    call.controller?.pause();
  };
  send(used, origin, {}, {}, call);
  await call.headed;
  const silent = await startRawServer(() => {});
  closing.push(() => silent.close());
  await send(used, silent.origin, {}, { answerMs: 100 }).done;
  assert.ok(read <= 2 * 65_536, `${read} bytes read`);
  assert.ok(written < total, `${written} bytes written`);
  call.onChunk = (chunk) => {
    read += chunk.length;
    call.chunks.length = 0;
  };
  call.controller?.resume();
  await call.done;
  assert.deepEqual([call.error, read], [undefined, total]);
});
