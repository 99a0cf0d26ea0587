import { randomOf } from "./random.ts";

type Random = () => number;

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const DIGITS = "0123456789";
const BASE64 = `${LETTERS.toUpperCase()}${LETTERS}${DIGITS}+/`;
const BASE64URL = `${LETTERS.toUpperCase()}${LETTERS}${DIGITS}-_`;
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE32 = `${LETTERS.toUpperCase()}234567`;
const CROCKFORD32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const HEX = `${DIGITS}abcdef`;
const UPPER_HEX = HEX.toUpperCase();

const PROSE =
  "Please summarise what follows in two sentences, and say which of the attachments you have read. The invoice was sent on Monday, but nobody has answered yet.\n";

const from = (alphabet: string, length: number, random: Random) =>
  Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");

function uuid(alphabet: string, random: Random): string {
  const part = (length: number) => from(alphabet, length, random);
  return `${part(8)}-${part(4)}-4${part(3)}-${part(4)}-${part(12)}`;
}

function url(random: Random): string {
  const key = `AKIA${from(BASE32, 16, random)}`;
  return `https://files.example.com/v1/${uuid(HEX, random)}/download?X-Amz-Credential=${key}&X-Amz-Signature=${from(HEX, 64, random)}&token=${from(BASE64URL, 80, random)}\n`;
}

function jwt(random: Random): string {
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const header = encoded({ alg: "RS256", typ: "JWT", kid: from(HEX, 16, random) });
  const payload = encoded({ sub: uuid(HEX, random), email: "alice@example.com", scope: "read write" });
  return `${header}.${payload}.${from(BASE64URL, 342, random)}\n`;
}

function minified(random: Random): string {
  const name = () => from(`${LETTERS}${LETTERS.toUpperCase()}$_`, 1 + Math.floor(random() * 2), random);
  const [f, a, b, c, d] = [name(), name(), name(), name(), name()];
  return `function ${f}(${a},${b}){var ${c}=${a}.${d}(${b}[${from(DIGITS, 1, random)}]);return ${c}?${b}.length:${name()}(${a},void 0)}`;
}

const record = (random: Random) =>
  `{"id":"cus_${from(BASE58, 14, random)}","price":"price_1${from(BASE58, 23, random)}","trace":"${from(HEX, 32, random)}"},`;

/** One piece of each kind of text that is code rather than words; a text repeats pieces, each another. */
const PIECES = {
  base64: (random) => from(BASE64, 64, random),
  "base64 in lines": (random) => `${from(BASE64, 64, random)}\n`,
  "base64 of words": () => Buffer.from(PROSE).toString("base64"),
  base64url: (random) => from(BASE64URL, 64, random),
  base58: (random) => from(BASE58, 64, random),
  base32: (random) => from(BASE32, 64, random),
  hex: (random) => from(HEX, 64, random),
  "upper-case hex": (random) => from(UPPER_HEX, 64, random),
  "hex numbers": (random) => `0x${from(UPPER_HEX, 8, random)}, `,
  UUIDs: (random) => `${uuid(HEX, random)}\n`,
  "upper-case UUIDs": (random) => `{${uuid(UPPER_HEX, random)}}, `,
  ULIDs: (random) => `01J${from(CROCKFORD32, 23, random)}\n`,
  "identifiers in JSON": record,
  URLs: url,
  JWTs: jwt,
  "minified JavaScript": minified,
} as const satisfies Readonly<Record<string, (random: Random) => string>>;

export type CodeTextKind = keyof typeof PIECES;
export const CODE_TEXT_KINDS = Object.keys(PIECES) as readonly CodeTextKind[];

/** A text of so many ASCII characters, the same for the same seed. */
export function codeText(kind: CodeTextKind, chars: number, seed: number): string {
  const random = randomOf(seed);
  let text = "";
  while (text.length < chars) text += PIECES[kind](random);
  return text.slice(0, chars);
}

/** A prompt in words that a tenth of it, in one place, is code of. */
export function promptWithCode(kind: CodeTextKind, chars: number, seed: number): string {
  const codeChars = Math.round(chars / 10);
  const words = PROSE.repeat(Math.ceil(chars / PROSE.length)).slice(0, chars - codeChars - 2);
  const half = Math.floor(words.length / 2);
  return `${words.slice(0, half)}\n${codeText(kind, codeChars, seed)}\n${words.slice(half)}`;
}
