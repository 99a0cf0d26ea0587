/** Width and height of an image in pixels. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** Largest side that is believed: beyond it the header is garbage or hostile, and every provider refuses. */
const SIDE_PIXELS_MAX = 65_535;
/** How much of an image is looked at for its size: JPEG puts the size behind its metadata (EXIF, colour profile), which is seldom longer. */
const HEADER_BYTES_MAX = 96 * 1024;

/**
 * Size of a PNG, JPEG, GIF or WebP from the start of its base64 text, of which `from` is the first character; `undefined` when it
 * cannot be told. Reads at most 128 kB of the text, and of formats with a fixed header much less.
 */
export function imageSizeOfBase64(text: string, from = 0): ImageSize | undefined {
  const start = decodeBase64(text, from, 32);
  const size = pngSize(start) ?? gifSize(start) ?? webpSize(start);
  if (size !== undefined) return size;
  if (start[0] !== 0xff || start[1] !== 0xd8) return undefined;
  return jpegSize(decodeBase64(text, from, HEADER_BYTES_MAX));
}

/** Code of each base64 character; 64 for all others. Both alphabets. */
const BASE64_CODES: Uint8Array = (() => {
  const codes = new Uint8Array(128).fill(64);
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (let code = 0; code < alphabet.length; code++) codes[alphabet.charCodeAt(code)] = code;
  codes[0x2d] = 62;
  codes[0x5f] = 63;
  return codes;
})();

function decodeBase64(text: string, from: number, bytesMax: number): Uint8Array {
  const bytes = new Uint8Array(Math.min(bytesMax, Math.ceil(((text.length - from) * 3) / 4)));
  let bits = 0;
  let value = 0;
  let length = 0;
  for (let index = from; index < text.length && length < bytes.length; index++) {
    const unit = text.charCodeAt(index);
    const code = unit < 128 ? (BASE64_CODES[unit] as number) : 64;
    if (code === 64) continue;
    value = ((value << 6) | code) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[length++] = (value >> bits) & 0xff;
    }
  }
  return bytes.subarray(0, length);
}

function sized(width: number, height: number): ImageSize | undefined {
  const plausible = width > 0 && height > 0 && width <= SIDE_PIXELS_MAX && height <= SIDE_PIXELS_MAX;
  return plausible ? { width, height } : undefined;
}

function ascii(bytes: Uint8Array, at: number, text: string): boolean {
  if (at + text.length > bytes.length) return false;
  for (let index = 0; index < text.length; index++) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function pngSize(bytes: Uint8Array): ImageSize | undefined {
  if (bytes.length < 24 || bytes[0] !== 0x89 || !ascii(bytes, 1, "PNG\r\n") || !ascii(bytes, 12, "IHDR")) {
    return undefined;
  }
  return sized(view(bytes).getUint32(16), view(bytes).getUint32(20));
}

function gifSize(bytes: Uint8Array): ImageSize | undefined {
  if (bytes.length < 10 || !ascii(bytes, 0, "GIF8")) return undefined;
  return sized(view(bytes).getUint16(6, true), view(bytes).getUint16(8, true));
}

/** RIFF container with a lossy (`VP8 `), lossless (`VP8L`) or extended (`VP8X`) first chunk. */
function webpSize(bytes: Uint8Array): ImageSize | undefined {
  if (bytes.length < 30 || !ascii(bytes, 0, "RIFF") || !ascii(bytes, 8, "WEBP")) return undefined;
  const data = view(bytes);
  if (ascii(bytes, 12, "VP8 "))
    return sized(data.getUint16(26, true) & 0x3fff, data.getUint16(28, true) & 0x3fff);
  if (ascii(bytes, 12, "VP8L")) {
    const packed = data.getUint32(21, true);
    return sized((packed & 0x3fff) + 1, ((packed >>> 14) & 0x3fff) + 1);
  }
  if (!ascii(bytes, 12, "VP8X")) return undefined;
  const uint24 = (at: number) => data.getUint16(at, true) | (data.getUint8(at + 2) << 16);
  return sized(uint24(24) + 1, uint24(27) + 1);
}

/** Walks the segments up to the start-of-frame marker (C0 to CF without C4, C8, CC). */
function jpegSize(bytes: Uint8Array): ImageSize | undefined {
  const data = view(bytes);
  let at = 2;
  while (at + 9 <= bytes.length) {
    if (bytes[at] !== 0xff) return undefined;
    const marker = bytes[at + 1] as number;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return sized(data.getUint16(at + 7), data.getUint16(at + 5));
    at += 2 + data.getUint16(at + 2);
  }
  return undefined;
}
