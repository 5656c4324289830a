/** A number with its sign, as C's `%+d` prints it. */
export function signed(value: number): string {
  return value < 0 ? `${value}` : `+${value}`;
}

/** A number as C's `%#x` prints it, but `0x0` for 0. */
export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

/** The 64 bits of two 32-bit halves, as {@link hex}. */
export function hex64(low: number, high: number): string {
  const lower = (low >>> 0).toString(16);
  return high === 0 ? `0x${lower}` : `${hex(high)}${lower.padStart(8, "0")}`;
}
