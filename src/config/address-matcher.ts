import { BlockList, isIP } from "node:net";

/** Whether a socket's remote address is in one of the ranges. */
export type AddressMatcher = (address: string | undefined) => boolean;

export const CIDR_ALLOWED =
  "an address or a range in CIDR notation, such as 127.0.0.1/32, 10.0.0.0/8 or fd00::/8";

interface Range {
  readonly address: string;
  readonly prefixBits: number;
  readonly family: "ipv4" | "ipv6";
}

/** `undefined` for what is not a range. An address alone is a range of one. */
export function parseCidr(text: string): Range | undefined {
  const [address, prefix, ...rest] = text.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return undefined;
  const bitsMax = version === 4 ? 32 : 128;
  if (prefix !== undefined && !/^\d{1,3}$/.test(prefix)) return undefined;
  const prefixBits = prefix === undefined ? bitsMax : Number(prefix);
  if (prefixBits > bitsMax) return undefined;
  return { address, prefixBits, family: version === 4 ? "ipv4" : "ipv6" };
}

/** `ranges` are ones that `parseCidr` understands. An IPv4 address that comes as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address. */
export function addressMatcher(ranges: readonly string[]): AddressMatcher {
  const list = new BlockList();
  for (const range of ranges) {
    const parsed = parseCidr(range);
    if (parsed === undefined)
      throw new Error("assertion failed: ranges are checked before they are compiled");
    list.addSubnet(parsed.address, parsed.prefixBits, parsed.family);
  }
  return (address) => {
    if (address === undefined) return false;
    const plain =
      address.toLowerCase().startsWith("::ffff:") && isIP(address.slice(7)) === 4
        ? address.slice(7)
        : address;
    const version = isIP(plain);
    return version !== 0 && list.check(plain, version === 4 ? "ipv4" : "ipv6");
  };
}
