import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ElfFunction, elfFunctions } from "../../src/kernel/link/elf.ts";
import { readElfFunctions } from "../../src/kernel/link/uprobe.ts";

/** A function as a symbol table has it. */
interface Symbol {
  readonly name: string;
  readonly value: number;
  readonly size?: number;
  /** Default function, defined. */
  readonly type?: number;
  readonly shndx?: number;
}

/** What to write. */
interface Fake {
  readonly wide: boolean;
  readonly little: boolean;
  readonly symbols: readonly Symbol[];
  readonly table?: "symtab" | "dynsym";
  /** Let the number of sections be in the first section's size, as in files with many. */
  readonly manySections?: boolean;
}

/** An ELF file with one segment (file offset 0x100 at address 0x5000, 0x1000 bytes) and one symbol table. */
function elf({ wide, little, symbols, table = "symtab", manySections = false }: Fake): Uint8Array {
  const bytes = new Uint8Array(0x1200);
  const view = new DataView(bytes.buffer);
  const u16 = (at: number, value: number): void => view.setUint16(at, value, little);
  const u32 = (at: number, value: number): void => view.setUint32(at, value, little);
  const word = (at: number, value: number): void =>
    wide ? view.setBigUint64(at, BigInt(value), little) : u32(at, value);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1]);
  const [phoff, shoff, symoff, stroff] = [0x80, 0x100, 0x300, 0x800];
  word(wide ? 32 : 28, phoff);
  word(wide ? 40 : 32, shoff);
  const counts = wide ? 54 : 42;
  u16(counts, wide ? 56 : 32);
  u16(counts + 2, 1);
  u16(counts + 4, wide ? 64 : 40);
  u16(counts + 6, manySections ? 0 : 3);
  u32(phoff, 1);
  word(phoff + (wide ? 8 : 4), 0x100);
  word(phoff + (wide ? 16 : 8), 0x5000);
  word(phoff + (wide ? 32 : 16), 0x1000);
  const section = (index: number, type: number, offset: number, size: number, link: number): void => {
    const at = shoff + index * (wide ? 64 : 40);
    u32(at + 4, type);
    word(at + (wide ? 24 : 16), offset);
    word(at + (wide ? 32 : 20), size);
    u32(at + (wide ? 40 : 24), link);
    word(at + (wide ? 56 : 36), wide ? 24 : 16);
  };
  const size = wide ? 24 : 16;
  section(0, 0, 0, manySections ? 3 : 0, 0);
  section(1, table === "symtab" ? 2 : 11, symoff, symbols.length * size, 2);
  section(2, 3, stroff, 0x400, 0);
  let nameAt = 1;
  symbols.forEach(({ name, value, size: length = 16, type = 2, shndx = 1 }, i) => {
    const at = symoff + i * size;
    u32(at, nameAt);
    bytes.set(new TextEncoder().encode(name), stroff + nameAt);
    nameAt += name.length + 1;
    view.setUint8(at + (wide ? 4 : 12), type | 0x10);
    u16(at + (wide ? 6 : 14), shndx);
    word(at + (wide ? 8 : 4), value);
    word(at + (wide ? 16 : 8), length);
  });
  return bytes;
}

const readerOf = (bytes: Uint8Array) => (offset: number, length: number) =>
  bytes.subarray(offset, offset + length);
const functionsOf = (bytes: Uint8Array): ElfFunction[] => [...elfFunctions(readerOf(bytes), "fake")];

describe("ELF files", () => {
  const symbols: readonly Symbol[] = [
    { name: "main", value: 0x5040, size: 32 },
    { name: "malloc@@GLIBC_2.2.5", value: 0x5080 },
    { name: "undefined", value: 0, shndx: 0 },
    { name: "variable", value: 0x5100, type: 1 },
    { name: "chosen_late", value: 0x5100, type: 10 },
    { name: "outside", value: 0x9000 },
  ];
  const expected: readonly ElfFunction[] = [
    { name: "main", offset: 0x140, size: 32 },
    { name: "malloc", offset: 0x180, size: 16 },
  ];

  test.each([
    { wide: true, little: true },
    { wide: true, little: false },
    { wide: false, little: true },
    { wide: false, little: false },
  ])("wide $wide, little-endian $little", (form) => {
    expect(functionsOf(elf({ ...form, symbols }))).toEqual(expected);
    expect(functionsOf(elf({ ...form, symbols, table: "dynsym" }))).toEqual(expected);
    expect(functionsOf(elf({ ...form, symbols, manySections: true }))).toEqual(expected);
  });

  test.each([
    ["no ELF file", new TextEncoder().encode("#!/bin/sh\n"), "fake is not an ELF file"],
    ["an empty file", new Uint8Array(0), "fake is not an ELF file"],
    [
      "a header that is cut off",
      elf({ wide: true, little: true, symbols }).subarray(0, 40),
      "fake is a damaged ELF file: its header is cut off",
    ],
    [
      "a file that is cut off",
      elf({ wide: true, little: true, symbols }).subarray(0, 0x310),
      "fake is a damaged ELF file: 1024 bytes at 2048 are not there",
    ],
  ])("%s", (_, bytes, message) => {
    expect(() => functionsOf(bytes)).toThrow(message);
  });

  test("an offset beyond anything", () => {
    const bytes = elf({ wide: true, little: true, symbols });
    bytes.fill(0xff, 40, 48);
    expect(() => functionsOf(bytes)).toThrow(
      "fake is a damaged ELF file: it has an offset of 0xffffffffffffffff",
    );
  });

  test("any bytes end in functions or in an error of ours", () => {
    const valid = elf({ wide: true, little: true, symbols });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(0x340), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (changes) => {
          const bytes = valid.slice();
          for (const [at, value] of changes) bytes[at] = value;
          try {
            for (const { offset } of functionsOf(bytes)) expect(Number.isSafeInteger(offset)).toBe(true);
          } catch (error) {
            expect((error as Error).message).toMatch(/^fake is (not an|a damaged) ELF file/);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("a real executable: Node.js has functions, where its symbols say", () => {
    const functions = readElfFunctions(process.execPath);
    const offset = functions.get("main") ?? functions.get("uv_run");
    expect(offset).toBeGreaterThan(0);
  });

  test("agrees with readelf on the C library", ({ skip }) => {
    const libc = /^.* (\/.*\/libc\.so\.6)$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[1];
    if (libc === undefined) return skip("no C library in sight");
    const symbols = tryReadelf(libc);
    if (symbols === undefined) return skip("no readelf on this machine");
    const functions = readElfFunctions(libc);
    const row = /^\s*\d+: ([0-9a-f]+)\s+\d+ FUNC\s+\w+\s+\w+\s+\d+ ([^@\s]+)/gm;
    const theirs = [...symbols.matchAll(row)].map(([, , name]) => name ?? "");
    expect(theirs.length).toBeGreaterThan(1000);
    expect(theirs.filter((name) => !functions.has(name))).toEqual([]);
  });
});

function tryReadelf(path: string): string | undefined {
  try {
    return execFileSync("readelf", ["--dyn-syms", "--wide", path], {
      encoding: "utf8",
      maxBuffer: 1 << 26,
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return undefined;
  }
}
