import { type ImageSize, imageSizeOfBase64 } from "./image-size.ts";

/** Where an image's size is unknown (an address, a file id, an unknown format): two tiles, as at the median of the recorded pictures behind addresses. */
const UNKNOWN_SIZE: ImageSize = { width: 768, height: 512 };

/** Size of the image at a `data:` address, or a usual one. */
export function imageSizeOfUrl(url: unknown): ImageSize {
  if (typeof url !== "string" || !url.startsWith("data:")) return UNKNOWN_SIZE;
  const comma = url.indexOf(",");
  return (comma === -1 ? undefined : imageSizeOfBase64(url, comma + 1)) ?? UNKNOWN_SIZE;
}

/** Size of an image given as bare base64 text, or a usual one. */
export function imageSizeOfData(data: unknown): ImageSize {
  return (typeof data === "string" ? imageSizeOfBase64(data) : undefined) ?? UNKNOWN_SIZE;
}

/** Shrinks to fit a square of `side` pixels; never enlarges. */
function fitSquare(size: ImageSize, side: number): ImageSize {
  const scale = Math.min(1, side / Math.max(size.width, size.height));
  return { width: size.width * scale, height: size.height * scale };
}

/** OpenAI's tile rule: into 2048², the shorter side to 768, then 512-pixel tiles; `low` detail costs the base only. */
export function tiledImageTokens(
  size: ImageSize,
  rule: { readonly base: number; readonly perTile: number },
  isLowDetail: boolean,
): number {
  if (isLowDetail) return rule.base;
  const inSquare = fitSquare(size, 2048);
  const scale = Math.min(1, 768 / Math.min(inSquare.width, inSquare.height));
  const tiles = Math.ceil((inSquare.width * scale) / 512) * Math.ceil((inSquare.height * scale) / 512);
  return rule.base + rule.perTile * tiles;
}

/** OpenAI's patch rule: 32-pixel patches up to a budget, times the model's multiplier. */
export function patchedImageTokens(
  size: ImageSize,
  rule: { readonly multiplier: number; readonly patchesMax: number },
): number {
  const patches = Math.ceil(size.width / 32) * Math.ceil(size.height / 32);
  return Math.ceil(Math.min(patches, rule.patchesMax) * rule.multiplier);
}

/** Anthropic's rules: width × height ÷ 750 with a longest side of 1568 and about 1,600 at most; from 4.7 on 28-pixel patches. */
export function claudeImageTokens(size: ImageSize, hasPatches: boolean): number {
  if (!hasPatches) {
    const fit = fitSquare(size, 1568);
    return Math.min(1600, Math.ceil((fit.width * fit.height) / 750));
  }
  const fit = fitSquare(size, 2576);
  return Math.min(4784, Math.ceil(fit.width / 28) * Math.ceil(fit.height / 28));
}
