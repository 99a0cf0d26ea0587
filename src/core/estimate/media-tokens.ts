/** Share of bytes in base64 text. */
const BYTES_PER_CHAR = 0.75;
/** Of plain text, in Latin script. */
const BYTES_PER_TEXT_TOKEN = 4;
/** A page of a PDF takes some 50 kB: text with a few pictures. */
const PDF_BYTES_PER_PAGE = 50_000;
/** Longest document that providers take, in pages. */
const PDF_PAGES_MAX = 600;
/** OpenAI counts 10 tokens a second of audio that goes in; usual WAV is 24 kHz × 16 bit, usual MP3 128 kbit/s. */
const AUDIO_TOKENS_PER_SECOND = 10;
const WAV_BYTES_PER_SECOND = 48_000;
const MP3_BYTES_PER_SECOND = 16_000;

/** Tokens of a document given as base64 text (with or without `data:` in front), of which only the length is looked at; one page where its content is elsewhere. */
export function documentTokens(base64: unknown, tokensPerPage: number): number {
  const bytes = typeof base64 === "string" ? base64.length * BYTES_PER_CHAR : 0;
  const pages = Math.ceil(bytes / PDF_BYTES_PER_PAGE);
  return Math.min(PDF_PAGES_MAX, Math.max(1, pages)) * tokensPerPage;
}

/** The same where providers read the document's text only, of which there are no more tokens than its bytes allow; a plain text is that. */
export function documentTextTokens(base64: unknown, tokensPerPage: number): number {
  const perPages = documentTokens(base64, tokensPerPage);
  if (typeof base64 !== "string") return perPages;
  const inBytes = Math.ceil((base64.length * BYTES_PER_CHAR) / BYTES_PER_TEXT_TOKEN);
  return base64.startsWith("data:text/") ? inBytes : Math.min(perPages, inBytes);
}

/** Tokens of a sound given as base64 text. Only its length is looked at. */
export function audioTokens(base64: unknown, format: unknown): number {
  const bytes = typeof base64 === "string" ? base64.length * BYTES_PER_CHAR : 0;
  const perSecond = format === "mp3" ? MP3_BYTES_PER_SECOND : WAV_BYTES_PER_SECOND;
  return Math.ceil((bytes / perSecond) * AUDIO_TOKENS_PER_SECOND);
}
