import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createBtfBuilder } from "../../src/btf/builder.ts";
import { typeName } from "../../src/btf/c-declarator.ts";
import { createTypeCopier, mergeBtf } from "../../src/btf/copy.ts";
import { type Btf, decodeBtf } from "../../src/btf/decode.ts";
import { BtfError } from "../../src/btf/error.ts";
import { alignOf, flatMembers, getType, resolve, sizeOf, structInfo } from "../../src/btf/lookup.ts";
import { printC } from "../../src/btf/print-c.ts";
import { printTypeScript } from "../../src/btf/print-typescript.ts";
import { everyKind, hasVmlinux, vmlinux } from "./fixtures.ts";

/** Asks everything there is to ask. Nothing but a BtfError may come of it. */
function interrogate(bytes: Uint8Array): void {
  const btf = attempt(() => decodeBtf(bytes));
  if (btf === undefined) return;
  for (let id = 0; id < btf.typeCount; id++) {
    attempt(() => btf.type(id));
    attempt(() => btf.kind(id));
    attempt(() => btf.ids(btf.name(id)));
    attempt(() => typeName(btf, id));
    attempt(() => resolve(btf, id));
    attempt(() => sizeOf(btf, id));
    attempt(() => alignOf(btf, id));
    attempt(() => fields(btf, id));
    attempt(() => printC(btf, id));
    attempt(() => printTypeScript(btf, id));
    attempt(() => createTypeCopier(btf, createBtfBuilder(), { pointedTo: "declare" })(id));
  }
  attempt(() => btf.pointerSize);
  attempt(() => mergeBtf(createBtfBuilder(), btf));
}

function fields(btf: Btf, id: number): void {
  const info = structInfo(btf, id);
  for (const { name } of flatMembers(btf, id)) attempt(() => info.field(name));
  info.has("no.such[1].path");
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof BtfError)) throw error;
    return undefined;
  }
}

const change = fc.record({ at: fc.nat(), byte: fc.nat(255) });

function mutated(blob: Uint8Array, changes: readonly { at: number; byte: number }[]): Uint8Array {
  const copy = blob.slice();
  for (const { at, byte } of changes) copy[at % copy.length] = byte;
  return copy;
}

describe("any bytes", () => {
  test("random ones", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), interrogate));
  });

  test("random records behind a good header", () => {
    const word = fc.oneof(
      fc.nat(40),
      fc.nat(0xffff_ffff),
      fc
        .tuple(fc.nat(22), fc.nat(5), fc.boolean())
        .map(([kind, vlen, flag]) => ((flag ? 2 ** 31 : 0) + kind * 2 ** 24 + vlen) >>> 0),
    );
    const strings = [0, 97, 0, 98, 99, 0];
    fc.assert(
      fc.property(fc.array(word, { maxLength: 120 }), (words) => {
        const header = [0x0001_eb9f, 24, 0, words.length * 4, words.length * 4, strings.length];
        const blob = Buffer.concat([
          Buffer.from(Uint32Array.from([...header, ...words]).buffer),
          Buffer.from(strings),
        ]);
        interrogate(blob);
      }),
      { numRuns: 2000 },
    );
  });

  test("a good blob with a few bytes changed", () => {
    const blob = everyKind().encode();
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) =>
        interrogate(mutated(blob, changes)),
      ),
      { numRuns: 200 },
    );
  });

  test("a good blob with one reference turned to any other type", () => {
    const blob = everyKind().encode();
    const count = decodeBtf(blob).typeCount;
    const typeWords = (new DataView(blob.buffer).getUint32(12, true) / 4) | 0;
    fc.assert(
      fc.property(fc.nat(typeWords - 1), fc.nat(count), (word, id) => {
        const copy = blob.slice();
        new DataView(copy.buffer).setUint32(24 + word * 4, id, true);
        interrogate(copy);
      }),
      { numRuns: 200 },
    );
  });

  test("a good blob cut off anywhere", () => {
    const blob = everyKind().encode();
    for (let length = 0; length < blob.length; length++) {
      expect(() => decodeBtf(blob.subarray(0, length))).toThrow(BtfError);
    }
  });

  test.runIf(hasVmlinux)("a piece of the kernel's BTF with bytes changed", () => {
    const b = createBtfBuilder();
    createTypeCopier(vmlinux(), b, { pointedTo: "declare" })(getType(vmlinux(), "struct", "sk_buff").id);
    const blob = b.encode();
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), (changes) =>
        interrogate(mutated(blob, changes)),
      ),
      { numRuns: 60 },
    );
  });
});

describe("small blobs that stand for large things come to an end", () => {
  // One name of 1 MiB, shared by every member of a struct of 60,000.
  test("a long name in many places", () => {
    const name = "n".repeat(1 << 20);
    const members = 60_000;
    const words = [1, 0x0400_0000 + members, 8];
    for (let index = 0; index < members; index++) words.push(1, 2, 0);
    words.push(1, 1 << 24, 4, 32);
    const strings = Buffer.from(`\0${name}\0`);
    const header = [0x0001_eb9f, 24, 0, words.length * 4, words.length * 4, strings.length];
    const blob = Buffer.concat([Buffer.from(Uint32Array.from([...header, ...words]).buffer), strings]);
    expect(() => decodeBtf(blob).type(1)).toThrow("name of 1048576 characters, the kernel takes 511");
    interrogate(blob);
  });

  test("a chain of 100,000 typedefs", () => {
    const words: number[] = [];
    for (let id = 1; id <= 100_000; id++) words.push(1, 8 << 24, id + 1);
    words.push(1, 1 << 24, 4, 32);
    const strings = Buffer.from("\0t\0");
    const header = [0x0001_eb9f, 24, 0, words.length * 4, words.length * 4, strings.length];
    const btf = decodeBtf(
      Buffer.concat([Buffer.from(Uint32Array.from([...header, ...words]).buffer), strings]),
    );
    expect(() => sizeOf(btf, 1)).toThrow("type 1 is a chain of more than 64 typedefs and qualifiers");
    expect(() => printC(btf, 1)).toThrow(BtfError);
    expect(typeName(btf, 1)).toBe("t");
    expect(mergeBtf(createBtfBuilder(), btf)).toHaveLength(btf.typeCount);
    expect(btf.ids("t")).toHaveLength(btf.typeCount - 1);
  });
});
