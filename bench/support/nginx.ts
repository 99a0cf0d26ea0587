import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { type PinnedProcess, startPinned, untilListening } from "./pinned-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

export interface NginxServer {
  readonly port: number;
  readonly process: PinnedProcess;
}

/** One more than the connections of the largest benchmark, twice: a proxy has two for each stream. */
const CONNECTIONS_MAX = 4096;
/** Never close a connection for its age: a reconnect in the middle of a run would be measured as work. */
const REQUESTS_PER_CONNECTION_MAX = 1_000_000_000;

const TEMP_KINDS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/** nginx with one worker on one core, with its files in a temporary directory: nothing to do with the system's own service. */
async function startNginx(core: number, http: (port: number) => string): Promise<NginxServer> {
  const directory = temporaryDirectory("nginx");
  // The worker of a root-started nginx gives up root, and must still reach its files.
  chmodSync(directory, 0o777);
  const port = await freePort();
  const config = `
    worker_processes 1;
    daemon off;
    pid ${directory}/nginx.pid;
    error_log ${directory}/error.log;
    events { worker_connections ${CONNECTIONS_MAX}; }
    http {
      access_log off;
      keepalive_requests ${REQUESTS_PER_CONNECTION_MAX};
      ${TEMP_KINDS.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join("\n      ")}
      ${http(port)}
    }`;
  const file = join(directory, "nginx.conf");
  writeFileSync(file, config);
  const process = startPinned(core, ["nginx", "-p", directory, "-e", `${directory}/error.log`, "-c", file]);
  await untilListening(port, process);
  return { port, process };
}

/** Answers every request with the same JSON body: the cheapest provider there is. */
export function startNginxProvider(core: number, body: string): Promise<NginxServer> {
  if (/['$\\]/.test(body)) throw new Error("the body would need quoting in nginx's configuration");
  return startNginx(
    core,
    (port) => `
      server {
        listen 127.0.0.1:${port} backlog=${CONNECTIONS_MAX};
        default_type application/json;
        location / { return 200 '${body}'; }
      }`,
  );
}

/** The peer: passes everything on over kept connections, with the provider's key in place of the client's, as a gateway must. */
export function startNginxProxy(
  core: number,
  providerPort: number,
  options: { readonly buffering: boolean; readonly idleConnectionsMax: number },
): Promise<NginxServer> {
  return startNginx(
    core,
    (port) => `
      upstream provider {
        server 127.0.0.1:${providerPort};
        keepalive ${options.idleConnectionsMax};
        keepalive_requests ${REQUESTS_PER_CONNECTION_MAX};
      }
      server {
        listen 127.0.0.1:${port} backlog=${CONNECTIONS_MAX};
        location / {
          proxy_pass http://provider;
          proxy_http_version 1.1;
          proxy_buffering ${options.buffering ? "on" : "off"};
          proxy_set_header Connection "";
          proxy_set_header Authorization "Bearer provider-key";
        }
      }`,
  );
}
