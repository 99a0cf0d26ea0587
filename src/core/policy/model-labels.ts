/** Models beside the configured ones that have a name of their own: as many as anybody uses, few enough for a metrics page. */
const ANSWERED_MAX = 32;
/** What a model may be called there. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,95}$/;
const OTHER = "other";

/**
 * What metrics call a model (X5). Names come from clients, who could make up any number of them: those of the configuration count, and the first ones that a
 * provider has answered for; all the rest is `other`.
 */
export class ModelLabels {
  #configured: ReadonlySet<string>;
  readonly #answered = new Set<string>();

  constructor(configured: ReadonlySet<string>) {
    this.#configured = configured;
  }

  useConfigured(configured: ReadonlySet<string>): void {
    this.#configured = configured;
  }

  /** Of a model whose provider has said what a call of it used: there is such a model. */
  labelOf(model: string): string {
    if (this.#configured.has(model) || this.#answered.has(model)) return model;
    if (this.#answered.size >= ANSWERED_MAX || !NAME.test(model)) return OTHER;
    this.#answered.add(model);
    return model;
  }
}
