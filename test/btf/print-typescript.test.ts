import ts from "typescript";
import { describe, expect, test } from "vitest";
import { BtfError } from "../../src/btf/error.ts";
import { printTypeScript } from "../../src/btf/print-typescript.ts";
import { type Basics, basics } from "./fixtures.ts";

const lines = (...text: string[]): string => `${text.join("\n")}\n`;

const ROWS: readonly (readonly [what: string, (t: Basics) => number, expected: string])[] = [
  [
    "struct",
    ({ b, u8, u16, u32 }) =>
      b.struct("iphdr", 12, [
        { name: "ihl", type: u8, bitOffset: 0, bitfieldSize: 4 },
        { name: "version", type: u8, bitOffset: 4, bitfieldSize: 4 },
        { name: "size", type: b.typedef("__be16", u16), bitOffset: 16 },
        { name: "", type: b.union("", 4, [{ name: "saddr", type: u32, bitOffset: 0 }]), bitOffset: 32 },
        { name: "next", type: b.ptr(b.const(u8)), bitOffset: 64 },
      ]),
    lines(
      "/** `struct iphdr`, 12 bytes. */",
      "export const iphdr = {",
      "  /** `unsigned char`, 4 bits from bit 0 */",
      "  ihl: 0,",
      "  /** `unsigned char`, 4 bits from bit 4 */",
      "  version: 0,",
      "  /** `__be16` */",
      "  size_: 2,",
      "  /** `unsigned int` */",
      "  saddr: 4,",
      "  /** `const unsigned char *` */",
      "  next: 8,",
      "  size: 12,",
      "} as const;",
    ),
  ],
  [
    "enum",
    ({ b }) => b.enum("xdp_action", { XDP_PASS: 2, NEGATIVE: -1 }),
    lines(
      "/** `enum xdp_action` */",
      "export const xdp_action = {",
      "  XDP_PASS: 2,",
      "  NEGATIVE: -1,",
      "} as const;",
      "/** A value of `enum xdp_action`. */",
      "export type xdp_action = (typeof xdp_action)[keyof typeof xdp_action];",
    ),
  ],
  [
    "enum64 under the name of its typedef, which is a word of TypeScript",
    ({ b }) => b.typedef("bigint", b.enum64("", { HUGE: 2n ** 64n - 1n })),
    lines(
      "/** `bigint` */",
      "export const bigint_ = {",
      "  HUGE: 18446744073709551615n,",
      "} as const;",
      "/** A value of `bigint`. */",
      "export type bigint_ = (typeof bigint_)[keyof typeof bigint_];",
    ),
  ],
  [
    "names that are none in TypeScript",
    ({ b, u8 }) =>
      b.struct("a.b", 3, [
        { name: "class", type: u8, bitOffset: 0 },
        { name: "x.y", type: u8, bitOffset: 8 },
        { name: "__proto__", type: u8, bitOffset: 16 },
      ]),
    lines(
      "/** `struct a.b`, 3 bytes. */",
      "export const a_b = {",
      "  /** `unsigned char` */",
      "  class: 0,",
      "  /** `unsigned char` */",
      `  "x.y": 1,`,
      "  /** `unsigned char` */",
      `  ["__proto__"]: 2,`,
      "  size: 3,",
      "} as const;",
    ),
  ],
];

test.each(ROWS)("%s", (_, make, expected) => {
  const t = basics();
  const text = printTypeScript(t.b, make(t));
  expect(text).toBe(expected);
  const { diagnostics } = ts.transpileModule(text, { reportDiagnostics: true });
  expect(diagnostics).toEqual([]);
});

describe("what has no form in TypeScript", () => {
  test("a type that is no struct, union or enum", () => {
    const { b, u32 } = basics();
    expect(() => printTypeScript(b, u32)).toThrow("`unsigned int` is no struct, union or enum");
    expect(() => printTypeScript(b, u32)).toThrow(BtfError);
  });

  test("a type without a name", () => {
    const { b } = basics();
    expect(() => printTypeScript(b, b.struct("", 0, []))).toThrow("(struct) has no name to print it under");
  });
});
