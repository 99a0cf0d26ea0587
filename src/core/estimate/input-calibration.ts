import { TOKENS_MAX } from "../policy/token-amount.ts";
import { InputCell } from "./input-cell.ts";
import {
  type CalibrationLine,
  callsIn,
  type Evidence,
  estimateOn,
  IDENTITY_LINE,
  parseEvidence,
} from "./input-evidence.ts";
import { tokenFamilyOf } from "./token-family.ts";

/** Whose calls are misestimated alike. All names may come from clients: any string will do. */
export interface CalibrationGroup {
  readonly provider: string;
  readonly model: string;
  /** Of the estimate (`Estimate.inputShape`); calls without one are a shape of their own. */
  readonly shape?: string | undefined;
  readonly feature?: string | undefined;
}

/** What one gateway has learned of one group, in plain numbers: JSON keeps it. */
export interface GroupSnapshot {
  readonly version: 1;
  readonly provider: string;
  /** A model, or a tokenizer family of the provider's models. */
  readonly level: "model" | "family";
  readonly name: string;
  readonly feature?: string | undefined;
  readonly shape: string;
  readonly sums: readonly number[];
}

/** The calibration of a model and shape has moved (E7): actual ÷ raw tokens for a prompt of one length. */
export interface CalibrationDrift {
  readonly provider: string;
  readonly model: string;
  readonly shape: string;
  readonly before: number;
  readonly now: number;
}

/** From so many remembered calls on a feature's own line is used: below it the model's is known better. */
const FEATURE_CALLS_MIN = 30;
/** Models, features of models and families together; the one that learned longest ago makes room. Some 10 MB when all are full. */
export const GROUPS_MAX = 2_000;
/** Five contents at each of the endpoints that a model is used at, which are two or three. */
const SHAPES_MAX = 20;
/** Gateways whose evidence is kept; the one that was absorbed longest ago makes room. */
const INSTANCES_MAX = 64;
const VERSION = 1;

interface Group {
  readonly provider: string;
  readonly level: GroupSnapshot["level"];
  readonly name: string;
  readonly feature: string | undefined;
  readonly cells: Map<string, InputCell>;
  /** Only of models. */
  readonly features: Map<string, Group>;
}

interface Provider {
  readonly models: Map<string, Group>;
  readonly families: Map<string, Group>;
}

/**
 * Corrects input estimates by what calls really used, so that the mean of estimate ÷ actual is 1 for every model (E1). Knows a line (overhead, slope) per
 * provider, model and shape; a finer one per feature where there are enough calls; for models that it has not seen, that of the provider's models with the
 * same tokenizer family; else nothing is corrected. Counts that cannot be true are told apart and not learned from. What it has learned fades as new calls
 * come, can be saved, and be shared among gateways: each publishes its own `snapshot`, and absorbs those of the others.
 *
 * One a process. Never throws, whatever names and numbers come. Memory is bounded.
 */
export class InputCalibration {
  readonly #providers = new Map<string, Provider>();
  /** All groups, those that learned longest ago first. */
  readonly #byAge = new Set<Group>();
  readonly #instances = new Map<string, readonly InputCell[]>();

  /** The corrected estimate: a real number in [0, `TOKENS_MAX`], for the caller to round; 0 for what is no positive number. */
  correct(group: CalibrationGroup, rawTokens: number): number {
    if (!(rawTokens > 0)) return 0;
    return Math.min(TOKENS_MAX, estimateOn(this.#lineFor(group), Math.min(rawTokens, TOKENS_MAX)));
  }

  /**
   * Notes what a call used. `flagged`: the counts cannot be true (no positive integers, or beyond `TOKENS_MAX`), or are so far from the estimate that they
   * are not believed yet; nothing is learned from such a call, unless it ends a run of calls that agree with each other.
   */
  learn(group: CalibrationGroup, rawTokens: number, actualTokens: number): "learned" | "flagged" {
    const isPossible = Number.isInteger(actualTokens) && actualTokens > 0 && actualTokens <= TOKENS_MAX;
    if (!isPossible || !(rawTokens > 0 && rawTokens <= TOKENS_MAX)) return "flagged";
    const { provider, model, feature } = group;
    const shape = group.shape ?? "";
    const familyCell = this.#cell(this.#group(provider, "family", tokenFamilyOf(model)), shape);
    const familyLine = familyCell.line;
    const ofModel = this.#group(provider, "model", model);
    const modelCell = this.#cell(ofModel, shape);
    const isBelieved = modelCell.learn(rawTokens, actualTokens, familyLine);
    if (isBelieved) familyCell.learn(rawTokens, actualTokens, IDENTITY_LINE);
    if (feature === undefined) return isBelieved ? "learned" : "flagged";
    const featureCell = this.#cell(this.#group(provider, "model", model, feature), shape);
    const isBelievedThere = featureCell.learn(rawTokens, actualTokens, modelCell.line);
    return isBelieved || isBelievedThere ? "learned" : "flagged";
  }

  /** What this instance has learned itself, an earlier life's evidence included; never what it absorbed, or evidence would echo. */
  snapshot(): readonly GroupSnapshot[] {
    return [...this.#byAge].flatMap(({ provider, level, name, feature, cells }) =>
      [...cells]
        .filter(([, cell]) => callsIn(cell.own) > 0)
        .map(([shape, cell]) => ({
          version: VERSION,
          provider,
          level,
          name,
          ...(feature !== undefined && { feature }),
          shape,
          sums: [...cell.own],
        })),
    );
  }

  /** Takes the evidence of another gateway, in place of all it gave before; an empty list forgets it. What is not understood is left out. */
  absorb(instance: string, snapshots: readonly unknown[]): void {
    for (const cell of this.#instances.get(instance) ?? []) cell.absorb(instance, undefined);
    this.#instances.delete(instance);
    const cells = this.#eachKnown(snapshots, (cell, evidence) => cell.absorb(instance, evidence));
    if (cells.length > 0) this.#instances.set(instance, cells);
    for (const [oldest, absorbed] of this.#instances) {
      if (this.#instances.size <= INSTANCES_MAX) break;
      for (const cell of absorbed) cell.absorb(oldest, undefined);
      this.#instances.delete(oldest);
    }
    this.#refit();
  }

  /** What has moved by more than 10 % since it was last told, or since long ago; each change once (E7). */
  drift(): readonly CalibrationDrift[] {
    const drifts: CalibrationDrift[] = [];
    for (const { provider, level, name, feature, cells } of this.#byAge) {
      if (level !== "model" || feature !== undefined) continue;
      for (const [shape, cell] of cells) {
        const change = cell.takeChange();
        if (change !== undefined) drifts.push({ provider, model: name, shape, ...change });
      }
    }
    return drifts;
  }

  #lineFor({ provider, model, feature, shape = "" }: CalibrationGroup): CalibrationLine {
    const known = this.#providers.get(provider);
    if (known === undefined) return IDENTITY_LINE;
    const ofModel = known.models.get(model);
    if (feature !== undefined) {
      const cell = ofModel?.features.get(feature)?.cells.get(shape);
      if (cell !== undefined && cell.calls >= FEATURE_CALLS_MIN) return cell.line;
    }
    const cell = ofModel?.cells.get(shape) ?? known.families.get(tokenFamilyOf(model))?.cells.get(shape);
    return cell === undefined ? IDENTITY_LINE : cell.line;
  }

  /** The group, which becomes the youngest; made where there is none. */
  #group(provider: string, level: GroupSnapshot["level"], name: string, feature?: string): Group {
    let ofProvider = this.#providers.get(provider);
    if (ofProvider === undefined) {
      ofProvider = { models: new Map(), families: new Map() };
      this.#providers.set(provider, ofProvider);
    }
    const siblings = level === "family" ? ofProvider.families : ofProvider.models;
    const whole = siblings.get(name) ?? this.#newGroup(siblings, name, { provider, level, name });
    this.#touch(whole);
    if (feature === undefined) return whole;
    const part =
      whole.features.get(feature) ?? this.#newGroup(whole.features, feature, { ...whole, feature });
    this.#touch(part);
    return part;
  }

  #newGroup(
    siblings: Map<string, Group>,
    key: string,
    of: Pick<Group, "provider" | "level" | "name"> & { readonly feature?: string },
  ): Group {
    const { provider, level, name } = of;
    const group = { provider, level, name, feature: of.feature, cells: new Map(), features: new Map() };
    siblings.set(key, group);
    return group;
  }

  #touch(group: Group): void {
    this.#byAge.delete(group);
    this.#byAge.add(group);
    for (const oldest of this.#byAge) {
      if (this.#byAge.size <= GROUPS_MAX) break;
      this.#remove(oldest);
    }
  }

  #remove(group: Group): void {
    this.#byAge.delete(group);
    for (const part of group.features.values()) this.#byAge.delete(part);
    const ofProvider = this.#providers.get(group.provider);
    if (ofProvider === undefined) return;
    if (group.feature !== undefined) ofProvider.models.get(group.name)?.features.delete(group.feature);
    else (group.level === "family" ? ofProvider.families : ofProvider.models).delete(group.name);
    if (ofProvider.models.size + ofProvider.families.size === 0) this.#providers.delete(group.provider);
  }

  #cell(group: Group, shape: string): InputCell {
    let cell = group.cells.get(shape);
    if (cell === undefined) {
      if (group.cells.size >= SHAPES_MAX) group.cells.delete(group.cells.keys().next().value as string);
      cell = new InputCell(this.#parentLine(group, shape));
      group.cells.set(shape, cell);
    }
    return cell;
  }

  #parentLine({ provider, level, name, feature }: Group, shape: string): CalibrationLine {
    if (level === "family") return IDENTITY_LINE;
    const known = this.#providers.get(provider);
    const ofFamily = () => known?.families.get(tokenFamilyOf(name))?.cells.get(shape);
    const parent =
      feature === undefined ? ofFamily() : (known?.models.get(name)?.cells.get(shape) ?? ofFamily());
    return parent?.line ?? IDENTITY_LINE;
  }

  /** Calls `take` for each entry that this version understands. Returns the cells that took something. */
  #eachKnown(
    snapshots: readonly unknown[],
    take: (cell: InputCell, evidence: Evidence) => void,
  ): readonly InputCell[] {
    const cells: InputCell[] = [];
    for (const snapshot of snapshots.slice(0, GROUPS_MAX * SHAPES_MAX)) {
      const entry = snapshot as Partial<GroupSnapshot> | null | undefined;
      const evidence = entry?.version === VERSION ? parseEvidence(entry.sums) : undefined;
      if (evidence === undefined || !isPlace(entry)) continue;
      const cell = this.#cell(
        this.#group(entry.provider, entry.level, entry.name, entry.feature),
        entry.shape,
      );
      take(cell, evidence);
      cells.push(cell);
    }
    return cells;
  }

  /** Parents first: lines of children are pulled to theirs. */
  #refit(): void {
    const rank = ({ level, feature }: Group) => (level === "family" ? 0 : feature === undefined ? 1 : 2);
    for (const group of [...this.#byAge].sort((a, b) => rank(a) - rank(b))) {
      for (const [shape, cell] of group.cells) cell.refit(this.#parentLine(group, shape));
    }
  }
}

function isPlace(
  entry: Partial<GroupSnapshot> | null | undefined,
): entry is Pick<GroupSnapshot, "provider" | "level" | "name" | "feature" | "shape"> {
  if (entry === null || entry === undefined) return false;
  const { provider, level, name, feature, shape } = entry;
  return (
    typeof provider === "string" &&
    (level === "model" || level === "family") &&
    typeof name === "string" &&
    (feature === undefined || typeof feature === "string") &&
    typeof shape === "string"
  );
}
