import { LITTLE_ENDIAN } from "../../base/host.ts";
import type { BtfBuilder } from "../../btf/builder.ts";
import { createBtfBuilder } from "../../btf/builder.ts";
import { E2BIG } from "../../uapi/errno.ts";
import { no, unknown, type Verdict } from "./answer.ts";
import { type Attempts, saidBy } from "./attempt.ts";

/** Something that the BTF of programs and maps may hold. */
export type BtfFeature =
  | "load"
  | "func"
  | "datasec"
  | "func_global"
  | "float"
  | "decl_tag"
  | "type_tag"
  | "enum64"
  | "layout";

/** How it is asked for. */
export interface BtfProbe {
  /** The kernel that brought it. */
  readonly since: string;
  /** What it is, for people. */
  readonly title: string;
  readonly probe: (attempts: Attempts) => Verdict;
}

/** Whether the kernel takes BTF with it. */
export function probeBtf(attempts: Attempts, feature: BtfFeature): Verdict {
  return BTF_FEATURES[feature].probe(attempts);
}

/** Everything about BTF that can be asked for, in the order in which it came. */
export const BTF_FEATURES: Readonly<Record<BtfFeature, BtfProbe>> = {
  load: { since: "4.18", title: "BTF can be loaded", probe: holding(() => {}) },
  func: {
    since: "5.0",
    title: "functions and their prototypes",
    probe: holding((builder, int) => builder.func("f", builder.funcProto(int))),
  },
  datasec: {
    since: "5.2",
    title: "variables and sections",
    probe: holding((builder, int) => {
      const type = builder.var("v", int);
      builder.datasec(".data", 4, [{ type, offset: 0, size: 4 }]);
    }),
  },
  func_global: {
    since: "5.6",
    title: "global functions",
    probe: holding((builder, int) => builder.func("f", builder.funcProto(int), "global")),
  },
  float: { since: "5.13", title: "floating point", probe: holding((builder) => builder.float("float", 4)) },
  decl_tag: {
    since: "5.16",
    title: "tags on declarations",
    probe: holding((builder, int) => {
      builder.declTag("tag", builder.struct("s", 4, [{ name: "m", type: int, bitOffset: 0 }]));
    }),
  },
  type_tag: {
    since: "5.17",
    title: "tags on types",
    probe: holding((builder, int) => builder.ptr(builder.typeTag("tag", int))),
  },
  enum64: {
    since: "6.0",
    title: "enumerations of 64 bits",
    probe: holding((builder) => builder.enum64("e", { big: 1n << 40n })),
  },
  layout: {
    since: "7.1",
    title: "layout section, which tells the size of unknown kinds",
    probe: probeLayout,
  },
};

function holding(build: (builder: BtfBuilder, int: number) => unknown): BtfProbe["probe"] {
  return (attempts) =>
    attempts.conclude(attempts.btf((builder) => void build(builder, builder.int("int", 4, "signed"))));
}

/**
 * Loads BTF whose header has the two fields of the layout section. A kernel that does not know them refuses fields that
 * are not zero with E2BIG; what else it says is about the section, and about it alone.
 */
function probeLayout(attempts: Attempts): Verdict {
  const attempt = attempts.btf(withLayout());
  if (attempt.result === -E2BIG) return no(saidBy(attempt));
  const verdict = attempts.conclude(attempt);
  return verdict.answer === "no" ? unknown(`the kernel reads the section, and ${saidBy(attempt)}`) : verdict;
}

/**
 * `struct btf_header` with `layout_off` and `layout_len`, and one record of four bytes for each kind behind the strings;
 * there may be no gap between sections, so that the strings get zeros at their end.
 */
function withLayout(): Uint8Array {
  const builder = createBtfBuilder({ byteOrder: LITTLE_ENDIAN ? "little" : "big" });
  builder.int("int", 4, "signed");
  const plain = builder.encode();
  const body = plain.subarray(OLD_HEADER);
  const layoutAt = Math.ceil(body.length / 4) * 4;
  const bytes = new Uint8Array(NEW_HEADER + layoutAt + RECORDS.length * 4);
  bytes.set(plain.subarray(0, OLD_HEADER));
  bytes.set(body, NEW_HEADER);
  const view = new DataView(bytes.buffer);
  const strings = view.getUint32(STR_OFF, LITTLE_ENDIAN);
  view.setUint32(HDR_LEN, NEW_HEADER, LITTLE_ENDIAN);
  view.setUint32(STR_LEN, layoutAt - strings, LITTLE_ENDIAN);
  view.setUint32(LAYOUT_OFF, layoutAt, LITTLE_ENDIAN);
  view.setUint32(LAYOUT_LEN, RECORDS.length * 4, LITTLE_ENDIAN);
  bytes.set(
    RECORDS.flatMap(([info, element]) => [info, element, 0, 0]),
    NEW_HEADER + layoutAt,
  );
  return bytes;
}

// struct btf_header; offsets in it count from its end.
const HDR_LEN = 4;
const STR_OFF = 16;
const STR_LEN = 20;
const LAYOUT_OFF = 24;
const LAYOUT_LEN = 28;
const OLD_HEADER = 24;
const NEW_HEADER = 32;

/** Bytes behind `struct btf_type`, and bytes of each element, by kind: none (0), int (1), ptr (2), ... enum64 (19). */
const RECORDS: readonly (readonly [info: number, element: number])[] = [
  [0, 0],
  [4, 0],
  [0, 0],
  [12, 0],
  [0, 12],
  [0, 12],
  [0, 8],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 8],
  [4, 0],
  [0, 12],
  [0, 0],
  [4, 0],
  [0, 0],
  [0, 12],
];
