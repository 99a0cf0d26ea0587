import { QuantileCell } from "./quantile-cell.ts";

/** Whose outputs are alike. What is absent is a group of its own. */
export interface OutputGroup {
  readonly provider: string;
  readonly model: string;
  readonly feature?: string | undefined;
  readonly plan?: string | undefined;
  /** How hard the model is asked to think: `low`, `high`, a thinking budget; as the caller names it. */
  readonly effort?: string | undefined;
}

/** From the broadest to the narrowest: how hard a model thinks says more about its output than who asks. */
const PATH: readonly ((group: OutputGroup) => string | undefined)[] = [
  (group) => group.provider,
  (group) => group.model,
  (group) => group.effort,
  (group) => group.feature,
  (group) => group.plan,
];
export const DEPTH_MAX = PATH.length;
/** Names come from clients. Real ones are shorter; of longer ones the beginning counts. */
const NAME_LENGTH_MAX = 128;

const bounded = (name: string | undefined): string =>
  name === undefined ? "" : name.length > NAME_LENGTH_MAX ? name.slice(0, NAME_LENGTH_MAX) : name;

/** Inputs of 2^(k−1) to 2^k − 1 model tokens are one band: measured, octaves held less than two octaves a band, or none, on most traces. */
export const bandOf = (inputTokens: number): number => 32 - Math.clz32(inputTokens);
export const BANDS = 33;

/** One group with its lengths, over all inputs and by the band of the input. */
export class OutputGroupNode {
  readonly parent: OutputGroupNode | undefined;
  readonly name: string;
  readonly all: QuantileCell;
  readonly bands = new Map<number, QuantileCell>();
  readonly children = new Map<string, OutputGroupNode>();
  /** Added to the wanted level of the quantile, so that the coverage comes out as wanted. */
  correction = 0;

  constructor(parent: OutputGroupNode | undefined, name: string) {
    this.parent = parent;
    this.name = name;
    this.all = new QuantileCell(parent?.all);
  }

  /** The names from the root to here. */
  path(): string[] {
    return this.parent === undefined ? [] : [...this.parent.path(), this.name];
  }

  bandCell(band: number): QuantileCell {
    let cell = this.bands.get(band);
    if (cell === undefined) {
      cell = new QuantileCell(this.all);
      this.bands.set(band, cell);
    }
    return cell;
  }
}

/** The groups seen, as a tree from broad to narrow; of more than `groupsMax` the least recently used narrow ones are forgotten. */
export class OutputGroupTree {
  readonly root = new OutputGroupNode(undefined, "");
  readonly #groupsMax: number;
  /** In the order of use. A group is always used before its parent, so the first has no children. */
  readonly #recent = new Set<OutputGroupNode>();

  constructor(groupsMax: number) {
    this.#groupsMax = groupsMax;
  }

  get size(): number {
    return this.#recent.size;
  }

  /** The narrowest group known that a call belongs to. Allocates nothing. */
  narrowest(group: OutputGroup): OutputGroupNode {
    let node = this.root;
    for (const nameOf of PATH) {
      const next = node.children.get(bounded(nameOf(group)));
      if (next === undefined) break;
      node = next;
    }
    return node;
  }

  /** The group itself, where it is known. Allocates nothing. */
  own(group: OutputGroup): OutputGroupNode | undefined {
    let node: OutputGroupNode | undefined = this.root;
    for (const nameOf of PATH) node = node?.children.get(bounded(nameOf(group)));
    return node;
  }

  /** The group itself, made where it is not known, and marked as used. */
  use(group: OutputGroup): OutputGroupNode {
    let node = this.root;
    for (const nameOf of PATH) node = this.#child(node, bounded(nameOf(group)));
    for (let used = node; used.parent !== undefined; used = used.parent) {
      this.#recent.delete(used);
      this.#recent.add(used);
    }
    this.#forgetOldest();
    return node;
  }

  /** The group at a path, made where there is room for it, not marked as used: others' evidence displaces none of our own. */
  at(path: readonly string[]): OutputGroupNode | undefined {
    let node = this.root;
    for (const name of path) {
      const next = node.children.get(name);
      if (next === undefined && this.#recent.size >= this.#groupsMax) return undefined;
      node = next ?? this.#child(node, name);
    }
    return node;
  }

  /** From the most recently used; the root first. */
  *nodes(): Iterable<OutputGroupNode> {
    yield this.root;
    yield* [...this.#recent].reverse();
  }

  #child(parent: OutputGroupNode, name: string): OutputGroupNode {
    let child = parent.children.get(name);
    if (child === undefined) {
      child = new OutputGroupNode(parent, name);
      parent.children.set(name, child);
      this.#recent.add(child);
    }
    return child;
  }

  #forgetOldest(): void {
    for (const node of this.#recent) {
      if (this.#recent.size <= this.#groupsMax) return;
      if (node.children.size > 0) continue;
      this.#recent.delete(node);
      node.parent?.children.delete(node.name);
    }
  }
}
