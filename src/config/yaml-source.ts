import {
  type Document,
  type ErrorCode,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  visit,
  type YAMLError,
} from "yaml";
import type { Finding } from "./finding.ts";
import type { KeyPath } from "./problem.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where in a text something is, counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** `$${` is a literal `${`. */
const VARIABLE = /\$\$\{|\$\{([^}]*)\}/g;
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** What a plain scalar looks like when it is a number. */
const NUMBER = /^-?\d+(\.\d+)?$/;

/**
 * `store: memory:` is how the documentation writes it, and no YAML: a colon at the end makes a mapping inside a line. A space in the
 * colon's place means the same store and moves nothing.
 */
const withoutTrailingColon = (text: string) =>
  text.replace(/^(store:[ \t]*memory):(?=[ \t]*(#.*)?\r?$)/gm, "$1 ");

/** What the parser's codes mean. Not its own messages: those quote what they stumble over, which may be a key (X1). */
const SYNTAX: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: "an alias (*name) without its anchor (&name); quote texts that start with *",
  BAD_INDENT: "a line that is not indented as the ones it belongs to, or a bracket that is not closed",
  BAD_DQ_ESCAPE: "a \\ in a text in \"…\" that escapes nothing; use '…' or \\\\",
  BAD_SCALAR_START: "a text cannot start with this character; quote it",
  BLOCK_AS_IMPLICIT_KEY: "two keys in one line; quote texts that hold a colon and a space, or end in a colon",
  DUPLICATE_KEY: "this key is there twice",
  NON_STRING_KEY: "a mapping or a list in the place of a key; a variable inside { } or [ ] needs quotes",
  MISSING_CHAR: "a quote, a bracket, a comma or a colon is missing here",
  MULTIPLE_DOCS: "a second document (---); a configuration is one",
  TAB_AS_INDENT: "a tab in the indentation; use spaces",
  UNEXPECTED_TOKEN:
    "something that does not belong here; look for a missing quote, bracket or comma before it",
};

function syntaxMessage(text: string, error: YAMLError): string {
  // `{ key: ${NAME} }`: the most likely slip, since `key: ${NAME}` in a line of its own is right.
  if (text.slice(Math.max(0, error.pos[0] - 1), error.pos[0] + 1) === "${") {
    return `a variable inside { } or [ ] needs quotes: "\${NAME}"`;
  }
  return SYNTAX[error.code] ?? "this is not valid YAML";
}

/** A file as parsed: plain values, and where each came from. */
export class YamlSource {
  readonly #document: Document;
  readonly #lines: LineCounter;
  /** What scalars with variables looked like before those were replaced. */
  readonly #written = new Map<unknown, string>();
  readonly #findings: Finding[] = [];
  readonly #syntax: { readonly position: Position; readonly message: string }[] = [];

  constructor(text: string, environment: Environment) {
    this.#lines = new LineCounter();
    // Pretty errors quote the line, which may hold a key (X1).
    this.#document = parseDocument(withoutTrailingColon(text), {
      lineCounter: this.#lines,
      prettyErrors: false,
      merge: true,
      stringKeys: true,
      // The parser's warnings quote the source too.
      logLevel: "error",
    });
    // What follows the first error in the syntax is mostly its consequence.
    const [first] = this.#document.errors.filter(({ code }) => code !== "DUPLICATE_KEY");
    for (const error of this.#document.errors) {
      if (error.code !== "DUPLICATE_KEY" && error !== first) continue;
      this.#syntax.push({ position: this.#positionOf(error.pos[0]), message: syntaxMessage(text, error) });
    }
    if (this.#syntax.length === 0) this.#replaceVariables(environment);
  }

  /** What keeps the text from being YAML. Where there is any, nothing else is of use. */
  get syntaxErrors(): readonly { readonly position: Position; readonly message: string }[] {
    return this.#syntax;
  }

  /** Variables that are missing or misspelt. */
  get findings(): readonly Finding[] {
    return this.#findings;
  }

  /** Plain values; an empty file is an empty mapping. Throws where aliases blow up beyond reason. */
  toValue(): unknown {
    return this.#document.toJS() ?? {};
  }

  /**
   * Whether the value at the path came from a variable and would be a number had it been written down: YAML itself cannot know that
   * `limit: ${MAX}` is one.
   */
  numberFromVariable(path: KeyPath): number | undefined {
    const { node, isExact } = this.#find(path);
    if (!isExact || !isScalar(node) || !this.#written.has(node)) return undefined;
    const text = String(node.value);
    return NUMBER.test(text) ? Number(text) : undefined;
  }

  /**
   * The scalar at the path as it is written in the file; `undefined` for mappings, lists, what is not there, and texts over several lines: those
   * are what YAML makes of a colon forgotten in the line below, which may hold anything.
   */
  written(path: KeyPath): string | undefined {
    const { node, isExact } = this.#find(path);
    if (!isExact || !isScalar(node) || this.#isOverLines(node)) return undefined;
    const { value } = node;
    // JSON has no word for a number that is too large to be one.
    const shown = typeof value === "number" ? (node.source ?? String(value)) : JSON.stringify(value);
    return this.#written.get(node) ?? (value === null ? "nothing" : shown);
  }

  /** Where the path's value is, or its last key; for what is not there, where the nearest thing above it is. */
  position(path: KeyPath, atKey: boolean): Position {
    const { node, key, isExact } = this.#find(path);
    const place = atKey && isExact && key !== undefined ? key : node;
    return this.#positionOf(place?.range?.[0] ?? 0);
  }

  #isOverLines(node: Scalar): boolean {
    const [start, end] = node.range ?? [0, 0];
    return this.#positionOf(start).line !== this.#positionOf(end).line;
  }

  #positionOf(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #find(path: KeyPath): { node: Node | undefined; key: Node | undefined; isExact: boolean } {
    let node = this.#resolved(this.#document.contents);
    let key: Node | undefined;
    for (const part of path) {
      const next = this.#step(node, part);
      if (next === undefined) return { node, key, isExact: false };
      key = next.key;
      // `per:` without a value has a key but no node.
      node = next.value ?? next.key;
    }
    return { node, key, isExact: true };
  }

  #step(node: Node | undefined, part: string | number): { key?: Node; value: Node | undefined } | undefined {
    if (isSeq(node)) {
      const item = node.items[Number(part)] as Node | undefined;
      return item === undefined ? undefined : { value: this.#resolved(item) };
    }
    if (!isMap(node)) return undefined;
    for (const pair of node.items) {
      if (isScalar(pair.key) && String(pair.key.value) === String(part)) {
        return { key: pair.key, value: this.#resolved(pair.value) };
      }
    }
    for (const pair of node.items) {
      if (!isScalar(pair.key) || pair.key.value !== "<<") continue;
      const merged = this.#resolved(pair.value);
      for (const source of isSeq(merged) ? merged.items : [merged]) {
        const found = this.#step(this.#resolved(source), part);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  #resolved(node: unknown): Node | undefined {
    if (isAlias(node)) return node.resolve(this.#document);
    return (node ?? undefined) as Node | undefined;
  }

  #replaceVariables(environment: Environment): void {
    visit(this.#document, {
      Scalar: (key, node, ancestors) => {
        if (key === "key" || typeof node.value !== "string" || !node.value.includes("${")) return;
        const path = pathOf(node, key, ancestors);
        const written = JSON.stringify(node.value);
        node.value = this.#replaced(node.value, path, environment);
        this.#written.set(node, written);
      },
    });
  }

  #replaced(text: string, path: KeyPath, environment: Environment): string {
    return text.replace(VARIABLE, (whole, name: string | undefined) => {
      if (name === undefined) return "${";
      if (!VARIABLE_NAME.test(name)) {
        this.#findings.push({ path, message: `"${whole}" is no variable; write $\${ for a literal \${` });
        return whole;
      }
      const value = environment[name];
      if (value === undefined || value === "") {
        const state = value === undefined ? "not set" : "empty";
        this.#findings.push({ path, message: `the environment variable ${name} is ${state}` });
        return whole;
      }
      return value;
    });
  }
}

/** The keys that lead to a node, from the visitor's ancestors. */
function pathOf(node: Scalar, key: number | string | null, ancestors: readonly unknown[]): KeyPath {
  const path: (string | number)[] = [];
  const chain = [...ancestors, node];
  for (let i = 0; i < chain.length - 1; i++) {
    const [parent, child] = [chain[i], chain[i + 1]];
    if (isSeq(parent))
      path.push(i + 1 === chain.length - 1 ? Number(key) : parent.items.indexOf(child as never));
    else if (isMap(parent)) path.push(String((child as { key: unknown }).key));
  }
  return path;
}
