import fc from "fast-check";
import { expect, test } from "vitest";
import { type BtfBuilder, createBtfBuilder } from "../../src/btf/builder.ts";
import { mergeBtf } from "../../src/btf/copy.ts";
import { decodeBtf } from "../../src/btf/decode.ts";
import type { BtfType } from "../../src/btf/type.ts";
import { allTypes } from "./fixtures.ts";

/** A recipe for a type from the ids that exist: numbers in it are taken modulo what there is to choose from. */
type Recipe = (b: BtfBuilder) => BtfType;

const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,12}$/);
const optionalName = fc.oneof(name, fc.constant(""));
const u32 = fc.nat(0xffff_ffff);
const anyId = (pick: number) => (b: BtfBuilder) => pick % b.typeCount;
/** What const and typedef may stand before. */
const untaggedId =
  (pick: number) =>
  (b: BtfBuilder): number => {
    const id = anyId(pick)(b);
    return b.type(id).kind === "typeTag" ? 0 : id;
  };
const protoId = (b: BtfBuilder): number => b.funcProto(anyId(1)(b), [{ name: "a", type: sizedId(2)(b) }]);
const sizedId = (pick: number) => (b: BtfBuilder) =>
  b.typeCount === 1 ? b.int("seed", 4) : 1 + (pick % (b.typeCount - 1));

const recipe: fc.Arbitrary<Recipe> = fc.oneof(
  fc
    .record({
      name,
      size: fc.constantFrom(1, 2, 4, 8, 16),
      encoding: fc.constantFrom("unsigned", "signed", "char", "bool"),
    })
    .map(
      ({ name, size, encoding }): Recipe =>
        () => ({ kind: "int", name, size, encoding, bits: size * 8, bitOffset: 0 }),
    ),
  fc.tuple(fc.constantFrom("ptr", "const", "volatile", "restrict"), fc.nat()).map(
    ([kind, pick]): Recipe =>
      (b) => ({
        kind,
        type: (kind === "ptr" ? anyId : untaggedId)(pick)(b),
      }),
  ),
  fc.tuple(name, fc.nat()).map(
    ([name, pick]): Recipe =>
      (b) => ({
        kind: "typedef",
        name,
        type: untaggedId(pick)(b),
      }),
  ),
  fc.tuple(fc.nat(), fc.nat(), u32).map(
    ([element, index, length]): Recipe =>
      (b) => ({
        kind: "array",
        type: sizedId(element)(b),
        indexType: sizedId(index)(b),
        length,
      }),
  ),
  fc
    .tuple(
      optionalName,
      fc.array(fc.tuple(optionalName, fc.nat(), fc.nat(200), fc.nat(12)), { maxLength: 6 }),
    )
    .map(
      ([name, fields]): Recipe =>
        (b) => {
          let at = 0;
          const members = fields.map(([name, pick, gap, bitfieldSize]) => {
            at += gap;
            return { name, type: sizedId(pick)(b), bitOffset: at, bitfieldSize };
          });
          return { kind: "struct", name, size: Math.ceil(at / 8) + 8, members };
        },
    ),
  fc.tuple(optionalName, u32, fc.array(fc.tuple(name, fc.nat()), { maxLength: 4 })).map(
    ([name, size, fields]): Recipe =>
      (b) => ({
        kind: "union",
        name,
        size,
        members: fields.map(([name, pick]) => ({
          name,
          type: sizedId(pick)(b),
          bitOffset: 0,
          bitfieldSize: 0,
        })),
      }),
  ),
  fc.tuple(optionalName, fc.array(fc.tuple(name, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })))).map(
    ([name, values]): Recipe =>
      () => ({
        kind: "enum",
        name,
        size: 4,
        signed: true,
        values: values.map(([name, value]) => ({ name, value })),
      }),
  ),
  fc.tuple(optionalName, fc.array(fc.tuple(name, u32))).map(
    ([name, values]): Recipe =>
      () => ({
        kind: "enum",
        name,
        size: 4,
        signed: false,
        values: values.map(([name, value]) => ({ name, value })),
      }),
  ),
  fc.tuple(optionalName, fc.boolean(), fc.array(fc.tuple(name, fc.bigInt(0n, 2n ** 64n - 1n)))).map(
    ([name, signed, values]): Recipe =>
      () => ({
        kind: "enum64",
        name,
        size: 8,
        signed,
        values: values.map(([name, value]) => ({ name, value: signed ? BigInt.asIntN(64, value) : value })),
      }),
  ),
  fc.tuple(name, fc.constantFrom("struct", "union")).map(
    ([name, of]): Recipe =>
      () => ({ kind: "fwd", name, of }),
  ),
  fc.tuple(fc.nat(), fc.array(fc.tuple(optionalName, fc.nat()), { maxLength: 5 }), fc.boolean()).map(
    ([returns, params, variadic]): Recipe =>
      (b) => ({
        kind: "funcProto",
        type: anyId(returns)(b),
        params: params.map(([name, pick]) => ({ name, type: sizedId(pick)(b) })),
        variadic,
      }),
  ),
  fc.tuple(fc.constantFrom("func", "var"), name, fc.nat(), fc.constantFrom("static", "global", "extern")).map(
    ([kind, name, pick, linkage]): Recipe =>
      (b) => ({
        kind,
        name,
        type: kind === "func" ? protoId(b) : sizedId(pick)(b),
        linkage,
      }),
  ),
  fc.tuple(name, fc.array(fc.tuple(fc.nat(), fc.nat(8), fc.nat(8)), { maxLength: 4 })).map(
    ([name, variables]): Recipe =>
      (b) => {
        let end = 0;
        const entries = variables.map(([pick, gap, size]) => {
          const offset = end + gap;
          end = offset + size + 1;
          return { type: sizedId(pick)(b), offset, size: size + 1 };
        });
        return { kind: "datasec", name: `.${name}`, size: end + 1, entries };
      },
  ),
  fc.tuple(name, fc.constantFrom(2, 4, 8, 12, 16)).map(
    ([name, size]): Recipe =>
      () => ({
        kind: "float",
        name,
        size,
      }),
  ),
  fc
    .tuple(fc.string({ minLength: 1, maxLength: 8 }), fc.nat(), fc.integer({ min: -1, max: 9 }), fc.boolean())
    .map(
      ([text, pick, component, attribute]): Recipe =>
        (b) => ({
          kind: "declTag",
          value: text.replaceAll("\0", "0"),
          type: sizedId(pick)(b),
          component,
          attribute,
        }),
    ),
  fc.tuple(name, fc.nat(), fc.boolean()).map(
    ([value, pick, attribute]): Recipe =>
      (b) => ({
        kind: "typeTag",
        value,
        type: anyId(pick)(b),
        attribute,
      }),
  ),
);

const program = fc.array(recipe, { maxLength: 40 });
const byteOrder = fc.constantFrom("little", "big");

test("what is built is what is read, in either byte order", () => {
  fc.assert(
    fc.property(program, byteOrder, (recipes, byteOrder) => {
      const b = createBtfBuilder({ byteOrder });
      const ids = recipes.map((make) => b.add(make(b)));
      const btf = decodeBtf(b.encode());
      expect(allTypes(btf)).toEqual(allTypes(b));
      for (const id of ids) {
        const name = btf.name(id);
        const isTag = ["declTag", "typeTag"].includes(btf.kind(id));
        expect(btf.ids(name).includes(id)).toBe(name !== "" && !isTag);
      }
    }),
    { numRuns: 300 },
  );
});

test("split from its base", () => {
  fc.assert(
    fc.property(program, program, (first, second) => {
      const lower = createBtfBuilder();
      for (const make of first) lower.add(make(lower));
      const base = decodeBtf(lower.encode());
      const b = createBtfBuilder({ base });
      for (const make of second) b.add(make(b));
      const split = decodeBtf(b.encode(), { base });
      expect(allTypes(split)).toEqual(allTypes(b));
    }),
    { numRuns: 200 },
  );
});

test("what is read and merged into an empty builder is the same again", () => {
  fc.assert(
    fc.property(program, (recipes) => {
      const b = createBtfBuilder();
      for (const make of recipes) b.add(make(b));
      const btf = decodeBtf(b.encode());
      const copy = createBtfBuilder();
      const ids = mergeBtf(copy, btf);
      expect(copy.typeCount).toBe(btf.typeCount);
      expect(new Set(ids).size).toBe(btf.typeCount);
      const back = createBtfBuilder();
      const backIds = mergeBtf(back, decodeBtf(copy.encode()));
      for (let id = 0; id < btf.typeCount; id++) {
        expect(back.type(backIds[ids[id] ?? -1] ?? -1).kind).toBe(btf.type(id).kind);
      }
    }),
    { numRuns: 200 },
  );
});
