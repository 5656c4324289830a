import { describe, expect, test } from "vitest";
import { createBtfBuilder } from "../../src/btf/builder.ts";
import { decodeBtf } from "../../src/btf/decode.ts";
import { BtfError } from "../../src/btf/error.ts";
import { allTypes, basics, everyKind } from "./fixtures.ts";

describe.each(["little", "big"] as const)("%s-endian", (byteOrder) => {
  const builder = everyKind({ byteOrder });
  const btf = decodeBtf(builder.encode());

  test("every kind comes back as it was given", () => {
    expect(allTypes(btf)).toEqual(allTypes(builder));
    expect(btf.byteOrder).toBe(byteOrder);
  });

  test("kind and name are known without decoding the type", () => {
    for (let id = 0; id < btf.typeCount; id++) {
      const type = builder.type(id);
      expect(btf.kind(id)).toBe(type.kind);
      const name = "name" in type ? type.name : "value" in type ? type.value : "";
      expect(btf.name(id)).toBe(name);
    }
  });

  test("bytes at any alignment", () => {
    const blob = builder.encode();
    for (const shift of [1, 2, 3]) {
      const shifted = new Uint8Array(blob.length + shift);
      shifted.set(blob, shift);
      expect(allTypes(decodeBtf(shifted.subarray(shift)))).toEqual(allTypes(builder));
    }
  });
});

describe("names", () => {
  test("all types of a name, by rising id, or those of one kind", () => {
    const { b, u32 } = basics();
    const struct = b.struct("thing", 0, []);
    const typedef = b.typedef("thing", struct);
    const second = b.struct("thing", 4, [{ name: "a", type: u32, bitOffset: 0 }]);
    b.declTag("thing", struct);
    const btf = decodeBtf(b.encode());
    expect(btf.ids("thing")).toEqual([struct, typedef, second]);
    expect(btf.ids("thing", "struct")).toEqual([struct, second]);
    expect(btf.ids("thing", "union")).toEqual([]);
    expect(btf.ids("thin")).toEqual([]);
    expect(btf.ids("things")).toEqual([]);
    expect(btf.ids("")).toEqual([]);
  });

  test("that are not ASCII", () => {
    const { b } = basics();
    b.int("größe", 4);
    b.int("after", 4);
    const btf = decodeBtf(b.encode());
    const [id = 0] = btf.ids("größe");
    expect(btf.name(id)).toBe("größe");
    expect(btf.name(id + 1)).toBe("after");
  });

  test("a module's type may be named by one of the kernel's strings", () => {
    const base = decodeBtf(everyKind().encode());
    const { b } = basics({ base });
    const blob = b.encode();
    // Point the first type's name at the base's string.
    const offset = base.stringsLength - 1 - "double".length;
    expect(base.string(offset)).toBe("double");
    new DataView(blob.buffer).setUint32(24, offset, true);
    const split = decodeBtf(blob, { base });
    expect(split.ids("double")).toEqual([...base.ids("double"), split.firstId]);
    expect(split.ids("doubl")).toEqual([]);
  });
});

test("the size of a pointer is that of a long", () => {
  const build = (size: number): number => {
    const { b } = basics();
    b.int("long unsigned int", size);
    return decodeBtf(b.encode()).pointerSize;
  };
  expect(build(4)).toBe(4);
  expect(build(8)).toBe(8);
  expect(decodeBtf(basics().b.encode()).pointerSize).toBe(8);
});

describe("bytes that are no BTF", () => {
  const good = (): Uint8Array => everyKind().encode();
  const patched = (...words: readonly (readonly [offset: number, word: number])[]): Uint8Array => {
    const blob = good();
    const view = new DataView(blob.buffer);
    for (const [offset, word] of words) view.setUint32(offset, word, true);
    return blob;
  };
  const withLast = (byte: number): Uint8Array => {
    const blob = good();
    blob[blob.length - 1] = byte;
    return blob;
  };
  const size = good().length;
  const typeLength = new DataView(good().buffer).getUint32(12, true);
  const rows: readonly (readonly [what: string, Uint8Array, message: string, offset: number])[] = [
    ["nothing", new Uint8Array(0), "BTF of 0 bytes is shorter than its header (24)", 0],
    ["half a header", good().subarray(0, 23), "BTF of 23 bytes is shorter than its header (24)", 0],
    ["an ELF file", patched([0, 0x464c_457f]), "no BTF: it starts with 0x457f, not 0xeb9f", 0],
    ["version 2", patched([0, 0x0002_eb9f]), "BTF version 2: only 1 is known", 2],
    ["header too short", patched([4, 20]), "BTF header of 20 bytes: it has at least 24", 4],
    ["header too long", patched([4, size + 1]), `BTF header of ${size + 1} bytes`, 4],
    [
      "types beyond the end",
      patched([12, size]),
      `BTF type section is at 24..${size + 24}, the blob has ${size}`,
      8,
    ],
    ["types at 4 GiB", patched([8, 0xffff_fffc]), "BTF type section is at 4294967316", 8],
    ["types of 2 bytes", patched([12, typeLength - 2]), "is no whole number of words", 8],
    ["strings beyond the end", patched([20, size]), "BTF string section is at", 16],
    ["no strings", patched([20, 0]), "BTF has no strings, not even the empty one", 20],
    [
      "first string not empty",
      patched([16, typeLength + 1], [20, 4]),
      "do not start with the empty one",
      24 + typeLength + 1,
    ],
    ["last string open", withLast(65), "BTF strings do not end with a NUL", size - 1],
    ["kind 0", patched([28, 0]), "BTF type of unknown kind 0", 28],
    ["kind 25", patched([28, 25 << 24]), "BTF type of unknown kind 25, and no table that tells its size", 28],
    ["types end in a type", patched([12, 8]), "BTF type section ends within a type", 24],
    [
      "more members than bytes",
      patched([28, 0x04ff_ffff]),
      "BTF struct of 201326592 bytes does not fit the",
      24,
    ],
  ];
  test.each(rows)("%s", (_, blob, message, offset) => {
    const error = catchBtfError(() => decodeBtf(blob));
    expect(error.message).toContain(message);
    expect(error.offset).toBe(offset);
  });

  const pointer = (info: number, type: number): Uint8Array => {
    const b = createBtfBuilder();
    b.ptr();
    const blob = b.encode();
    new DataView(blob.buffer).setUint32(28, info, true);
    new DataView(blob.buffer).setUint32(32, type, true);
    return blob;
  };

  // The first type is at byte 24: name, info, size or type, then what the kind adds.
  const lazy: readonly (readonly [what: string, blob: Uint8Array, message: string, offset: number])[] = [
    ["a name beyond the strings", patched([24, 0xffff_ff00]), "BTF string 4294967040 is beyond the", 24],
    ["an unknown int encoding", patched([36, 0x0300_0008]), "BTF type 1: unknown int encoding 3", 36],
    ["a reference to nowhere", pointer(0x0200_0000, 5000), "BTF type 1: refers to type 5000, there are", 32],
    ["an unknown linkage", pointer(0x0c00_0007, 1), "BTF type 1: unknown linkage 7", 28],
  ];
  test.each(lazy)("%s is found when the type is asked for", (_, blob, message, offset) => {
    const btf = decodeBtf(blob);
    const error = catchBtfError(() => btf.type(1));
    expect(error.message).toContain(message);
    expect(error.offset).toBe(offset);
  });

  test("an id that does not exist", () => {
    const btf = decodeBtf(good());
    for (const id of [btf.typeCount, -1, 0.5, Number.NaN, 2 ** 31]) {
      expect(() => btf.type(id)).toThrow(`no type has the id ${id}: there are ${btf.typeCount}`);
      expect(() => btf.kind(id)).toThrow(BtfError);
      expect(() => btf.name(id)).toThrow(BtfError);
    }
    expect(() => btf.string(1e9)).toThrow("BTF string 1000000000 is beyond the");
  });

  test("a base of the other byte order", () => {
    const base = decodeBtf(everyKind({ byteOrder: "big" }).encode());
    expect(() => decodeBtf(good(), { base })).toThrow("BTF is little-endian and its base big-endian");
  });
});

describe("Linux 7.2's table of record sizes", () => {
  // Header of 32 bytes, one int, one type of kind 21 with 4 fixed bytes and 2 elements of 8, one typedef, the table.
  const types = [
    [1, 1 << 24, 4, 32],
    [5, (21 << 24) | 2, 0, 7, 0, 0, 0, 0],
    [5, 8 << 24, 1],
  ].flat();
  const strings = Buffer.from("\0int\0new\0\0\0\0");
  const layout = Buffer.alloc(22 * 4);
  layout[21 * 4] = 4;
  layout[21 * 4 + 1] = 8;
  const build = (elementSize: number): Uint8Array => {
    layout[21 * 4 + 1] = elementSize;
    const header = [
      0x0001_eb9f,
      32,
      0,
      types.length * 4,
      types.length * 4,
      strings.length,
      types.length * 4 + strings.length,
      layout.length,
    ];
    return Buffer.concat([Buffer.from(Uint32Array.from([...header, ...types]).buffer), strings, layout]);
  };

  test("lets a reader skip a kind that it does not know", () => {
    const btf = decodeBtf(build(8));
    expect(btf.typeCount).toBe(4);
    expect(btf.kind(2)).toBe("unknown");
    expect(btf.type(3)).toEqual({ kind: "typedef", name: "new", type: 1 });
    expect(() => btf.type(2)).toThrow("BTF type 2: kind 21 came after this version of tsbpf");
  });

  test("is not trusted", () => {
    expect(() => decodeBtf(build(255))).toThrow("does not fit");
    expect(() => decodeBtf(build(7))).toThrow("does not fit");
  });
});

function catchBtfError(action: () => unknown): BtfError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(BtfError);
    return error as BtfError;
  }
  throw new Error("nothing was thrown");
}
