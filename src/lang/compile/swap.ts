import { LITTLE_ENDIAN } from "../../base/host.ts";

/** What `be16`, `le32` and the like make of a number. */
export function swap(op: string, value: bigint, bits: number): bigint {
  if (op.startsWith("le") === LITTLE_ENDIAN) return value;
  let result = 0n;
  for (let at = 0; at < bits; at += 8) result = (result << 8n) | ((value >> BigInt(at)) & 0xffn);
  return result;
}
