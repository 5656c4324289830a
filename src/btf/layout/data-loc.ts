import type { Layout } from "./layout.ts";
import { u32 } from "./scalar.ts";

/**
 * What a tracepoint's record has in the place of a text or an array whose length differs from event to event (`__data_loc` in
 * its `format`): where it is and how many bytes it has, 16 bits each. Reads as that number.
 */
export interface DataLocLayout extends Layout<number, "data_loc"> {
  /** Where the offset counts from: the start of the record, or (`__rel_loc`, kernel 5.18) the end of this field. */
  readonly from: "record" | "field";
}

/**
 * A text of a tracepoint's record, such as the file name of `sched:sched_process_exec`: for `tracepointLayout`. Programs of the
 * language copy it with `$.copyText`.
 */
export const dataLoc: DataLocLayout = located("record");

/** {@link dataLoc}, for the fields whose `format` says `__rel_loc`. `tracepointLayout` chooses by itself. */
export const relativeDataLoc: DataLocLayout = located("field");

function located(from: DataLocLayout["from"]): DataLocLayout {
  const { size, align, cName, read, write, btf } = u32;
  return Object.freeze({ kind: "data_loc", from, size, align, cName, read, write, btf });
}
