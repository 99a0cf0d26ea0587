/**
 * Model tokens a second, hidden reasoning included, until a model has shown its own. Of 651 recorded answers of 50 and more with their time (`openai-processing-ms`) models wrote
 * 41 to 71, and most answers of one model were within 40 % of its usual speed.
 */
const SPEED_DEFAULT = 50;
/** The answers of one model differ in speed by 40 %, as logarithms do: their mean is so much above the mean of the logarithms. */
const MEAN_FACTOR = Math.exp(0.4 ** 2 / 2);
/** To the first model token: what recorded answers of a few of them took. */
const FIRST_SECONDS = 0.5;
/** As so many answers counts what is taken for granted. */
const DEFAULT_WEIGHT = 5;
/** So many of a model's last answers say how fast it is: it changes with the hour. */
const ANSWERS_REMEMBERED = 100;
/** The time of a shorter answer is mostly that to its first model token. */
const TOKENS_MIN = 200;
/** Names come from clients; of more models the one that was new first is forgotten. */
const MODELS_MAX = 1_000;

interface Model {
  /** Of the logarithm of the speed: what is in the middle of most answers. */
  meanLog: number;
  /** How many answers that is worth. */
  answers: number;
}

/** How fast models write: what can be told of a running answer of which nothing is seen. Pure; bounded; never throws. */
export class WritingSpeed {
  /** By provider and model, from the one that was new first. */
  readonly #models = new Map<string, Model>();

  /** A whole answer of so many model tokens has taken so long, from when its call was sent. Short ones, and times that cannot be, say nothing. */
  learn(provider: string, model: string, outputTokens: number, seconds: number): void {
    if (!(outputTokens >= TOKENS_MIN && outputTokens < Number.POSITIVE_INFINITY && seconds > FIRST_SECONDS))
      return;
    const speed = outputTokens / (seconds - FIRST_SECONDS);
    const known = this.#models.get(keyOf(provider, model)) ?? this.#add(provider, model);
    known.answers = Math.min(ANSWERS_REMEMBERED, known.answers + 1);
    known.meanLog += (Math.log(speed) - known.meanLog) / known.answers;
  }

  /** What the model has written of an answer after so long, if it is as fast as usual: a whole number of model tokens. */
  writtenAfter(provider: string, model: string, seconds: number): number {
    const known = this.#models.get(keyOf(provider, model));
    const speed = known === undefined ? SPEED_DEFAULT : Math.exp(known.meanLog) * MEAN_FACTOR;
    return Math.floor(Math.max(0, seconds - FIRST_SECONDS) * speed);
  }

  #add(provider: string, model: string): Model {
    for (const oldest of this.#models.keys()) {
      if (this.#models.size < MODELS_MAX) break;
      this.#models.delete(oldest);
    }
    const added = { meanLog: Math.log(SPEED_DEFAULT), answers: DEFAULT_WEIGHT };
    this.#models.set(keyOf(provider, model), added);
    return added;
  }
}

const keyOf = (provider: string, model: string) => `${provider}\n${model}`;
