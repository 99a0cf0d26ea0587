/** Why nothing can listen there, in a sentence; undefined for errors of another kind. `elsewhere` says how to choose another place. */
export function listenFailure(
  error: unknown,
  { host, port }: { readonly host: string; readonly port: number },
  elsewhere: string,
): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  switch (code) {
    case "EADDRINUSE":
      return `${host}:${port} is taken: another program listens there (see ${elsewhere})`;
    case "EACCES":
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `Sluice cannot listen on ${host}:${port}: ${code} (see ${elsewhere})`;
    default:
      return undefined;
  }
}
