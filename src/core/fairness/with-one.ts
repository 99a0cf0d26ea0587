/** A list of one is made as such: one that grows is made for many. */
export function withOne<T>(list: T[] | undefined, one: T): T[] {
  if (list === undefined) return [one];
  if (list[list.length - 1] !== one) list.push(one);
  return list;
}
