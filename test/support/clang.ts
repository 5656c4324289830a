/** Compiles C for BPF, and makes a {@link Program} of the object file: what the language's programs are compared with. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "../../src/asm/decode.ts";
import { LDDW, wordsOf } from "../../src/asm/encode.ts";
import type { Insn } from "../../src/asm/insn.ts";
import type { MapDef } from "../../src/asm/map-def.ts";
import { isShortJump, opOf } from "../../src/asm/opcode.ts";
import {
  type Blocks,
  type Program,
  type ProgramOptions,
  type ProgTypeName,
  program,
  type Subprogram,
  subprogram,
} from "../../src/asm/program.ts";
import {
  BPF_CALL,
  BPF_EXIT,
  BPF_JA,
  BPF_JMP,
  BPF_JMP32,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_MAP_FD,
} from "../../src/uapi/bpf.ts";

/** A clang on this machine. */
export interface Clang {
  readonly path: string;
  readonly version: number;
}

/** The newest clang on the PATH that compiles for BPF. */
export function findClang(): Clang | undefined {
  const directories = (process.env["PATH"] ?? "").split(":").filter((directory) => directory !== "");
  const names = directories.flatMap((directory) =>
    filesOf(directory).filter((n) => /^clang(-\d+)?$/.test(n)),
  );
  const found = [...new Set(names)].flatMap((path) => {
    const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
    const version = /clang version (\d+)/.exec(stdout ?? "")?.[1];
    return version === undefined ? [] : [{ path, version: Number(version) }];
  });
  return found.toSorted((a, b) => b.version - a.version).find(compilesForBpf);
}

/** What to compile for. */
export interface CompileOptions {
  /** Instruction set, as `-mcpu` takes it. Default `v3`. */
  readonly cpu?: "v3" | "v4";
  /** Further arguments. */
  readonly args?: readonly string[];
}

/** Compiles a C file with `-O2`: the object file. Any warning is an error. */
export function compileC(clang: Clang, file: string, options: CompileOptions = {}): Uint8Array {
  const { cpu = "v3", args = [] } = options;
  const directory = mkdtempSync(join(tmpdir(), "tsbpf-clang-"));
  try {
    const object = join(directory, "program.o");
    const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "--target=bpfel", `-mcpu=${cpu}`, ...args];
    const { status, stderr } = spawnSync(clang.path, [...flags, "-c", file, "-o", object], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${clang.path} does not compile ${file}:\n${stderr}`);
    return readFileSync(object);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What an object file does not tell. */
export interface ObjectOptions<Type extends ProgTypeName> extends ProgramOptions {
  readonly type: Type;
  /** The function that the kernel enters. */
  readonly entry: string;
  /** The maps that it may name: undefined symbols are looked up here. */
  readonly maps: readonly MapDef[];
}

/**
 * Makes a program of an object file: the entry function and what it calls, out of `.text`, instruction by instruction as
 * clang wrote them.
 *
 * It knows what the C programs of the tests use: maps that are not defined in the object, and calls of functions that are.
 * Everything else (global data, CO-RE, callbacks) throws.
 */
export function programOfObject<Type extends ProgTypeName>(
  object: Uint8Array,
  options: ObjectOptions<Type>,
): Program<Type> {
  const { type, entry, maps, ...rest } = options;
  const code = readCode(object, maps);
  const blocks = blocksOf(code, entry) as Blocks as never; // the types know nothing of what clang wrote
  return program(type, entry, blocks, rest);
}

// Object file to instructions.

/** A function in `.text`; offsets in instruction words. */
interface CFunction {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** `.text`: instructions by their offset in words, with the maps put in. */
interface Code {
  readonly insns: ReadonlyMap<number, Insn>;
  readonly functions: readonly CFunction[];
  /** Functions that are called, by name: each becomes one subprogram. */
  readonly subprograms: Map<string, Subprogram>;
}

function readCode(object: Uint8Array, maps: readonly MapDef[]): Code {
  const sections = readSections(object);
  const text = sections.find(({ name }) => name === ".text");
  const symbols = readSymbols(sections);
  if (text === undefined) throw new Error("the object has no .text");
  const index = sections.indexOf(text);
  const functions = symbols
    .filter((symbol) => symbol.section === index && (symbol.info & 0xf) === STT_FUNC)
    .map(({ name, value, size }) => ({ name, start: value / 8, end: (value + size) / 8 }));
  const insns = new Map<number, Insn>();
  let offset = 0;
  for (const insn of decode(text.bytes)) {
    insns.set(offset, insn);
    offset += wordsOf(insn);
  }
  for (const section of sections.filter(({ type, info }) => type === SHT_REL && info === index)) {
    const view = viewOf(section.bytes);
    for (let at = 0; at < section.bytes.length; at += 16) {
      const word = Number(view.getBigUint64(at, true)) / 8;
      const symbol = symbols[view.getUint32(at + 12, true)];
      const insn = insns.get(word);
      if (insn === undefined || symbol === undefined) throw new Error(`a relocation of nothing at ${word}`);
      insns.set(word, relocate(insn, view.getUint32(at + 8, true), symbol, maps));
    }
  }
  return { insns, functions, subprograms: new Map() };
}

function relocate(insn: Insn, type: number, symbol: ElfSymbol, maps: readonly MapDef[]): Insn {
  const map = maps.find(({ name }) => name === symbol.name);
  if (type !== R_BPF_64_64 || insn.code !== LDDW || symbol.section !== SHN_UNDEF || map === undefined) {
    throw new Error(`cannot relocate '${symbol.name}' (type ${type}, section ${symbol.section})`);
  }
  return {
    ...insn,
    src_reg: BPF_PSEUDO_MAP_FD,
    imm: 0,
    next_imm: 0,
    ref: { kind: "map", map, value: false },
  };
}

// Instructions to blocks with labels.

function blocksOf(code: Code, name: string): Blocks {
  const fn = code.functions.find((candidate) => candidate.name === name);
  if (fn === undefined) throw new Error(`the object has no function '${name}'`);
  const body = [...code.insns].filter(([offset]) => offset >= fn.start && offset < fn.end);
  const leaders = new Set(body.flatMap(([offset, insn]) => leadersOf(offset, insn)));
  const blocks: Record<string, Insn[]> = {};
  let block: Insn[] = [];
  blocks["entry"] = block;
  for (const [offset, insn] of body) {
    if (leaders.has(offset)) {
      block = [];
      blocks[labelOf(offset)] = block;
    }
    block.push(withLabels(code, offset, insn));
  }
  return blocks;
}

/** Where blocks begin because of an instruction: where it jumps to, and behind it. */
function leadersOf(offset: number, insn: Insn): readonly number[] {
  const target = targetOf(offset, insn);
  const ends = target !== undefined || insn.code === (BPF_JMP | BPF_EXIT);
  return [target, ends ? offset + 1 : undefined].filter((leader) => leader !== undefined);
}

/** Where a jump goes. */
function targetOf(offset: number, { code, off, imm }: Insn): number | undefined {
  if (isShortJump(code)) return offset + 1 + off;
  return code === (BPF_JMP32 | BPF_JA) ? offset + 1 + imm : undefined;
}

function withLabels(code: Code, offset: number, insn: Insn): Insn {
  const target = targetOf(offset, insn);
  if (target !== undefined) {
    const ref = { kind: "label", name: labelOf(target) } as const;
    return isShortJump(insn.code) ? { ...insn, off: 0, ref } : { ...insn, imm: 0, ref };
  }
  if (opOf(insn.code) !== BPF_CALL || (insn.code & 0x07) !== BPF_JMP || insn.src_reg !== BPF_PSEUDO_CALL) {
    return insn;
  }
  const callee = code.functions.find(({ start }) => start === offset + 1 + insn.imm);
  if (callee === undefined) throw new Error(`the call at ${offset} is of no function`);
  return { ...insn, imm: -1, ref: { kind: "subprogram", subprogram: subprogramOf(code, callee.name) } };
}

function subprogramOf(code: Code, name: string): Subprogram {
  const known = code.subprograms.get(name);
  if (known !== undefined) return known;
  const made = subprogram(name, blocksOf(code, name) as Blocks as never);
  code.subprograms.set(name, made);
  return made;
}

function labelOf(offset: number): string {
  return `L${offset}`;
}

// ELF, as much of it as clang's objects for BPF need (System V ABI, chapter 4; Linux, Documentation/bpf/llvm_reloc.rst).

const SHT_REL = 9;
const SHN_UNDEF = 0;
const STT_FUNC = 2;
const R_BPF_64_64 = 1;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly link: number;
  readonly info: number;
  readonly bytes: Uint8Array;
}

interface ElfSymbol {
  readonly name: string;
  readonly info: number;
  readonly section: number;
  readonly value: number;
  readonly size: number;
}

function readSections(object: Uint8Array): readonly Section[] {
  const view = viewOf(object);
  const start = Number(view.getBigUint64(0x28, true));
  const headers = Array.from({ length: view.getUint16(0x3c, true) }, (_, index) => {
    const at = start + index * view.getUint16(0x3a, true);
    const offset = Number(view.getBigUint64(at + 0x18, true));
    return {
      nameOffset: view.getUint32(at, true),
      type: view.getUint32(at + 4, true),
      link: view.getUint32(at + 0x28, true),
      info: view.getUint32(at + 0x2c, true),
      bytes: object.subarray(offset, offset + Number(view.getBigUint64(at + 0x20, true))),
    };
  });
  const names = headers[view.getUint16(0x3e, true)]?.bytes ?? new Uint8Array();
  return headers.map(({ nameOffset, ...header }) => ({ name: textAt(names, nameOffset), ...header }));
}

function readSymbols(sections: readonly Section[]): readonly ElfSymbol[] {
  const table = sections.find(({ name }) => name === ".symtab");
  const names = sections[table?.link ?? 0]?.bytes ?? new Uint8Array();
  if (table === undefined) throw new Error("the object has no symbols");
  const view = viewOf(table.bytes);
  return Array.from({ length: table.bytes.length / 24 }, (_, index) => ({
    name: textAt(names, view.getUint32(index * 24, true)),
    info: view.getUint8(index * 24 + 4),
    section: view.getUint16(index * 24 + 6, true),
    value: Number(view.getBigUint64(index * 24 + 8, true)),
    size: Number(view.getBigUint64(index * 24 + 16, true)),
  }));
}

function textAt(bytes: Uint8Array, offset: number): string {
  return Buffer.from(bytes.subarray(offset, bytes.indexOf(0, offset))).toString("latin1");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function filesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // not every directory of a PATH exists
  }
}

function compilesForBpf({ path }: Clang): boolean {
  const { status } = spawnSync(path, ["--target=bpfel", "-x", "c", "-c", "-", "-o", "/dev/null"], {
    input: "int f;",
  });
  return status === 0;
}
