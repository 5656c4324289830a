import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  aligned,
  array,
  type BitFieldBase,
  be16,
  be32,
  bits,
  bool,
  bytes,
  char,
  encode,
  enumOf,
  f32,
  f64,
  type Layout,
  type Members,
  type RecordOptions,
  type StructLayout,
  s8,
  s16,
  s32,
  s64,
  struct,
  type UnionLayout,
  u8,
  u16,
  u32,
  u64,
  union,
} from "../../../src/btf/layout/index.ts";

/** A declaration of ours beside the same one in C. */
interface Case {
  readonly layout: StructLayout | UnionLayout;
  readonly c: string;
}

const inner = struct("inner", { a: u8, b: u64 });
const tight = struct("tight", { a: u8, b: u32 }, { packed: true });
const wide = struct("wide", { a: u8 }, { align: 16 });
const mode = enumOf("mode", u32, { A: 0, B: 5 });

const CASES: readonly Case[] = [
  { layout: inner, c: "struct inner { uint8_t a; uint64_t b; };" },
  { layout: tight, c: "struct tight { uint8_t a; uint32_t b; } __attribute__((packed));" },
  { layout: wide, c: "struct wide { uint8_t a; } __attribute__((aligned(16)));" },
  {
    layout: struct("event", { cpu: u32, ts: u64, comm: array(char, 16), flags: bits(u32, 3), port: be16 }),
    c: "struct event { uint32_t cpu; uint64_t ts; char comm[16]; uint32_t flags : 3; uint16_t port; };",
  },
  {
    layout: struct("nested", { x: u16, inner, tight, wide, ok: bool, mode, many: array(inner, 2), last: u8 }),
    c: "enum mode { A, B = 5 }; struct nested { uint16_t x; struct inner inner; struct tight tight; struct wide wide; _Bool ok; enum mode mode; struct inner many[2]; uint8_t last; };",
  },
  {
    layout: struct("packed_nested", { x: u8, inner, wide, y: aligned(u16, 8) }, { packed: true }),
    c: "struct packed_nested { uint8_t x; struct inner inner; struct wide wide; uint16_t y __attribute__((aligned(8))); } __attribute__((packed));",
  },
  {
    layout: struct("floats", { a: f32, b: u8, c: f64 }),
    c: "struct floats { float a; uint8_t b; double c; };",
  },
  {
    layout: union("either", { a: u8, b: array(u16, 3), c: bits(u32, 7), d: bytes(9) }),
    c: "union either { uint8_t a; uint16_t b[3]; uint32_t c : 7; uint8_t d[9]; };",
  },
  {
    layout: struct("with_union", { a: u8, u: union("u", { v4: be32, v6: bytes(16) }), b: u8 }),
    c: "struct with_union { uint8_t a; union u { uint32_t v4; uint8_t v6[16]; } u; uint8_t b; };",
  },
  {
    layout: struct("bits_start", { ihl: bits(u8, 4), version: bits(u8, 4), tos: u8, tot_len: be16 }),
    c: "struct bits_start { uint8_t ihl : 4, version : 4; uint8_t tos; uint16_t tot_len; };",
  },
  {
    layout: struct("crossing", {
      a: bits(u32, 30),
      b: bits(u32, 5),
      c: u8,
      d: bits(u64, 40),
      e: bits(s16, 9),
    }),
    c: "struct crossing { uint32_t a : 30, b : 5; uint8_t c; uint64_t d : 40; int16_t e : 9; };",
  },
  {
    layout: struct(
      "crossing_packed",
      { a: bits(u8, 3), b: bits(u32, 32), c: bits(s64, 61), d: u16 },
      { packed: true },
    ),
    c: "struct crossing_packed { uint8_t a : 3; uint32_t b : 32; int64_t c : 61; uint16_t d; } __attribute__((packed));",
  },
  {
    layout: struct("bools", { a: bits(bool, 1), b: bits(bool, 1), c: bits(mode, 3), d: bits(u8, 7) }),
    c: "struct bools { _Bool a : 1, b : 1; enum mode c : 3; uint8_t d : 7; };",
  },
];

const gcc = spawnSync("gcc", ["--version"]).error === undefined;

describe.skipIf(!gcc)("layouts are those of gcc (skipped without gcc)", () => {
  test("declared by hand", () => {
    const results = compileAndRun(CASES);
    for (const [index, { layout, c }] of CASES.entries()) expect(ours(layout), c).toEqual(results[index]);
  });

  test("generated", () => {
    const cases = fc
      .sample(generatedCase(), { numRuns: 400, seed: 20_26 })
      .map((make, index) => make(`s${index}`));
    const results = compileAndRun(cases);
    for (const [index, { layout, c }] of cases.entries()) expect(ours(layout), c).toEqual(results[index]);
  });
});

/** Size, alignment, offsets, and for each member the bytes of a struct in which all bits of that member are ones. */
interface Facts {
  readonly size: number;
  readonly align: number;
  readonly members: Readonly<Record<string, string>>;
}

function ours(layout: StructLayout | UnionLayout): Facts {
  const members = Object.fromEntries(
    Object.entries(layout.fields).map(([name, field]) => {
      const bytes = new Uint8Array(layout.size);
      const view = new DataView(bytes.buffer);
      if ("width" in field) {
        field.write(view, 0, allOnes(field.layout, field.width as number));
      } else {
        bytes.fill(0xff, field.offset, field.offset + field.size);
      }
      return [name, hex(bytes)];
    }),
  );
  return { size: layout.size, align: layout.align, members };
}

function allOnes(base: Layout, width: number): unknown {
  if (base.kind === "bool") return true;
  if ("signed" in base && base.signed === true) return -1;
  return 2n ** BigInt(width) - 1n <= 2n ** 32n ? 2 ** width - 1 : 2n ** BigInt(width) - 1n;
}

const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function compileAndRun(cases: readonly Case[]): Facts[] {
  const main = cases.map(({ layout }) => {
    const type = layout.cName;
    const members = Object.entries(layout.fields).map(([name, field]) => {
      const set = "width" in field ? `v.${name} = -1` : `memset(&v.${name}, 0xff, sizeof v.${name})`;
      return `{ ${type} v; memset(&v, 0, sizeof v); ${set}; member("${name}", &v, sizeof v); }`;
    });
    return `  printf("%zu %zu", sizeof(${type}), _Alignof(${type})); ${members.join(" ")} printf("\\n");`;
  });
  const source = [
    "#include <stdint.h>\n#include <stdio.h>\n#include <string.h>",
    ...cases.map(({ c }) => c),
    "static void member(const char *name, const void *at, size_t size) {",
    '  printf(" %s=", name); for (size_t i = 0; i < size; i++) printf("%02x", ((const uint8_t *)at)[i]);',
    "}",
    "int main(void) {",
    ...main,
    "}",
  ].join("\n");
  const folder = mkdtempSync(join(tmpdir(), "tsbpf-layout-"));
  try {
    writeFileSync(join(folder, "facts.c"), source);
    const compiled = spawnSync("gcc", ["-w", "-O0", "-o", "facts", "facts.c"], {
      cwd: folder,
      encoding: "utf8",
    });
    if (compiled.status !== 0) throw new Error(compiled.stderr);
    const { stdout } = spawnSync(join(folder, "facts"), { encoding: "utf8" });
    return stdout
      .trimEnd()
      .split("\n")
      .map((line) => {
        const [size, align, ...members] = line.split(" ");
        const pairs = members.map((member) => member.split("=") as [string, string]);
        return { size: Number(size), align: Number(align), members: Object.fromEntries(pairs) };
      });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const INTEGERS: readonly (readonly [BitFieldBase, string])[] = [
  [u8, "uint8_t"],
  [u16, "uint16_t"],
  [u32, "uint32_t"],
  [u64, "uint64_t"],
  [s8, "int8_t"],
  [s16, "int16_t"],
  [s32, "int32_t"],
  [s64, "int64_t"],
];

/** A struct or union of random members, packed or aligned now and then, in both languages. */
function generatedCase(): fc.Arbitrary<(name: string) => Case> {
  const integer = fc.constantFrom(...INTEGERS);
  const plain = integer.map(
    ([layout, c]) =>
      (name: string) =>
        [layout, `${c} ${name};`] as const,
  );
  const field = integer.chain(([layout, c]) =>
    fc
      .integer({ min: 1, max: layout.size * 8 })
      .map((width) => (name: string) => [bits(layout, width), `${c} ${name} : ${width};`] as const),
  );
  const list = fc.tuple(integer, fc.integer({ min: 1, max: 5 })).map(
    ([[layout, c], n]) =>
      (name: string) =>
        [array(layout, n), `${c} ${name}[${n}];`] as const,
  );
  const placed = fc.tuple(integer, fc.constantFrom(1, 2, 4, 8, 32)).map(
    ([[layout, c], n]) =>
      (name: string) =>
        [aligned(layout, n), `${c} ${name} __attribute__((aligned(${n})));`] as const,
  );
  const text = fc
    .integer({ min: 1, max: 9 })
    .map((n) => (name: string) => [array(char, n), `char ${name}[${n}];`] as const);
  const wire = fc.constant((name: string) => [be16, `uint16_t ${name};`] as const);
  const member = fc.oneof(
    { weight: 4, arbitrary: field },
    { weight: 3, arbitrary: plain },
    list,
    placed,
    text,
    wire,
  );
  return fc
    .record({
      members: fc.array(member, { minLength: 1, maxLength: 8 }),
      kind: fc.constantFrom("struct", "struct", "struct", "union"),
      packed: fc.constantFrom(false, false, true),
      align: fc.constantFrom(undefined, undefined, 2, 8, 16),
    })
    .map(({ members, kind, packed, align }) => (name: string) => {
      const made = members.map((make, index) => [`m${index}`, make(`m${index}`)] as const);
      const ourMembers: Members = Object.fromEntries(made.map(([key, [layout]]) => [key, layout]));
      const options: RecordOptions = align === undefined ? { packed } : { packed, align };
      const attributes = [packed ? "packed" : "", align === undefined ? "" : `aligned(${align})`].filter(
        Boolean,
      );
      const attribute = attributes.length === 0 ? "" : ` __attribute__((${attributes.join(", ")}))`;
      return {
        layout: kind === "struct" ? struct(name, ourMembers, options) : union(name, ourMembers, options),
        c: `${kind} ${name} { ${made.map(([, [, c]]) => c).join(" ")} }${attribute};`,
      };
    });
}

test("the generated structs of the comparison above are written whole by encode", () => {
  for (const make of fc.sample(generatedCase(), { numRuns: 50, seed: 7 })) {
    const { layout } = make("s");
    if (layout.kind !== "struct") continue;
    const zero = layout.read(new DataView(new ArrayBuffer(layout.size)), 0);
    const dirty = new Uint8Array(layout.size).fill(0xaa);
    layout.write(new DataView(dirty.buffer), 0, zero as never);
    expect(hex(dirty)).toBe("00".repeat(layout.size));
    expect(encode(layout as Layout, zero)).toEqual(dirty);
  }
});
