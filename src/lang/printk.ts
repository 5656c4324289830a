import { bpf_trace_printk } from "../uapi/helpers.ts";
import { convert } from "./arithmetic.ts";
import { LangError } from "./error.ts";
import type { IrValue } from "./ir/ir.ts";
import { KINDS } from "./kind.ts";
import { constant, emit, frame, here, newSlot, type Recorder } from "./recorder.ts";
import { describe, isScalar, operandValue } from "./scalar.ts";
import { internals, type Val } from "./value.ts";
import { storeBytes } from "./view.ts";

/** A value that is printed in another base. */
export interface Hex {
  readonly hex: Val;
}

/**
 * For `$.printk`: prints a value in hexadecimal.
 *
 * @example
 * ```ts
 * const show = tc("show", ($) => {
 *   $.printk`mark=${hex($.ctx.mark)}`;
 *   return $.return(TC_ACT_UNSPEC);
 * });
 * ```
 */
export function hex(value: Val): Hex {
  return { hex: value };
}

/** Records a line for the trace pipe; values become the conversions that fit their kinds. */
export function recordPrintk(recorder: Recorder, texts: readonly string[], values: readonly unknown[]): void {
  if (values.length > 3) {
    throw new LangError(
      `$.printk prints ${values.length} values`,
      here(),
      "The kernel takes at most 3 in a line: print two lines, or hand events over in a ring buffer.",
    );
  }
  const args: IrValue[] = [];
  let format = escaped(texts[0] ?? "");
  for (const [index, given] of values.entries()) {
    const inHex = typeof given === "object" && given !== null && "hex" in given;
    const value: unknown = inHex ? (given as Hex).hex : given;
    if (typeof value === "number" || typeof value === "bigint" || typeof value === "string") {
      format += escaped(String(value)); // known now: part of the text
    } else {
      const [conversion, arg] = conversionOf(recorder, value, inHex);
      format += conversion;
      args.push(arg);
    }
    format += escaped(texts[index + 1] ?? "");
  }
  const text = new TextEncoder().encode(`${format}\0`);
  const [foreign] = /[^\x20-\x7e\t\n]/u.exec(format) ?? [];
  if (foreign !== undefined) {
    throw new LangError(
      `$.printk cannot print '${foreign}'`,
      here(),
      "The kernel takes ASCII only, without control characters.",
    );
  }
  const padded = new Uint8Array(Math.ceil(text.length / 4) * 4);
  padded.set(text);
  const slot = newSlot(recorder, "format", padded.length, 4, true);
  const region = {
    memory: "stack",
    base: frame(slot),
    size: padded.length,
    slot,
    name: "the format",
    writable: true,
    scope: recorder.scope,
    epoch: 0,
  } as const;
  storeBytes(recorder, region, 0, padded, 4);
  emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper: bpf_trace_printk },
    args: [frame(slot), constant(text.length), ...args],
    reads: ["stack"],
    writes: [],
    removable: false,
    pure: false,
    pointer: undefined,
    source: here(),
  });
}

function conversionOf(
  recorder: Recorder,
  value: unknown,
  inHex: boolean,
): [conversion: string, arg: IrValue] {
  if (!isScalar(value)) {
    throw new LangError(
      `${describe(value)} cannot be printed`,
      here(),
      "Numbers and texts can: print the fields that matter.",
    );
  }
  const { kind } = value[internals];
  const { bits, signed, order } = KINDS[kind];
  const wide = bits === 64 ? "ll" : "";
  const letter = inHex ? "x" : signed ? "d" : "u";
  const arg = operandValue(recorder, kind, value);
  const host = order === "host" ? arg : convert(recorder, kind, `u${bits}`, arg);
  return [`%${wide}${letter}`, host];
}

function escaped(text: string): string {
  return text.replaceAll("%", "%%");
}
