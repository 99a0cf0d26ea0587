/** What providers are paid for beside the calls that are read, by a part of the path. */
const PAID_PATHS: readonly (readonly [part: string, label: string])[] = [
  ["/batches", "batches"],
  ["/images", "images"],
  ["/audio", "audio"],
  ["/videos", "videos"],
  ["/realtime", "realtime"],
  ["/fine_tuning", "fine_tuning"],
  ["/threads", "threads"],
  ["/deployments/", "deployments"],
];
/** Of these nobody is paid by the call. */
const FREE_PATHS: readonly string[] = ["/moderations", "/files", "/uploads"];
/** Of a batch, a response, a job of fine-tuning: ends work, and begins none. The name before it, so that no `?` hides there. */
const CANCEL = /\/[\w-]+\/cancel$/;

/**
 * What is paid for that a POST to this path, which is passed on unread, begins: one of a few words, `other` where nobody knows. `undefined` where nothing is.
 * `path` is the provider's, as the most lenient server reads it. What is paid counts first: names of deployments are their owner's choice.
 */
export function unreadPathLabel(path: string): string | undefined {
  if (CANCEL.test(path)) return undefined;
  const paid = PAID_PATHS.find(([part]) => path.includes(part));
  if (paid !== undefined) return paid[1];
  return FREE_PATHS.some((part) => path.includes(part)) ? undefined : "other";
}
