/** IPv4 addresses as people write them, and as they lie in a packet. */
import { isIPv4 } from "node:net";
import { UsageError } from "./run.ts";

/** The four bytes of an address, in the order of the wire. */
export function parseAddress(text: string): Uint8Array {
  if (!isIPv4(text)) throw new UsageError(`'${text}' is not an IPv4 address`);
  return Uint8Array.from(text.split("."), Number);
}

/** An address, and how many of its bits count: `10.0.0.0/8`, `10.0.0.1` (all 32). */
export function parsePrefix(text: string): { readonly address: Uint8Array; readonly bits: number } {
  const [address = "", bits = "32", ...more] = text.split("/");
  if (!/^\d+$/.test(bits) || Number(bits) > 32 || more.length > 0) {
    throw new UsageError(`'${text}' is not an IPv4 prefix such as 10.0.0.0/8`);
  }
  return { address: parseAddress(address), bits: Number(bits) };
}
