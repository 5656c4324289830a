import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Assembled,
  assemble,
  call,
  callback,
  decode,
  exit,
  gotol,
  gotox,
  type Insn,
  ja,
  jeq,
  jeq32,
  jge,
  jge32,
  jgt,
  jgt32,
  jle,
  jle32,
  jlt,
  jlt32,
  jne,
  jne32,
  jset,
  jset32,
  jsge,
  jsge32,
  jsgt,
  jsgt32,
  jsle,
  jsle32,
  jslt,
  jslt32,
  kfunc,
  ksym,
  lddw,
  mapDef,
  mapFd,
  mapValue,
  mayGoto,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  r10,
  stw,
  subprogram,
  xdp,
} from "../../src/asm/index.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";
import { XDP_PASS } from "../../src/uapi/bpf.ts";
import { bpf_map_lookup_elem } from "../../src/uapi/helpers.ts";
import { load, type Memory, run } from "./machine.ts";
import { toHex } from "./vectors.ts";

function fields(assembled: Assembled): readonly (readonly [offset: number, off: number, imm: number])[] {
  return assembled.lines.map(({ offset, insn }) => [offset, insn.off, insn.imm]);
}

describe("layout", () => {
  it("puts blocks one behind the other, and counts jumps from the word behind them, in words", () => {
    const assembled = assemble(
      xdp("walk", {
        entry: [jeq(r1, 0, "out"), lddw(r2, 5), jne(r1, 1, "entry")],
        next: [ja("out")],
        out: [mov32(r0, XDP_PASS), exit()],
      }),
    );
    expect(fields(assembled)).toEqual([
      [0, 4, 0],
      [1, 0, 5],
      [3, -4, 1],
      [4, 0, 0],
      [5, 0, XDP_PASS],
      [6, 0, 0],
    ]);
    expect(assembled.lines.map(({ block, startsBlock }) => (startsBlock ? `${block}:` : block))).toEqual([
      "entry:",
      "entry",
      "entry",
      "next:",
      "out:",
      "out",
    ]);
    expect(assembled.functions).toEqual([{ name: "walk", offset: 0, length: 7 }]);
    expect(toHex(assembled.bytes.subarray(0, 8))).toBe("15 01 04 00 00 00 00 00");
  });

  it("lets an empty block share the place of the next", () => {
    const { blocks, bytes } = assemble(
      xdp("empty", { entry: [jeq(r1, 0, "a"), jeq(r1, 1, "b"), mov(r0, 1)], a: [], b: [exit()] }),
    );
    expect(blocks).toEqual([
      { function: "empty", name: "entry", offset: 0 },
      { function: "empty", name: "a", offset: 3 },
      { function: "empty", name: "b", offset: 3 },
    ]);
    expect(decode(bytes).map(({ off }) => off)).toEqual([2, 1, 0, 0]);
  });

  it("puts each subprogram that is called behind the program, once, and calls it by distance", () => {
    const leaf = subprogram("leaf", { entry: [mov(r0, 7), exit()] });
    const middle = subprogram("middle", { entry: [call(leaf), exit()] });
    const assembled = assemble(
      xdp("calls", { entry: [call(middle), call(leaf), lddw(r1, callback(leaf)), call(middle), exit()] }),
    );
    expect(assembled.functions).toEqual([
      { name: "calls", offset: 0, length: 6 },
      { name: "middle", offset: 6, length: 2 },
      { name: "leaf", offset: 8, length: 2 },
    ]);
    // call pc+imm: the word behind the call, plus imm
    expect(fields(assembled).map(([offset, , imm]) => [offset, imm])).toEqual([
      [0, 5],
      [1, 6],
      [2, 5],
      [4, 1],
      [5, 0],
      [6, 1],
      [7, 0],
      [8, 7],
      [9, 0],
    ]);
  });

  it("lets functions have blocks of the same name", () => {
    const twin = subprogram("twin", { entry: [jeq(r1, 0, "out"), mov(r1, 0)], out: [mov(r0, 1), exit()] });
    const { lines } = assemble(
      xdp("main", { entry: [call(twin), jeq(r0, 1, "out"), mov(r0, 2), mov(r0, 3)], out: [exit()] }),
    );
    expect(lines.filter(({ insn }) => insn.ref?.kind === "label").map(({ insn }) => insn.off)).toEqual([
      2, 1,
    ]);
  });

  it("calls a function that calls itself", () => {
    const blocks = { entry: [mov(r0, 1), exit()] };
    const loop = { ...subprogram("loop", blocks) };
    Object.assign(loop, { blocks: [{ name: "entry", insns: [call(loop), exit()] }] });
    const { lines } = assemble(xdp("main", { entry: [call(loop), exit()] }));
    expect(lines.map(({ insn }) => insn.imm)).toEqual([1, 0, -1, 0]);
  });

  it("lists the maps once each, and what the loader has to fill in", () => {
    const a = mapDef({ name: "a", type: "array", key: u32, value: u64, maxEntries: 1 });
    const b = mapDef({ name: "b", type: "hash", key: u32, value: u64, maxEntries: 1 });
    const { maps, relocations } = assemble(
      xdp("maps", {
        entry: [
          lddw(r1, mapFd(b)),
          lddw(r1, mapValue(a, 4)),
          lddw(r2, mapFd(b)),
          lddw(r2, ksym("jiffies")),
          call(bpf_map_lookup_elem),
          call(kfunc("bpf_rcu_read_lock")),
          exit(),
        ],
      }),
    );
    expect(maps).toEqual([b, a]);
    expect(relocations.map(({ offset, insn }) => [offset, insn.ref?.kind])).toEqual([
      [0, "map"],
      [2, "map"],
      [4, "map"],
      [6, "ksym"],
      [9, "kfunc"],
    ]);
  });

  it("takes the blocks of an indirect jump as reached", () => {
    const assembled = assemble(
      program("socket_filter", "table", {
        entry: [gotox(r1, ["a", "b"])],
        a: [mov(r0, 1), exit()],
        b: [mov(r0, 2), exit()],
      }),
    );
    expect(assembled.blocks.map(({ offset }) => offset)).toEqual([0, 1, 3]);
  });

  it("orders bytes for the machine of the program", () => {
    const blocks = { entry: [stw([r10, -4], 1), mov(r0, 0x1234), exit()] };
    const little = assemble(xdp("ends", blocks));
    const big = assemble(xdp("ends", blocks), { endian: "big" });
    expect([little.endian, big.endian]).toEqual(["little", "big"]);
    expect(toHex(little.bytes.subarray(8, 16))).toBe("b7 00 00 00 34 12 00 00");
    expect(toHex(big.bytes.subarray(8, 16))).toBe("b7 00 00 00 00 00 12 34");
    expect(decode(big.bytes, { endian: "big" })).toEqual(decode(little.bytes));
  });
});

const FILLER = mov(r2, 0);

function filler(count: number): readonly Insn<never, never>[] {
  return new Array<Insn<never, never>>(count).fill(FILLER);
}

const isLong = ({ insn }: { readonly insn: Insn }): boolean => insn.code === 0x06;

function memoryOf(assembled: Assembled): Memory {
  return load(assembled.lines.map(({ insn }) => insn));
}

describe("jumps that 16 bits cannot hold", () => {
  const conditional = {
    ...{ jeq, jne, jgt, jge, jlt, jle, jset, jsgt, jsge, jslt, jsle },
    ...{ jeq32, jne32, jgt32, jge32, jlt32, jle32, jset32, jsgt32, jsge32, jslt32, jsle32 },
  };
  const jumps: Readonly<Record<string, Insn<"far", never>>> = Object.fromEntries([
    ...Object.entries(conditional).flatMap(([name, jump]) => [
      [`${name} with a constant`, jump(r1, 5, "far")],
      [`${name} with a register`, jump(r1, r2, "far")],
    ]),
    ["mayGoto", mayGoto("far")],
    ["ja", ja("far")],
    ["gotol", gotol("far")],
  ]);

  /** A block for each jump: 1 in r0 where it is taken, 2 where it is not; `far` stands `count` instructions away. */
  function layoutAround(count: number, before: boolean): Assembled {
    const far = [mov(r0, 1), exit()];
    const padding = [...filler(count), ja("no")];
    const blocks: Record<string, readonly Insn<string, never>[]> = {
      entry: [...Object.keys(jumps).map((name, index) => jeq(r3, index, name)), jeq(r3, -1, "padding")],
      first: [ja("no")],
    };
    if (before) Object.assign(blocks, { far, padding });
    for (const [name, jump] of Object.entries(jumps)) {
      blocks[name] = [jump];
      if (name !== "ja" && name !== "gotol") blocks[`not ${name}`] = [ja("no")];
    }
    if (!before) Object.assign(blocks, { padding, far });
    blocks["no"] = [mov(r0, 2), exit()];
    return assemble(program("xdp", "around", blocks as Record<string, readonly Insn<never, never>[]>));
  }

  describe.each([
    { direction: "forward", before: false },
    { direction: "back", before: true },
  ])("$direction", ({ before }) => {
    const short = layoutAround(10, before);
    const long = layoutAround(40_000, before);
    const [shortMemory, longMemory] = [memoryOf(short), memoryOf(long)];
    const operands = [0n, 1n, 4n, 5n, 6n, -1n, 2n ** 31n, 2n ** 32n + 5n, -(2n ** 63n), 2n ** 63n - 1n];

    it.each(Object.keys(jumps))("%s means the same in its long form", (name) => {
      const [shortAt, longAt] = [short, long].map(
        ({ blocks }) => blocks.find((b) => b.name === name)?.offset ?? -1,
      );
      const linesOf = ({ lines }: Assembled) => lines.filter(({ block }) => block === name);
      expect(linesOf(short).some(isLong)).toBe(name === "gotol");
      expect(linesOf(long).filter(isLong).length).toBe(1);
      const results = new Set<bigint>();
      for (const left of operands) {
        for (const right of [5n, 0n, -1n]) {
          for (const budget of [0, 1]) {
            const expected = run(shortMemory, { at: shortAt ?? -1, registers: [0n, left, right], budget });
            expect(run(longMemory, { at: longAt ?? -1, registers: [0n, left, right], budget })).toBe(
              expected,
            );
            results.add(expected);
          }
        }
      }
      expect([...results].sort()).toEqual(name === "ja" || name === "gotol" ? [1n] : [1n, 2n]);
    });
  });

  it.each([
    { over: 32_767, long: false },
    { over: 32_768, long: true },
  ])("forward over $over instructions: long is $long", ({ over, long }) => {
    const assembled = assemble(
      xdp("forward", { entry: [jeq(r1, 5, "far"), ...filler(over)], far: [exit()] }),
    );
    expect(assembled.lines.some(isLong)).toBe(long);
    if (!long) expect(assembled.lines[0]?.insn.off).toBe(over);
    expect(assembled.lines.length).toBe(over + (long ? 3 : 2));
  });

  it.each([
    { back: -32_768, long: false },
    { back: -32_769, long: true },
  ])("back over $back instructions: long is $long", ({ back, long }) => {
    const { lines } = assemble(xdp("back", { entry: [...filler(-back - 1), jeq(r1, 5, "entry"), exit()] }));
    expect(lines.some(isLong)).toBe(long);
    if (long) expect(lines.find(isLong)?.insn.imm).toBe(back - 1);
    else expect(lines.at(-2)?.insn.off).toBe(back);
  });

  it("one that grows can push the next over the limit", () => {
    // Both stand at the limit; the second one's long form adds the instruction that the first cannot take any more.
    const assembled = assemble(
      xdp("push", {
        entry: [jeq(r1, 1, "a"), jeq(r1, 2, "b"), ...filler(32_766)],
        a: [mov(r0, 1), mov(r2, 0)],
        b: [exit()],
      }),
    );
    expect(assembled.lines.filter(isLong).length).toBe(2);
    expect(run(memoryOf(assembled), { registers: [0n, 1n] })).toBe(1n);
    expect(run(memoryOf(assembled), { registers: [0n, 2n] })).toBe(0n);
  });

  it("only where it is needed, when one instruction value stands in several places", () => {
    const shared = jeq(r1, 5, "out");
    const { lines } = assemble(xdp("shared", { entry: [shared, ...filler(40_000), shared], out: [exit()] }));
    expect(lines.filter(isLong).length).toBe(1);
  });

  it("keep the line that wrote them", () => {
    const { lines } = assemble(xdp("far", { entry: [jset(r1, 5, "out"), ...filler(40_000)], out: [exit()] }));
    const positions = lines.slice(0, 3).map(({ insn }) => insn.source?.position());
    expect(positions[0]?.file).toBe(fileURLToPath(import.meta.url));
    expect(positions).toEqual([positions[0], positions[0], positions[0]]);
  });

  it("are refused where the kernel may not know gotol", () => {
    const far = xdp("far", { entry: [jeq(r1, 5, "out"), ...filler(32_768)], out: [exit()] });
    expect(() => assemble(far, { longJumps: "refuse" })).toThrow(
      "program 'far', block 'entry', instruction 0: the jump to 'out' goes over 32768 instructions, which 16 bits cannot hold",
    );
  });

  it("in great numbers, without taking long", () => {
    const entry = Array.from({ length: 20_000 }, () => jeq(r1, 5, "out"));
    const { lines } = assemble(xdp("many", { entry: [...entry, ...filler(32_768)], out: [exit()] }));
    expect(lines.filter(isLong).length).toBe(20_000);
  });
});

describe("any control flow", () => {
  // Bodies of fillers and two-word loads; each block may jump anywhere, and ends by falling through, jumping or exiting.
  const block = fc.record({
    body: fc.array(fc.boolean(), { maxLength: 5 }),
    jumps: fc.array(fc.record({ to: fc.nat(7), kind: fc.constantFrom("jeq", "mayGoto") }), { maxLength: 3 }),
    end: fc.oneof(fc.constant("fall"), fc.constant("exit"), fc.nat(7)),
  });

  it("has every jump land where its block begins", () => {
    fc.assert(
      fc.property(fc.array(block, { minLength: 1, maxLength: 8 }), (shapes) => {
        const name = (index: number): string => `b${index % shapes.length}`;
        const blocks: Record<string, Insn[]> = {};
        for (const [index, { body, jumps, end }] of shapes.entries()) {
          const insns: Insn[] = index === 0 ? shapes.map((_, to) => jeq(r1, to, name(to))) : [];
          insns.push(...body.map((wide) => (wide ? lddw(r2, 1) : mov(r0, 1))));
          insns.push(
            ...jumps.map(({ to, kind }) => (kind === "jeq" ? jeq(r0, 1, name(to)) : mayGoto(name(to)))),
          );
          const last = index === shapes.length - 1;
          if (end === "exit" || (end === "fall" && last)) insns.push(exit());
          else if (typeof end === "number") insns.push(ja(name(end)));
          blocks[name(index)] = insns;
        }
        const assembled = assemble(program("xdp", "any", blocks as Record<string, Insn<never, never>[]>));
        // Where each block begins, counted here.
        const starts = new Map<string, number>();
        const targets: (readonly [at: number, to: string])[] = [];
        let at = 0;
        for (const [name, insns] of Object.entries(blocks)) {
          starts.set(name, at);
          for (const { code, ref } of insns) {
            if (ref?.kind === "label") targets.push([at, ref.name]);
            at += code === 0x18 ? 2 : 1;
          }
        }
        const decoded = new Map<number, Insn>();
        let offset = 0;
        for (const insn of decode(assembled.bytes)) {
          decoded.set(offset, insn);
          offset += insn.code === 0x18 ? 2 : 1;
        }
        expect(offset).toBe(at);
        for (const [from, to] of targets) {
          expect(from + 1 + (decoded.get(from)?.off ?? Number.NaN)).toBe(starts.get(to));
        }
      }),
      { numRuns: 300 },
    );
  });
});
