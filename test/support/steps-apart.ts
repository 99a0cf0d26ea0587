/** Steps that Anthropic ran for a call and left out of its usage: each is one flat object but for its `cache_creation`. */
export function stepsApart(responseBody: string): Readonly<Record<string, unknown>>[] {
  const steps = /"iterations":\s*(\[[^\]]*\])/.exec(responseBody)?.[1];
  const all = steps === undefined ? [] : (JSON.parse(steps) as Record<string, unknown>[]);
  return all.filter(({ type }) => type === "compaction" || type === "advisor_message");
}
