import { BlockList, isIP } from "node:net";

/** IPv4 that is nobody's in the internet (IANA's registry of special-purpose addresses), and multicast. */
const SPECIAL_V4: readonly (readonly [address: string, prefixBits: number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
];
/** Of IPv6 only this is the internet … */
const GLOBAL_V6 = ["2000::", 3] as const;
/** … but for protocols, tunnels that lead to any IPv4 address, and examples. */
const SPECIAL_V6: readonly (readonly [address: string, prefixBits: number])[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

const special = new BlockList();
for (const [address, bits] of SPECIAL_V4) special.addSubnet(address, bits, "ipv4");
for (const [address, bits] of SPECIAL_V6) special.addSubnet(address, bits, "ipv6");
const global = new BlockList();
global.addSubnet(...GLOBAL_V6, "ipv6");

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** Whether an address is one of the internet's, not of this machine, its network or its cloud (where `169.254.169.254` gives away credentials). */
export function isPublicAddress(address: string): boolean {
  const plain = MAPPED.exec(address)?.[1] ?? address;
  switch (isIP(plain)) {
    case 4:
      return !special.check(plain, "ipv4");
    case 6:
      return global.check(plain, "ipv6") && !special.check(plain, "ipv6");
    default:
      return false;
  }
}
