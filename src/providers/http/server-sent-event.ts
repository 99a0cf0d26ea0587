/**
 * An event of a server-sent stream. It stands behind whatever has been sent of the stream so far, perhaps in the middle of an event: a blank line ends that one, and is
 * nothing where there is none.
 */
export function serverSentEvent(name: string | undefined, data: string): Buffer {
  return Buffer.from(`\n\n${name === undefined ? "" : `event: ${name}\n`}data: ${data}\n\n`);
}
