/** Line breaks and tabs are text; what else is in this class moves the cursor, hides what was written, or turns it round. */
const COMMANDS_TO_A_TERMINAL = /(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu;

const asCode = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Text for people, who may read it in a terminal: names out of files and answers of others cannot command it. */
export const harmless = (text: string): string => text.replace(COMMANDS_TO_A_TERMINAL, asCode);

/** Writes to standard output, for people. */
export function say(text: string): void {
  process.stdout.write(harmless(text));
}

/** Writes to standard error, for people. */
export function complain(text: string): void {
  process.stderr.write(harmless(text));
}
