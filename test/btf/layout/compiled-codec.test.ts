// A struct that is used often gets functions of its own. What they do must be what the list of fields does, errors included.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  aligned,
  array,
  be16,
  be32,
  be64,
  bits,
  bool,
  bytes,
  char,
  decode,
  encode,
  enumOf,
  f64,
  type Layout,
  le16,
  le32,
  le64,
  padding,
  s8,
  s16,
  s32,
  s64,
  struct,
  u8,
  u16,
  u32,
  u64,
  union,
} from "../../../src/btf/layout/index.ts";

/** More often than it takes. */
const OFTEN = 1000;

const make = () =>
  struct("all", {
    ...{ u8, s8, u16, s16, be16, le16, u32, s32, be32, le32, u64, s64, be64, le64 },
    count: u64.asNumber,
    signed: s64.asNumber,
    wire: be64.asNumber,
    low: bits(u8, 3),
    high: bits(u8, 5),
    hole: padding(4),
    text: array(char, 7),
    raw: bytes(3),
    far: aligned(u16, 16),
    inner: struct("inner", { a: u8, b: u32 }),
    list: array(s16, 2),
    flag: bool,
    half: f64,
    action: enumOf("action", u32, { PASS: 2 }),
    either: union("either", { a: u32, b: u16 }),
  });

const value = {
  ...{ u8: 255, s8: -128, u16: 65535, s16: -2, be16: 80, le16: 0x1234, u32: 2 ** 32 - 1, s32: -(2 ** 31) },
  ...{ be32: 0x7f000001, le32: 1, u64: 2n ** 64n - 1n, s64: -1n, be64: 1n, le64: 2n, count: 2 ** 53 - 1 },
  ...{ signed: -5, wire: 7, low: 7, high: 31, text: "seven", raw: Uint8Array.of(1, 2, 3), far: 9 },
  ...{ inner: { a: 1, b: 2 }, list: [-1, 1], flag: true, half: 0.5, action: "PASS", either: { a: 5 } },
};

const warm = <L extends Layout>(layout: L, input: never): L => {
  for (let i = 0; i < OFTEN; i++) layout.read(new DataView(encode(layout, input).buffer), 0);
  return layout;
};

describe("a struct that is used often", () => {
  const [cold, hot] = [make(), warm(make(), value as never)];
  const write = (layout: Layout, input: unknown): Uint8Array | string => {
    const filled = new Uint8Array(layout.size + 8).fill(0xa5);
    try {
      layout.write(new DataView(filled.buffer, 4), 0, input as never);
      return filled;
    } catch (error) {
      return String(error);
    }
  };

  it("reads what it read before, byte for byte of any record", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: cold.size, maxLength: cold.size }),
        fc.boolean(),
        (record, small) => {
          // Few random 64-bit integers are ones that a number holds.
          if (small) {
            for (const member of ["count", "signed", "wire"] as const)
              record.fill(0, cold.offset[member], cold.offset[member] + 8);
          }
          const read = (layout: Layout): unknown => {
            try {
              return decode(layout, record);
            } catch (error) {
              return String(error);
            }
          };
          // Another struct that stays cold: ten reads are too few.
          expect(read(hot)).toEqual(read(make()));
        },
      ),
    );
  });

  it("writes what it wrote before, padding and reserved bytes as zero", () => {
    expect(write(hot, value)).toEqual(write(make(), value));
    expect(Buffer.from(write(hot, value) as Uint8Array).includes(0)).toBe(true);
  });

  const wrong = [
    undefined,
    null,
    -1,
    1.5,
    256,
    65536,
    2 ** 32,
    2 ** 53,
    -(2 ** 31) - 1,
    Number.NaN,
    "5",
    true,
    5n,
    -1n,
  ];
  it.each(Object.keys(value))("takes and refuses the same for %s", (name) => {
    for (const member of wrong) {
      const input = { ...value, [name]: member };
      expect(write(hot, input), `${name}: ${String(member)}`).toEqual(write(make(), input));
    }
    const { [name as "u8"]: _, ...without } = value;
    expect(write(hot, without)).toEqual(write(make(), without));
    expect(write(hot, without)).toContain(`member '${name}' is missing`);
  });

  it.each([
    ["a member too many", { ...value, other: 1 }, "there is no member 'other'"],
    ["a reserved member", { ...value, hole: 1 }, "member 'hole' is reserved"],
    ["a misspelt one", { ...value, u8: undefined, u9: 1 }, "there is no member 'u9'"],
    ["no object", 5, "5 is not an object"],
    ["null", null, "null is not an object"],
  ])("refuses %s in the same words", (_, input, message) => {
    expect(write(hot, input)).toEqual(write(make(), input));
    expect(write(hot, input)).toContain(message);
  });

  it("says which member of a record cannot be read", () => {
    const layout = warm(struct("counter", { id: u32, count: u64.asNumber }), { id: 1, count: 2 } as never);
    const record = new Uint8Array(16).fill(0xff);
    expect(() => decode(layout, record)).toThrow("counter.count");
    expect(() => layout.read(new DataView(new ArrayBuffer(8)), 0)).toThrow(RangeError);
  });

  it("respects a layout that only calls itself u32", () => {
    const doubled = { ...u32, read: (view: DataView, offset: number) => 2 * u32.read(view, offset) };
    const layout = warm(struct("odd", { a: doubled }), { a: 4 } as never);
    expect(decode(layout, encode(layout, { a: 4 }))).toEqual({ a: 8 });
  });

  it("works where code may not be made of strings", () => {
    const script = `
      import { encode, decode, struct, u32 } from ${JSON.stringify(new URL("../../../src/btf/layout/index.ts", import.meta.url).href)};
      const layout = struct("plain", { a: u32 });
      let sum = 0;
      for (let i = 0; i < ${OFTEN}; i++) sum += decode(layout, encode(layout, { a: i })).a;
      console.log(sum);`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ["--disallow-code-generation-from-strings", "--import", "tsx", "--input-type=module", "-e", script],
      { cwd: fileURLToPath(new URL("../../..", import.meta.url)), encoding: "utf8" },
    );
    expect(stderr).toBe("");
    expect(stdout).toBe(`${(OFTEN * (OFTEN - 1)) / 2}\n`);
  });
});
