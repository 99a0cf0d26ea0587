import type { Endpoint } from "../policy/endpoint.ts";
import { TextTokenCounter } from "./text-tokens.ts";

/**
 * What of a body is hardest to tell, from easy to hard. Estimates of each go wrong in their own way: tools bring a prompt that nobody sees, the size of
 * a picture behind an address is unknown, pages differ, and what the provider keeps (earlier answers, its own tools' findings) is not in the body at all.
 */
export const INPUT_CONTENTS = ["text", "tools", "image", "document", "remote"] as const;
export type InputContent = (typeof INPUT_CONTENTS)[number];

/** Calls whose input estimates are wrong in the same way: the frames of endpoints differ too. Few, and all known. */
export type InputShape = `${Endpoint}/${InputContent}`;

/** Counts the tokens of a body, and notes what of it is hardest to tell. */
export class InputTokenCounter extends TextTokenCounter {
  #hardest = 0;

  note(content: InputContent): void {
    const rank = INPUT_CONTENTS.indexOf(content);
    if (rank > this.#hardest) this.#hardest = rank;
  }

  shapeAt(endpoint: Endpoint): InputShape {
    return `${endpoint}/${INPUT_CONTENTS[this.#hardest] as InputContent}`;
  }
}
